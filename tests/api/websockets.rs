//! A journal over a WebSocket: every line in order and once, from wherever one goes on, the outcome, and then the end; and whoever may not
//! read it is refused, before the upgrade where that can be told.

use futures_util::SinkExt as _;
use futures_util::StreamExt as _;
use serde_json::Value;
use serde_json::json;
use tagalong::clock;
use tagalong::http::auth;
use tagalong::model::LineDraft;
use tagalong::model::LineKind;
use tagalong::model::Step;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderName;

use crate::browser::Browser;
use crate::browser::add_user;
use crate::support::Call;
use crate::support::Database;
use crate::support::Key;
use crate::support::PATIENCE;
use crate::support::Plan;
use crate::support::Rig;
use crate::support::until;

on_both!(every_line_and_the_outcome_come_over_a_websocket, every_follower_over_a_websocket_has_every_line_once, a_journal_is_read_in_parts);

/// An open WebSocket, and what it said that is not taken yet.
struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    /// Opens one with these headers; the status of the refusal if there is one.
    async fn open(rig: &Rig, path: &str, headers: &[(&'static str, String)]) -> Result<Self, u16> {
        let mut request = format!("ws://{}{path}", rig.address()).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        let stream = TcpStream::connect(rig.address()).await.unwrap();
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    async fn by(rig: &Rig, key: &Key, id: &str, after: i64) -> Self {
        let headers = [("authorization", format!("Bearer {}", key.text()))];
        Self::open(rig, &format!("/ws/deployments/{id}?after={after}"), &headers).await.unwrap()
    }

    async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// The objects of the next message; none when it is closed, and then with which code.
    async fn next(&mut self) -> Result<Vec<Value>, u16> {
        loop {
            match tokio::time::timeout(PATIENCE, self.0.next()).await.expect("something in time") {
                Some(Ok(Message::Text(text))) => {
                    return Ok(text.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect());
                }
                Some(Ok(Message::Close(frame))) => return Err(frame.map_or(0, |frame| frame.code.into())),
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// All there is up to the end, and the code of it.
    async fn rest(&mut self) -> (Vec<Value>, u16) {
        let mut all = Vec::new();
        loop {
            match self.next().await {
                Ok(some) => all.extend(some),
                Err(code) => return (all, code),
            }
        }
    }
}

fn plan(database: Database) -> Plan {
    let mut plan = Plan::new(database);
    plan.keys.push(Key::bearer("reader", &["read"]));
    plan.keys.push(Key::bearer("elsewhere", &["read:db"]));
    plan
}

/// This many lines of a waiting order.
async fn write(rig: &Rig, id: &str, lines: std::ops::RangeInclusive<i64>) {
    let line = |seq| LineDraft { seq, at_ms: seq, step: Step::Pull.into(), kind: LineKind::Output, text: format!("line Ä{seq}") };
    let lines: Vec<LineDraft> = lines.map(line).collect();
    let id = id.parse().unwrap();
    for some in lines.chunks(250) {
        rig.app().shared().store.append_own_lines(&id, some).await.unwrap();
        rig.app().shared().hub.tell(&id);
    }
}

fn positions(objects: &[Value]) -> Vec<i64> {
    objects.iter().filter_map(|object| object["position"].as_i64()).collect()
}

async fn every_line_and_the_outcome_come_over_a_websocket(database: Database) {
    let rig = plan(database).start().await;
    let gate = rig.gate("web");
    rig.order_running("web", "1").await;
    let waiting = rig.order("web", "2").await;
    let reader = &rig.plan.keys[1];
    let mut whole = Socket::by(&rig, reader, &waiting, 0).await;
    write(&rig, &waiting, 1..=1234).await;
    let mut seen = positions(&whole.next().await.unwrap());
    // One that comes back goes on behind the last line that it has, wherever its connection broke.
    let mut again = Socket::by(&rig, reader, &waiting, 700).await;
    assert_eq!(again.next().await.unwrap()[0]["position"], 701);
    drop(again);
    let mut by_frame = Socket::open(&rig, &format!("/ws/deployments/{waiting}?after=1000"), &[]).await.unwrap();
    by_frame.say(&json!({ "token": reader.text() }).to_string()).await;
    assert_eq!(by_frame.next().await.unwrap()[0]["text"], "line Ä1001");
    drop(gate);
    let (rest, code) = whole.rest().await;
    let (outcome, lines) = rest.split_last().unwrap();
    seen.extend(positions(lines));
    let stored = rig.app().shared().store.last_position(&waiting.parse().unwrap()).await.unwrap();
    assert!(stored > 1234 && code == 1000, "{stored} {code}");
    assert_eq!(seen, (1..=stored).collect::<Vec<_>>());
    assert_eq!((&outcome["outcome"], &outcome["exit_code"], &outcome["success"]), (&json!("failed"), &json!(14), &json!(false)));
    assert_eq!(outcome["deployment"], waiting);
    // What has ended is told as well, and the connection is gone then.
    let mut late = Socket::by(&rig, reader, &waiting, stored - 1).await;
    let (rest, code) = late.rest().await;
    assert_eq!((positions(&rest), rest.len(), code), (vec![stored], 2, 1000));
    assert!(!matches!(tokio::time::timeout(PATIENCE, late.0.next()).await.unwrap(), Some(Ok(_))));
    rig.finish().await;
}

async fn every_follower_over_a_websocket_has_every_line_once(database: Database) {
    const FOLLOWERS: usize = 50;
    let rig = plan(database).start().await;
    let gate = rig.gate("web");
    rig.order_running("web", "1").await;
    let waiting = rig.order("web", "2").await;
    let other = if database == Database::Postgres { Some(rig.beside().await) } else { None };
    let mut followers = tokio::task::JoinSet::new();
    for at in 0..FOLLOWERS {
        let server = other.as_ref().filter(|_| at % 2 == 1).unwrap_or(&rig);
        let mut socket = Socket::by(server, &rig.plan.keys[1], &waiting, 0).await;
        followers.spawn(async move { socket.rest().await });
    }
    write(&rig, &waiting, 1..=2000).await;
    drop(gate);
    let mut first = None;
    while let Some(all) = followers.join_next().await {
        let (all, code) = all.unwrap();
        let numbers = positions(&all);
        assert_eq!((numbers.clone(), code), ((1..=numbers.len() as i64).collect(), 1000));
        assert!(numbers.len() > 2000);
        assert_eq!(*first.get_or_insert(all.clone()), all);
    }
    if let Some(other) = other {
        other.stop().await;
    }
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_may_not_follow_is_refused_before_the_upgrade() {
    let rig = plan(Database::Sqlite).start().await;
    let gate = rig.gate("web");
    let (web, db) = futures_util::future::join(rig.order_running("web", "1"), rig.order("db", "1")).await;
    let path = format!("/ws/deployments/{web}");
    let own = format!("http://{}", rig.address());
    let bearer = |token: &str| ("authorization", format!("Bearer {token}"));
    let (reader, elsewhere) = (rig.plan.keys[1].text(), rig.plan.keys[2].text());
    let key = &rig.app().shared().token_key;
    let read = |id: &str| auth::token::make(key, &id.parse().unwrap());
    for (what, headers, status) in [
        ("a page of another origin", vec![bearer(&reader), ("origin", "https://evil.example".to_owned())], 403),
        ("a page of another origin without a proof", vec![("origin", "http://127.0.0.1".to_owned())], 403),
        ("a page without an origin", vec![bearer(&reader), ("origin", "null".to_owned())], 403),
        ("a session that is none", vec![("cookie", "tagalong=x".to_owned()), ("origin", own.clone())], 401),
        ("a session without an origin", vec![("cookie", "tagalong=x".to_owned())], 403),
        ("a token that is none", vec![bearer("tk-wrong")], 401),
        ("a token of another service", vec![bearer(&elsewhere)], 403),
        ("a read token of another deployment", vec![bearer(&read(&db))], 403),
        ("a token from afar without encryption", vec![("host", "tagalong.example".to_owned())], 403),
    ] {
        assert_eq!(Socket::open(&rig, &path, &headers).await.err(), Some(status), "{what}");
    }
    assert_eq!(Socket::open(&rig, "/ws/deployments/01ARZ3NDEKTSV4RRFFQ69G5FAV", &[bearer(&reader)]).await.err(), Some(404));
    assert_eq!(Socket::open(&rig, &format!("{path}?token={reader}"), &[bearer(&reader)]).await.err(), Some(400), "no token in a URL");
    let plain = Call::get(&path).by(&rig.plan.keys[1]).send(&rig).await;
    assert_eq!((plain.status, plain.header("upgrade")), (426, "websocket"));
    // The same pages and tokens where they are right.
    for headers in [vec![bearer(&reader), ("origin", own)], vec![bearer(&read(&web))]] {
        let mut socket = Socket::open(&rig, &path, &headers).await.unwrap();
        assert_eq!(socket.next().await.unwrap()[0]["position"], 1);
    }
    drop(gate);
    rig.finish().await;
}

/// A page shows its session: of its own origin, while it counts, and for what its user may read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_follows_by_its_session() {
    const PASSWORD: &str = "canary horse battery staple";
    let rig = Plan { socket: true, ..plan(Database::Sqlite) }.start().await;
    let gate = rig.gate("web");
    let path = format!("/ws/deployments/{}", rig.order_running("web", "1").await);
    let own = format!("http://{}", rig.address());
    add_user(&rig, "ada", &["read:web"], Some(PASSWORD)).await;
    add_user(&rig, "bob", &["read:db"], Some(PASSWORD)).await;
    let browsers = [Browser::new(&rig), Browser::new(&rig)];
    let mut cookies = Vec::new();
    for (browser, name) in browsers.iter().zip(["ada", "bob"]) {
        assert_eq!(browser.log_in(name, PASSWORD).await.status, 303);
        cookies.extend(browser.cookies.borrow().iter().map(|(name, value)| ("cookie", format!("{name}={value}"))));
    }
    let ada = |origin: &str| vec![cookies[0].clone(), ("origin", origin.to_owned())];
    let mut socket = Socket::open(&rig, &path, &ada(&own)).await.unwrap();
    assert_eq!(socket.next().await.unwrap()[0]["position"], 1);
    for (what, headers, status) in [
        ("a page of another origin", ada("https://evil.example"), 403),
        ("a page of another port", ada("http://127.0.0.1:1"), 403),
        ("a page of another scheme", ada(&own.replace("http", "https")), 403),
        ("a program with a stolen cookie", vec![cookies[0].clone()], 403),
        ("a user who may not read it", vec![cookies[1].clone(), ("origin", own.clone())], 403),
        ("a good session and a bad token", [ada(&own), vec![("authorization", "Bearer tk-wrong".to_owned())]].concat(), 401),
    ] {
        assert_eq!(Socket::open(&rig, &path, &headers).await.err(), Some(status), "{what}");
    }
    rig.execute("UPDATE sessions SET created_ms = 1, seen_ms = 1").await;
    assert_eq!(Socket::open(&rig, &path, &ada(&own)).await.err(), Some(401), "a session that is over");
    drop((gate, browsers));
    assert_eq!(socket.rest().await.1, 1000);
    rig.finish().await;
}

/// Whatever opened a stream is ended: the stream ends at once, and those of others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_the_key_or_session_that_opened_it() {
    const PASSWORD: &str = "canary horse battery staple";
    let mut other = plan(Database::Sqlite);
    other.keys.push(Key::bearer("stays", &["read"]));
    let rig = Plan { socket: true, ..other }.start().await;
    let gate = rig.gate("web");
    let id = rig.order_running("web", "1").await;
    let (reader, stays) = (rig.plan.keys[1].clone(), rig.plan.keys[3].clone());
    add_user(&rig, "ada", &["read:web"], Some(PASSWORD)).await;
    let browsers = [Browser::new(&rig), Browser::new(&rig)];
    let mut sockets = Vec::new();
    for browser in &browsers {
        assert_eq!(browser.log_in("ada", PASSWORD).await.status, 303);
        let cookie = browser.cookies.borrow().iter().map(|(name, value)| format!("{name}={value}")).next().unwrap();
        let headers = [("cookie", cookie), ("origin", format!("http://{}", rig.address()))];
        sockets.push(Socket::open(&rig, &format!("/ws/deployments/{id}"), &headers).await.unwrap());
    }
    for key in [&reader, &stays] {
        sockets.push(Socket::by(&rig, key, &id, 0).await);
    }
    for socket in &mut sockets {
        assert_eq!(socket.next().await.unwrap()[0]["position"], 1);
    }
    let log = Call::get(&format!("/api/v1/deployments/{id}/log"));
    let events = log.by(&reader).header("accept", "text/event-stream").open(&rig).await;
    let text = Call::get(&format!("/api/v1/deployments/{id}/log")).by(&reader).open(&rig).await;
    // One browser logs out; the other one's user is changed.
    let began = std::time::Instant::now();
    let token = browsers[0].form_token().await;
    assert_eq!(browsers[0].post("/logout", &[("form_token", &token)]).await.status, 303);
    assert_eq!(sockets[0].rest().await.1, 4401);
    add_user(&rig, "ada", &["read:db"], None).await;
    assert_eq!(sockets[1].rest().await.1, 4401);
    // The key is taken out of the configuration.
    let config = std::fs::read_to_string(&rig.config_file).unwrap();
    std::fs::write(&rig.config_file, config.replace("id = \"reader\"", "id = \"former\"")).unwrap();
    rig.app().read_again(&rig.config_file);
    assert_eq!(sockets[2].rest().await.1, 4401);
    assert!(events.text().await.is_ok_and(|text| !text.contains("event: outcome")), "it ends, and does not look whole");
    assert!(text.text().await.is_err(), "a text that broke off");
    // Nobody waited for the look at the rights of all that comes every minute.
    assert!(began.elapsed().as_secs() < 50, "{:?}", began.elapsed());
    drop(gate);
    assert_eq!(sockets[3].rest().await.1, 1000);
    rig.finish().await;
}

/// A page that changes a user ends their streams, as the API does, and so does a key's secret that counts no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_what_a_page_changes_and_with_a_secret_that_was_replaced() {
    const PASSWORD: &str = "canary horse battery staple";
    let rig = Plan { socket: true, ..plan(Database::Sqlite) }.start().await;
    let gate = rig.gate("web");
    let id = rig.order_running("web", "1").await;
    add_user(&rig, "root", &["deploy:*", "rollback:*", "approve:*", "reload:*", "read"], Some(PASSWORD)).await;
    let root = Browser::new(&rig);
    assert_eq!(root.log_in("root", PASSWORD).await.status, 303);
    for (name, path, more) in [
        ("ada", "/users/ada/logout", [].as_slice()),
        ("bea", "/users/bea/disable", &[]),
        ("cee", "/users/cee/remove", &[]),
        ("dee", "/users/new", &[("name", "dee"), ("scopes", "read:db"), ("known", "1")]),
        ("eve", "", &[]),
    ] {
        add_user(&rig, name, &["read:web"], Some(PASSWORD)).await;
        let browser = Browser::new(&rig);
        assert_eq!(browser.log_in(name, PASSWORD).await.status, 303);
        let cookie = browser.cookies.borrow().iter().map(|(name, value)| format!("{name}={value}")).next().unwrap();
        let headers = [("cookie", cookie), ("origin", format!("http://{}", rig.address()))];
        let mut socket = Socket::open(&rig, &format!("/ws/deployments/{id}"), &headers).await.unwrap();
        assert_eq!(socket.next().await.unwrap()[0]["position"], 1);
        let page = root.get("/users").await.text;
        let end = page.split('"').find(|part| part.starts_with(&format!("/users/{name}/sessions/"))).unwrap().to_owned();
        let path = if path.is_empty() { end.as_str() } else { path };
        let token = root.form_token().await;
        let began = std::time::Instant::now();
        let done = root.post(path, &[&[("form_token", token.as_str())], more].concat()).await;
        assert_eq!(done.status, 303, "{path}: {}", done.text);
        assert_eq!(socket.rest().await.1, 4401, "{path}");
        assert!(began.elapsed().as_secs() < 20, "{path}: {:?}", began.elapsed());
    }
    let mut socket = Socket::by(&rig, &rig.plan.keys[1], &id, 0).await;
    assert_eq!(socket.next().await.unwrap()[0]["position"], 1);
    let mut next = rig.plan.clone();
    next.keys[1] = Key::bearer("reader", &["read"]);
    next.write(rig.dir(), "server", None);
    let began = std::time::Instant::now();
    rig.app().read_again(&rig.config_file);
    assert_eq!(socket.rest().await.1, 4401);
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    drop(gate);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_proves_nothing_in_the_first_frame_is_closed() {
    let rig = plan(Database::Sqlite).start().await;
    let gate = rig.gate("web");
    let id = rig.order_running("web", "1").await;
    let path = format!("/ws/deployments/{id}");
    let other = auth::token::make(&rig.app().shared().token_key, &clock::new_id());
    for (first, code) in [
        (json!({ "token": "tk-wrong" }).to_string(), 4401),
        (json!({ "token": rig.plan.keys[2].text() }).to_string(), 4403),
        (json!({ "token": other }).to_string(), 4403),
        ("no JSON".to_owned(), 4400),
        (json!({ "token": rig.plan.keys[1].text(), "more": 1 }).to_string(), 4400),
        ("x".repeat(40_000), 1009),
    ] {
        let mut socket = Socket::open(&rig, &path, &[]).await.unwrap();
        socket.say(&first).await;
        assert_eq!(socket.next().await, Err(code), "{first:.60}");
    }
    let mut silent = Socket::open(&rig, &path, &[]).await.unwrap();
    // Pings are answered, and gain no time.
    silent.0.send(Message::Ping(vec![1].into())).await.unwrap();
    assert_eq!(silent.next().await, Err(4408));
    let shown = Call::get("/api/v1/refused").by(rig.key()).send(&rig).await.json();
    assert_eq!((&shown["counts"]["token"], &shown["counts"]["scope"]), (&json!(1), &json!(1)), "{shown:#}");
    drop(gate);
    rig.finish().await;
}

/// It is asked whether it is there every 15 s, and what lives answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_journal_shows_that_it_lives() {
    let rig = plan(Database::Sqlite).start().await;
    let gate = rig.gate("web");
    let id = rig.order_running("web", "1").await;
    let mut socket = Socket::by(&rig, &rig.plan.keys[1], &id, 3).await;
    let mut seen = [false; 2];
    while seen != [true; 2] {
        match tokio::time::timeout(PATIENCE, socket.0.next()).await.expect("a sign of life within a minute").unwrap().unwrap() {
            Message::Ping(_) => seen[0] = true,
            Message::Text(text) if text == "\n" => seen[1] = true,
            other => panic!("{other:?}"),
        }
    }
    drop(gate);
    let (rest, code) = socket.rest().await;
    assert!(code == 1000 && rest.last().unwrap()["outcome"] == "failed", "{rest:?}");
    rig.finish().await;
}

/// One that reads nothing is cut, and nobody waits for it meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stalls_stalls_nobody() {
    let rig = plan(Database::Sqlite).start().await;
    let gate = rig.gate("web");
    rig.order_running("web", "1").await;
    let waiting = rig.order("web", "2").await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let mut stalled = socket.connect(rig.address()).await.unwrap();
    let token = rig.plan.keys[1].text();
    let call = format!(
        "GET /ws/deployments/{waiting} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stalled.write_all(call.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    stalled.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 101");
    let mut quick = Socket::by(&rig, &rig.plan.keys[1], &waiting, 0).await;
    // Far more than all buffers on the way hold.
    write(&rig, &waiting, 1..=10_000).await;
    let began = std::time::Instant::now();
    let mut last = 0;
    while last < 10_000 {
        last = positions(&quick.next().await.unwrap()).last().copied().unwrap_or(last);
    }
    // Whoever waits for the one that stalls waits until that is cut, after a minute.
    assert!(began.elapsed().as_secs() < 40, "{:?}", began.elapsed());
    // The stalled one loses its place: only the other follows still.
    let path = format!("/ws/deployments/{waiting}");
    until("the end of the stalled connection", async || stalled.write_all(&[0x89, 0x80, 0, 0, 0, 0]).await.err().map(drop)).await;
    assert_eq!(Call::get(&path).by(&rig.plan.keys[1]).send(&rig).await.status, 426);
    drop(gate);
    assert_eq!(quick.rest().await.1, 1000);
    rig.finish().await;
}

async fn a_journal_is_read_in_parts(database: Database) {
    let rig = plan(database).start().await;
    let gate = rig.gate("web");
    rig.order_running("web", "1").await;
    let waiting = rig.order("web", "2").await;
    write(&rig, &waiting, 1..=25_000).await;
    let ask = async |what: &str| Call::get(&format!("/api/v1/deployments/{waiting}/log/{what}")).by(&rig.plan.keys[1]).send(&rig).await;
    let some = ask("lines?after=24000&limit=100").await.json();
    assert_eq!(positions(some["lines"].as_array().unwrap()), (24_001..=24_100).collect::<Vec<_>>());
    assert_eq!(some["last"], 25_000);
    assert_eq!(ask("lines").await.json()["lines"].as_array().unwrap().len(), 500, "the most at a time");
    assert_eq!(ask("lines?after=25000").await.json(), json!({ "lines": [], "last": 25_000 }));
    // A search goes on where it ended, and does not mind upper and lower case.
    let first = ask("search?text=LINE%20%C3%A42499").await.json();
    assert_eq!(first, json!({ "positions": [2499], "through": 20_000, "is_whole": false }));
    let second = ask("search?text=LINE%20%C3%A42499&after=20000").await.json();
    let tens: Vec<i64> = (24_990..=24_999).collect();
    assert_eq!(second, json!({ "positions": tens, "through": 25_000, "is_whole": true }));
    let many = ask("search?kind=output").await.json();
    assert_eq!((many["positions"].as_array().unwrap().len(), &many["through"], &many["is_whole"]), (1000, &json!(1000), &json!(false)));
    assert_eq!(ask("search?kind=error&after=20000").await.json()["positions"], json!([]));
    for bad in ["search", "search?text=", "search?kind=none", "lines?after=x"] {
        assert_eq!(ask(bad).await.status, 400, "{bad}");
    }
    assert_eq!(ask(&format!("search?text={}", "x".repeat(501))).await.status, 400);
    drop(gate);
    rig.finish().await;
}
