//! What a stranger can use up: bytes, time, places, attempts.

use std::cell::Cell;
use std::io::BufRead as _;
use std::io::BufReader;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use futures_util::future::join_all;
use serde_json::json;
use sqlx::Connection as _;
use tagalong::clock;
use tagalong::store::Delivery;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::Answer;
use crate::support::Call;
use crate::support::Database;
use crate::support::Key;
use crate::support::PATIENCE;
use crate::support::Plan;
use crate::support::Rig;
use crate::support::assert_refused;
use crate::support::folder;
use crate::support::until;

on_both!(orders_are_taken_fast_while_one_is_carried_out, orders_that_wait_are_bounded, failed_attempts_are_limited_by_address);

/// The head of an order by somebody who does not know a key, with these further lines.
fn head(more: &str) -> String {
    let now_s = clock::now_ms() / 1000;
    let proof = format!("webhook-id: a\r\nwebhook-timestamp: {now_s}\r\nwebhook-signature: v1,AAAA\r\n");
    format!("POST /api/v1/deployments HTTP/1.1\r\nhost: x\r\n{proof}{more}\r\n")
}

async fn connect(address: SocketAddr, first: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(first.as_bytes()).await.unwrap();
    stream
}

/// All that the server says until it closes.
async fn all_of(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset is an end as well.
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    let _ = read.expect("the connection stays open");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Sends chunks of 64 KiB until the server will not have more, then returns how many bytes it took and what it says.
async fn pour(address: SocketAddr, start: &str) -> (usize, String) {
    let mut stream = connect(address, start).await;
    let (mut chunk, mut sent) = (b"10000\r\n".to_vec(), 0);
    chunk.resize(chunk.len() + 65_536, b'x');
    chunk.extend(b"\r\n");
    let mut answer = Vec::new();
    while sent < 64 << 20 {
        let (mut from, mut to) = stream.split();
        tokio::select! {
            biased;
            read = from.read_buf(&mut answer) => if read.unwrap_or(0) == 0 || !answer.is_empty() { break },
            wrote = to.write_all(&chunk) => match wrote {
                Ok(()) => sent += chunk.len(),
                Err(_) => break,
            },
        }
    }
    answer.extend(all_of(&mut stream).await.bytes());
    (sent, String::from_utf8_lossy(&answer).into_owned())
}

/// Sends all but the last byte of an allowed body, then waits for the end.
async fn stall(address: SocketAddr) -> String {
    let mut stream = connect(address, &head("content-length: 1048000\r\n")).await;
    // Who finds no place is answered and closed before that.
    let _ = stream.write_all(&vec![b'x'; 1_047_999]).await;
    all_of(&mut stream).await
}

/// B1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_are_refused_before_they_are_read() {
    let rig = Plan::new(Database::Sqlite).start().await;
    // Announced: refused before a byte of it has come.
    let announced = head("content-length: 10485760\r\n");
    let answer = all_of(&mut connect(rig.address(), &announced).await).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("\"code\":\"too_large\""), "{answer}");
    // Endless.
    let (sent, answer) = pour(rig.address(), &head("transfer-encoding: chunked\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(sent < 16 << 20, "{sent} bytes were taken");
    // Without a proof nothing of a body is waited for.
    let unproven = "POST /api/v1/deployments HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let (sent, answer) = pour(rig.address(), unproven).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(sent < 16 << 20, "{sent} bytes were taken");
    let own = Call::post("/api/v1/deployments", &json!({ "service": "web", "tag": "1", "reason": "x".repeat(2 << 20) }));
    assert_refused(&own.by(rig.key()).send(&rig).await, 413, "too_large");
    rig.finish().await;
}

/// B1: what a hundred who pour in bodies cost. A busy machine makes it more, never less: the least of three counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_large_bodies_cost_little_memory() {
    const MOST_KIB: usize = 20 << 10;
    let _alone = HEAVY.lock().await;
    let start = head("transfer-encoding: chunked\r\n");
    let is_refused = |answer: &str| answer.starts_with("HTTP/1.1 413 ") || answer.starts_with("HTTP/1.1 503 ");
    let mut least_kib = usize::MAX;
    for _ in 0..3 {
        let (server, dir) = Server::start();
        let address = server.address;
        // What the first calls make stays anyway.
        pour(address, &start).await;
        let before = server.most_kib();
        let answers = join_all((0..100).map(|_| pour(address, &start))).await;
        assert_eq!(answers.iter().filter(|(_, answer)| is_refused(answer)).count(), 100);
        let cost = server.most_kib() - before;
        println!("a hundred endless bodies: {cost} KiB over {before} KiB");
        drop((server, dir));
        least_kib = least_kib.min(cost);
        if least_kib < MOST_KIB {
            return;
        }
    }
    panic!("{least_kib} KiB");
}

/// A body that never ends within its bounds is kept; of a hundred of them only a few are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_large_bodies_are_kept_at_a_time() {
    let _alone = HEAVY.lock().await;
    let (server, _dir) = Server::start();
    let before = server.most_kib();
    let answers = join_all((0..100).map(|_| stall(server.address))).await;
    let cost = server.most_kib() - before;
    println!("a hundred stalled bodies of a MiB: {cost} KiB over {before} KiB");
    // Who is kept is told that it took too long, everybody else at once that there is no room, where it still reads.
    let count = |status: &str| answers.iter().filter(|answer| answer.starts_with(status)).count();
    assert!((1..=4).contains(&count("HTTP/1.1 408 ")), "{answers:?}");
    assert!(count("HTTP/1.1 503 ") > 0, "{answers:?}");
    assert!(cost < 48 << 10, "{cost} KiB");
}

/// `tagalong serve` as a process of its own.
struct Server {
    child: std::process::Child,
    address: SocketAddr,
    /// What it says, read as it comes, so that it never waits for us.
    log: Option<std::thread::JoinHandle<Vec<String>>>,
}

impl Server {
    fn start() -> (Self, tempfile::TempDir) {
        Self::start_with(&Plan::new(Database::Sqlite))
    }

    #[allow(clippy::disallowed_methods, reason = "a test may start what it needs")]
    fn start_with(plan: &Plan) -> (Self, tempfile::TempDir) {
        let dir = folder();
        let config = plan.write(dir.path(), "server", None);
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tagalong"));
        let mut child = command.arg("--config").arg(config).arg("serve").stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        // It says where it serves.
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let line = said.find(|line| line.contains("addresses=[")).expect("it serves");
        let log = Some(std::thread::spawn(move || said.collect()));
        let (_, rest) = line.split_once("addresses=[").unwrap();
        let address = rest.split(']').next().unwrap().parse().unwrap();
        (Self { child, address, log }, dir)
    }

    /// Ends it; all that it has said since it served.
    fn ended(mut self) -> Vec<String> {
        let _ = self.child.kill();
        self.log.take().unwrap().join().unwrap()
    }

    /// The most memory that it ever had.
    fn most_kib(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a byte a second until the server closes, and returns after how long it did.
async fn dribble(address: SocketAddr, first: String) -> Duration {
    let began = Instant::now();
    let mut stream = connect(address, &first).await;
    let mut rest = [0; 4096];
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    while began.elapsed() < PATIENCE {
        tokio::select! {
            read = stream.read(&mut rest) => if read.unwrap_or(0) == 0 { break },
            _ = tick.tick() => if stream.write_all(b"x").await.is_err() { break },
        }
    }
    began.elapsed()
}

/// What takes much of the machine is done one after the other, so that none is measured by another's load.
static HEAVY: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// B2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_slow_ones_are_closed_and_slow_nobody_down() {
    const EACH: usize = 170;
    let _alone = HEAVY.lock().await;
    let rig = Plan::new(Database::Sqlite).start().await;
    let address = rig.address();
    let heads = join_all((0..EACH).map(|_| dribble(address, "GET /api/v1/services HTTP/1.1\r\nx-slow: ".into())));
    let bodies = join_all((0..EACH).map(|_| dribble(address, head("content-length: 1000\r\n"))));
    // One call that is answered, and then the head of a second one on the same connection.
    let second = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nGET /healthz HTTP/1.1\r\nx-slow: ";
    let seconds = join_all((0..EACH).map(|_| dribble(address, second.into())));
    let slow = futures_util::future::join3(heads, bodies, seconds);
    let (slowest, calls) = (Cell::new(Duration::ZERO), Cell::new(0));
    let good = async {
        loop {
            let began = Instant::now();
            assert_eq!(Call::get("/api/v1/deployments").by(rig.key()).send(&rig).await.status, 200);
            slowest.set(slowest.get().max(began.elapsed()));
            calls.set(calls.get() + 1);
        }
    };
    let (heads, bodies, seconds) = tokio::select! { slow = slow => slow, () = good => unreachable!() };
    let [heads, bodies, seconds] = [heads, bodies, seconds].map(|all| all.into_iter().max().unwrap());
    println!("closed after at most {heads:?} (head), {bodies:?} (body), {seconds:?} (second head)");
    println!("{} good calls meanwhile, the slowest in {:?}", calls.get(), slowest.get());
    assert!(heads < Duration::from_secs(8) && bodies < Duration::from_secs(13) && seconds < Duration::from_secs(8));
    assert!(slowest.get() < Duration::from_secs(1) && calls.get() > 10, "{} calls, the slowest in {:?}", calls.get(), slowest.get());
    rig.finish().await;
}

/// B3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_body_ends_the_server() {
    let rig = Plan::new(Database::Sqlite).start().await;
    let keys = |many: usize| (0..many).map(|n| format!("\"k{n}\":0")).collect::<Vec<_>>().join(",");
    let long = "9".repeat(100_000);
    let bodies: [(&str, Vec<u8>); 14] = [
        ("deep lists", "[".repeat(100_000).into_bytes()),
        ("deep lists, whole", ("[".repeat(100_000) + &"]".repeat(100_000)).into_bytes()),
        ("deep objects", "{\"a\":".repeat(100_000).into_bytes()),
        ("a million keys", format!("{{{}}}", keys(1_000_000)).into_bytes()),
        ("a hundred thousand keys", format!("{{{}}}", keys(70_000)).into_bytes()),
        ("the same key twice", b"{\"service\":\"web\",\"service\":\"db\",\"tag\":\"1\"}".to_vec()),
        ("a lone surrogate", b"{\"service\":\"web\",\"tag\":\"1\",\"reason\":\"\\ud800\"}".to_vec()),
        ("two lone surrogates", b"{\"service\":\"web\",\"tag\":\"1\",\"reason\":\"\\udc00\\ud800\"}".to_vec()),
        ("invalid UTF-8", b"{\"service\":\"web\",\"tag\":\"1\",\"reason\":\"\xff\xfe\"}".to_vec()),
        ("overlong UTF-8", b"{\"service\":\"web\",\"tag\":\"\xc0\xaf\"}".to_vec()),
        ("a long number", format!("{{\"service\":\"web\",\"tag\":\"1\",\"run_number\":{long}}}").into_bytes()),
        ("a byte order mark", b"\xef\xbb\xbf{\"service\":\"web\",\"tag\":\"1\"}".to_vec()),
        ("more behind the end", b"{\"service\":\"web\",\"tag\":\"1\"}{}".to_vec()),
        ("nothing", Vec::new()),
    ];
    let paths = ["/api/v1/deployments", "/api/v1/rollbacks", "/api/v1/services/web/resume", "/api/v1/services/web/adopt"];
    for (path, (what, body)) in paths.iter().flat_map(|path| bodies.iter().map(move |body| (path, body))) {
        let call = Call::new(reqwest::Method::POST, path, body.clone()).by(rig.key());
        let answer = call.send(&rig).await;
        assert!(matches!(answer.status, 400 | 413), "{what} to {path}: {answer:?}");
    }
    assert_eq!(rig.count("SELECT COUNT(*) FROM deployments").await, 0);
    rig.finish().await;
}

/// B6: each is on disk when it is answered, and takes the place of the one before it.
async fn orders_are_taken_fast_while_one_is_carried_out(database: Database) {
    const ORDERS: usize = 300;
    let _alone = HEAVY.lock().await;
    let rig = Plan::new(database).start().await;
    let gate = rig.gate("web");
    let running = rig.order_running("web", "1").await;
    let mut took = Vec::new();
    for number in 0..ORDERS {
        let call = Call::post("/api/v1/deployments", &json!({ "service": "web", "tag": number.to_string() })).by(rig.key());
        let began = Instant::now();
        assert_eq!(call.send(&rig).await.status, 202);
        took.push(began.elapsed());
    }
    took.sort();
    let (median, p99) = (took[ORDERS / 2], took[ORDERS * 99 / 100]);
    println!("{ORDERS} orders taken while one is carried out: median {median:?}, p99 {p99:?}");
    assert!(p99 < Duration::from_millis(500), "p99 {p99:?}");
    drop(gate);
    rig.ended(&running).await;
    rig.finish().await;
}

/// B4
async fn orders_that_wait_are_bounded(database: Database) {
    let mut plan = Plan::new(database);
    plan.server += "\nmax_waiting = 1";
    let rig = plan.start().await;
    let gates = [rig.gate("web"), rig.gate("db")];
    rig.order_running("web", "1").await;
    let waiting = rig.order("web", "2").await;
    let before = rig.rows().await;
    let full = Call::post("/api/v1/deployments", &json!({ "service": "db", "tag": "1" })).by(rig.key()).id("later");
    let answer = full.clone().send(&rig).await;
    assert_refused(&answer, 503, "busy");
    assert_eq!(answer.header("retry-after"), "10");
    assert_eq!(rig.rows().await, before);
    // A newer order of the same service takes a place that is taken already.
    assert_eq!(rig.act(rig.key(), "/api/v1/services/web/resume").await.status, 200);
    let newer = Call::post("/api/v1/deployments", &json!({ "service": "web", "tag": "3" })).by(rig.key()).send(&rig).await;
    assert_eq!((newer.status, &newer.json()["superseded"]), (202, &json!(waiting)));
    drop(gates);
    rig.ended(newer.json()["id"].as_str().unwrap()).await;
    assert_eq!(full.send(&rig).await.status, 202);
    rig.finish().await;
}

/// B4: the places of followers, which are free again when they have gone, whatever they read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_are_bounded() {
    let mut plan = Plan::new(Database::Sqlite);
    plan.server += "\nmax_followers = 2";
    let rig = plan.start().await;
    let gate = rig.gate("web");
    let id = rig.order_running("web", "1").await;
    let follow = |accept: &str| Call::get(&format!("/api/v1/deployments/{id}/log")).by(rig.key()).header("accept", accept);
    for kind in ["text/event-stream", "text/plain"] {
        let open = until("two places", async || {
            let both = [follow(kind).open(&rig).await, follow(kind).open(&rig).await];
            both.iter().all(|one| one.status() == 200).then_some(both)
        })
        .await;
        let answer = follow(kind).send(&rig).await;
        assert_refused(&answer, 503, "busy");
        assert_eq!(answer.header("retry-after"), "10");
        // Those who do not show a proof are not even counted.
        let stranger = Call::get(&format!("/api/v1/deployments/{id}/log")).send(&rig).await;
        assert_refused(&stranger, 401, "unauthorized");
        drop(open);
    }
    let free = async || (follow("text/plain").open(&rig).await.status() == 200).then_some(());
    until("a free place", free).await;
    drop(gate);
    rig.finish().await;
}

/// B4: one who holds every place gives one up as soon as somebody else wants to follow, and comes again behind its last line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_caller_keeps_no_other_from_following() {
    let mut plan = Plan::new(Database::Sqlite);
    plan.server += "\nmax_followers = 20";
    plan.keys.push(Key::signing("greedy", &["read"]));
    plan.keys.push(Key::signing("other", &["read"]));
    let rig = plan.start().await;
    let gate = rig.gate("web");
    let ordered = Call::post("/api/v1/deployments", &json!({ "service": "web", "tag": "1" })).by(rig.key()).send(&rig).await;
    let (id, read) = (ordered.json()["id"].as_str().unwrap().to_owned(), ordered.header(tagalong::api::READ_TOKEN_HEADER).to_owned());
    let follow = async |key: Option<&Key>, kind: &str| {
        let call = Call::get(&format!("/api/v1/deployments/{id}/log")).header("accept", kind);
        let call = match key {
            Some(key) => call.by(key),
            None => call.header("authorization", format!("Bearer {read}")),
        };
        call.open(&rig).await
    };
    let (greedy, other) = (&rig.plan.keys[1], &rig.plan.keys[2]);
    let mut held = Vec::new();
    for place in 0..20 {
        held.push(follow(Some(greedy), if place % 2 == 0 { "text/plain" } else { "text/event-stream" }).await);
    }
    assert!(held.iter().all(|one| one.status() == 200));
    assert_eq!(follow(Some(greedy), "text/plain").await.status(), 503);
    // Half of them are the other's, for the asking; what is ordered by a third counts as theirs, no matter who has the token.
    let others = join_all((0..8).map(|_| follow(Some(other), "text/event-stream"))).await;
    assert!(others.iter().all(|one| one.status() == 200));
    let tokens = join_all((0..4).map(|_| follow(None, "text/event-stream"))).await;
    assert!(tokens.iter().all(|one| one.status() == 200));
    drop((others, tokens, held, gate));
    rig.ended(&id).await;
    rig.finish().await;
}

/// A call that comes from `address` by the trusted proxy.
async fn from(rig: &Rig, address: &str, key: Option<&Key>) -> Answer {
    let call = Call::get("/api/v1/deployments").header("x-forwarded-for", address).header("x-forwarded-proto", "https");
    match key {
        Some(key) => call.by(key).send(rig).await,
        None => call.send(rig).await,
    }
}

/// B5
async fn failed_attempts_are_limited_by_address(database: Database) {
    const LIMIT: usize = 5;
    let mut plan = Plan::new(database);
    plan.server = format!("failed_attempts_per_min = {LIMIT}\ntrusted_proxies = [\"127.0.0.1\"]");
    plan.keys.push(Key::bearer("robot", &["read"]));
    let rig = plan.start().await;
    let (signing, robot) = (Some(rig.key()), Some(&rig.plan.keys[1]));
    // Of the same name and another secret.
    let guess = Key::signing("ops", &[]);
    let other = if database == Database::Postgres { Some(rig.beside().await) } else { None };
    let every: Vec<&Rig> = std::iter::once(&rig).chain(&other).collect();
    // Attempts count by the minute: when one ends on the way, it is done once more, from other addresses.
    let mut turn = 0;
    until("a whole minute", async || {
        turn += 1;
        let minute = clock::now_ms() / 60_000;
        let attackers = [format!("192.0.{turn}."), format!("2001:db8:{turn}:2::"), format!("127.0.0.1, 10.9.9.9, 198.51.{turn}.")];
        let mut seen = Vec::new();
        for (at, address) in attackers.iter().enumerate() {
            // Only an IPv6 address may change its last part; what stands left of what our proxy saw is anybody's word.
            let host = |n: usize| if at == 1 { format!("{address}{n}") } else { format!("{address}1") };
            for n in 0..LIMIT {
                seen.push(from(every[n % every.len()], &host(n), Some(&guess)).await.status);
            }
            let told = Instant::now();
            for rig in &every {
                // What the other server counted is known here within a second, or a few where the machine is busy.
                while from(rig, &host(99), robot).await.status != 429 {
                    assert!(told.elapsed() < Duration::from_secs(8), "{address} is not limited on every server");
                }
                for refused in [from(rig, &host(99), robot).await, from(rig, &host(99), Some(&guess)).await] {
                    seen.push(if refused.header("retry-after") == "60" { refused.status } else { 0 });
                }
                // Nobody guesses a signing secret, so who has the right one is not kept out by a neighbour.
                seen.push(from(rig, &host(99), signing).await.status);
                // Nobody else is concerned: another address, another /64, the proxy itself.
                for elsewhere in ["203.0.113.5".to_owned(), format!("2001:db8:{turn}:3::1"), "10.9.9.9".to_owned()] {
                    seen.push(from(rig, &elsewhere, robot).await.status);
                }
                seen.push(Call::get("/api/v1/deployments").by(rig.key()).send(rig).await.status);
            }
        }
        (clock::now_ms() / 60_000 == minute).then(|| {
            let one = [vec![401; LIMIT], [429, 429, 200, 200, 200, 200, 200].repeat(every.len())].concat();
            assert_eq!(seen, one.repeat(attackers.len()));
        })
    })
    .await;
    if let Some(other) = other {
        other.stop().await;
    }
    rig.finish().await;
}

/// A page of another site has whoever looks at it call here, again and again: nobody behind the same address is locked out by that, and
/// nothing that such a call shows is looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_of_another_site_uses_up_attempts() {
    const LIMIT: usize = 5;
    let forge = "[[forge]]\nid = \"github\"\nkind = \"github\"\nwebhook_secret_file = \"hook.secret\"\n";
    let mut plan = Plan::new(Database::Sqlite);
    plan.server = format!("failed_attempts_per_min = {LIMIT}");
    plan.keys.push(Key::bearer("robot", &["read", "deploy:web"]));
    plan.tables = forge.to_owned();
    plan.files = vec![("hook.secret", "a-secret-of-the-hooks-that-is-long-enough".to_owned())];
    let rig = plan.start().await;
    let robot = &rig.plan.keys[1];
    let elsewhere = |call: Call, dest: &'static str| call.header("sec-fetch-site", "cross-site").header("sec-fetch-dest", dest);
    for _ in 0..LIMIT * 3 {
        // Browsers that say nothing of where a call comes from show nothing either.
        for path in ["/api/v1/deployments", "/api/v1/services/web", "/ws/agent"] {
            assert_ne!(Call::get(path).send(&rig).await.status, 429, "{path}");
            assert_ne!(elsewhere(Call::get(path), "image").send(&rig).await.status, 429, "{path}");
        }
        for path in ["/hooks/github", "/api/_internal/reload-data", "/api/v1/agents/enrol"] {
            let call = Call::post(path, &json!({}));
            assert_ne!(elsewhere(call, "empty").send(&rig).await.status, 429, "{path}");
        }
        assert_ne!(elsewhere(Call::get("/approve/01ARZ3NDEKTSV4RRFFQ69G5FAV"), "iframe").send(&rig).await.status, 429);
        assert_ne!(elsewhere(Call::get("/login/github/callback?code=a&state=b"), "document").send(&rig).await.status, 429);
    }
    // Not even with the right secret: what another site has a browser send is nobody's call.
    assert_eq!(elsewhere(Call::get("/api/v1/deployments").by(robot), "empty").send(&rig).await.status, 401);
    assert_eq!(Call::get("/api/v1/deployments").by(robot).send(&rig).await.status, 200);
    // A guess stays a guess.
    let guess = Key::bearer("robot", &[]);
    until("a whole minute", async || {
        let minute = clock::now_ms() / 60_000;
        let mut seen = Vec::new();
        for _ in 0..=LIMIT {
            seen.push(Call::get("/api/v1/deployments").by(&guess).send(&rig).await.status);
        }
        (clock::now_ms() / 60_000 == minute).then(|| assert_eq!(seen, [vec![401; LIMIT], vec![429]].concat()))
    })
    .await;
    rig.finish().await;
}

/// B5: guesses that are sent all at once, and whose bodies come only when all of them are under way, get no more tries than those
/// that come one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_at_once_are_no_more_guesses() {
    const LIMIT: usize = 5;
    const GUESSES: usize = 40;
    let mut plan = Plan::new(Database::Sqlite);
    plan.server = format!("failed_attempts_per_min = {LIMIT}");
    plan.keys.push(Key::bearer("robot", &["deploy:web"]));
    let rig = plan.start().await;
    let body = json!({ "service": "web", "tag": "1" }).to_string();
    let path = "/api/v1/deployments";
    let under_way = async |key: &Key| {
        let proof = key.proof(&format!("msg_{}", clock::new_id()), clock::now_ms() / 1000, body.as_bytes());
        let proof = proof.iter().fold(String::new(), |all, (name, value)| all + &format!("{name}: {value}\r\n"));
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n{proof}\r\n");
        let mut stream = connect(rig.address(), &head).await;
        let mut go_on = [0; 25];
        stream.read_exact(&mut go_on).await.unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream
    };
    let status = async |stream: &mut TcpStream| {
        stream.write_all(body.as_bytes()).await.unwrap();
        let answer = all_of(stream).await;
        answer.split(' ').nth(1).unwrap().parse::<u16>().unwrap()
    };
    until("a whole minute", async || {
        let minute = clock::now_ms() / 60_000;
        let guesses: Vec<Key> = (0..GUESSES).map(|_| Key::bearer("robot", &[])).collect();
        let mut streams = join_all(guesses.iter().map(&under_way)).await;
        let mut right = under_way(&rig.plan.keys[1]).await;
        let tried = join_all(streams.iter_mut().map(status)).await;
        let right = status(&mut right).await;
        let count = |wanted: u16| tried.iter().filter(|status| **status == wanted).count();
        (clock::now_ms() / 60_000 == minute).then(|| {
            assert_eq!((count(401), count(429)), (LIMIT, GUESSES - LIMIT), "{tried:?}");
            // What could have been a guess is not even looked at.
            assert_eq!(right, 429);
        })
    })
    .await;
    assert_eq!(rig.count("SELECT COUNT(*) FROM deployments").await, 0);
    rig.finish().await;
}

/// What strangers send as a head stands in no log, at whatever level: the HTTP library would tell of each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_head_of_a_stranger_stands_in_the_log() {
    const MARK: &str = "mark-of-a-stranger";
    let mut plan = Plan::new(Database::Sqlite);
    plan.server += "\nlog_level = \"trace\"";
    let (server, _dir) = Server::start_with(&plan);
    for head in [
        format!("{MARK}\r\n\r\n"),
        format!("GET /{MARK} HTTP/9.9\r\nhost: x\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{MARK}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nhost: x\r\ncontent-length: {MARK}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: {MARK}\r\n\r\n"),
        format!("POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{MARK}\r\n"),
        format!("GET / HTTP/1.1\r\nhost: x\r\nexpect: {MARK}\r\nupgrade: {MARK}\r\nconnection: upgrade\r\n\r\n"),
        format!("\u{16}\u{3}\u{1}{MARK}\r\n\r\n"),
        format!("GET /{MARK} HTTP/1.1\r\nhost: {MARK}\r\nauthorization: Bearer {MARK}\r\nuser-agent: {MARK}\r\n\r\n"),
        format!("GET /api/v1/services?{MARK} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {MARK}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", MARK.repeat(2000)),
    ] {
        let mut stream = connect(server.address, &head).await;
        let _ = stream.shutdown().await;
        all_of(&mut stream).await;
    }
    let said = server.ended();
    let guilty: Vec<&String> = said.iter().filter(|line| line.contains(MARK) || line.contains("actix_http")).collect();
    assert!(guilty.is_empty(), "{guilty:#?}");
    assert!(said.iter().any(|line| line.contains("TRACE") || line.contains("DEBUG")), "the log is not at its lowest level: {said:#?}");
}

/// However many answers hang in the database, a run goes on: it has connections of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_hang_hold_no_run_up() {
    const BOTH_POOLS: i64 = 8;
    let rig = Plan::new(Database::Postgres).start().await;
    let gate = rig.gate("web");
    let id = rig.order_running("web", "first").await;
    let store = &rig.app().shared().store;
    let mut stranger = sqlx::AnyConnection::connect(&rig.database_url()).await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE deliveries, incidents IN ACCESS EXCLUSIVE MODE").execute(&mut stranger).await.unwrap();
    let is_over = Cell::new(false);
    // A statement that waits for a lock is given up after a while, and the next one takes its connection.
    let reads = join_all((0..12).map(async |_| {
        while !is_over.get() {
            Call::get("/api/v1/incidents").by(rig.key()).send(&rig).await;
        }
    }));
    let writes = join_all((0..12).map(async |number| {
        while !is_over.get() {
            let delivery = Delivery { caller: "key:flood".into(), id: format!("flood{number}"), body_sha256: "0".repeat(64) };
            let _ = store.remember(&delivery).await;
        }
    }));
    let run = async {
        let hanging = "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
        until("every connection for answers to hang", async || (rig.count(hanging).await >= BOTH_POOLS).then_some(())).await;
        drop(gate);
        let done: &'static str =
            Box::leak(format!("SELECT COUNT(*) FROM deployments WHERE id = '{id}' AND state = 'done'").into_boxed_str());
        until("the run to end", async || (rig.count(done).await == 1).then_some(())).await;
        let left = rig.count(hanging).await;
        is_over.set(true);
        sqlx::raw_sql("ROLLBACK").execute(&mut stranger).await.unwrap();
        left
    };
    let (_, _, left) = tokio::join!(reads, writes, run);
    assert!(left > 0, "the answers did not hang while the run went on");
    assert_eq!(rig.ended(&id).await["state"], "done");
    rig.finish().await;
}
