//! Others hear of what is new, and one that was away gets it when it is back.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;

use crate::support::Place;
use crate::support::Plan;
use crate::support::SECRET;
use crate::support::Server;
use crate::support::until;

const PEER_SECRET: &str = "whsec_c2l4dGVlbiBieXRlcyBhbmQgbW9yZSBvZiB0aGVt";

/// A free port, kept for a server that comes and goes: while this process lives, nobody else is given it.
fn port() -> u16 {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(std::net::SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let port = socket.local_addr().unwrap().port();
    // It is bound and listens to nobody, so a server may still bind to the port and listen.
    std::mem::forget(socket);
    port
}

/// A pod that may be called by its peers.
fn pod(place: &Place, name: &'static str, port: u16) -> Plan {
    std::fs::write(place.path().join("pods.secret"), PEER_SECRET).unwrap();
    let mut plan = Plan::new(name).table("[[key]]\nid = \"pods\"\nsecret_file = \"pods.secret\"\nscopes = [\"reload:notes\"]");
    plan.server = format!("listen = [\"127.0.0.1:{port}\"]");
    plan
}

fn with_peers(plan: Plan, urls: &[String]) -> Plan {
    plan.table(&format!("[[dataset.notes.peer]]\nurls = {urls:?}\nsecret_file = \"pods.secret\"\ndeadline_s = 30"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_call_reaches_every_pod_and_each_answer_is_shown() {
    let place = Place::new();
    let ports = [port(), port()];
    let url = format!("http://127.0.0.1:{}/", ports[1]);
    let alias = format!("http://127.0.0.1:{}/api/_internal/reload-data", ports[1]);
    std::fs::write(place.path().join("alias.secret"), SECRET).unwrap();
    let first = with_peers(pod(&place, "first", ports[0]), std::slice::from_ref(&url))
        .table(&format!("[[dataset.notes.peer]]\nurls = [{alias:?}]\nsecret_file = \"alias.secret\""));
    let second = Server::start(pod(&place, "second", ports[1]).with_secret(&place).write(&place)).await;
    let first = Server::start(first.write(&place)).await;
    first.until_loaded(&place.tip()).await;
    let new = place.push(&[("notes/two.md", "two\n")]);
    let (status, answer) = first.reload(&json!({ "commitHash": new, "all_peers": true })).await;
    assert_eq!(status, 200, "{answer}");
    let peers = answer["peers"].as_array().unwrap();
    assert_eq!(
        peers.iter().map(|peer| (&peer["peer"], &peer["ok"])).collect::<Vec<_>>(),
        [(&json!(url), &json!(true)), (&json!(alias), &json!(true))]
    );
    assert_eq!(second.dataset().await["loaded"], new);
    // Without being asked to wait, they hear of it afterwards.
    let newer = place.push(&[("notes/three.md", "three\n")]);
    assert_eq!(first.reload(&json!({ "commitHash": newer })).await.0, 200);
    second.until_loaded(&newer).await;
    first.until("no debt", |shown| shown["owed"] == json!([])).await;
    // One that is told not to tell does not.
    let newest = place.push(&[("notes/four.md", "four\n")]);
    assert_eq!(first.reload(&json!({ "commitHash": newest, "all_peers": false })).await.0, 200);
    assert_eq!((first.dataset().await["owed"].clone(), second.dataset().await["loaded"].clone()), (json!([]), json!(newer)));
    first.stop().await;
    second.stop().await;
}

/// The debt survives restarts of the one who owes it; only the newest commit is owed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_was_away_gets_the_newest_when_it_is_back() {
    let place = Place::new();
    let ports = [port(), port()];
    let url = format!("http://127.0.0.1:{}/", ports[1]);
    let (plan, away) = (with_peers(pod(&place, "first", ports[0]), std::slice::from_ref(&url)), pod(&place, "second", ports[1]));
    let (file, away_file) = (plan.write(&place), away.write(&place));
    let second = Server::start(away_file.clone()).await;
    second.until_loaded(&place.tip()).await;
    second.stop().await;
    let first = Server::start(file.clone()).await;
    first.until_loaded(&place.tip()).await;
    let mut newest = String::new();
    for text in ["two", "three"] {
        newest = place.push(&[("notes/more.md", text)]);
        let (status, answer) = first.reload(&json!({ "commitHash": newest, "all_peers": true })).await;
        assert_eq!((status, &answer["ok"], &answer["peers"][0]["ok"]), (207, &json!(true), &json!(false)), "{answer}");
        assert!(answer["peers"][0]["detail"].as_str().unwrap().contains("cannot be reached"), "{answer}");
    }
    let owed = first.dataset().await["owed"].clone();
    assert_eq!((owed.as_array().unwrap().len(), &owed[0]["peer"], &owed[0]["commit"]), (1, &json!(url), &json!(newest)));
    assert!(first.metrics().await.contains("tagalong_dataset_peers_owed{dataset=\"notes\"} 1"));
    let (_, ready) = first.local(reqwest::Method::GET, "/readyz", None).await;
    assert_eq!(ready["notes"], json!(["1 peer of notes has not been told about a commit yet."]));
    first.stop().await;
    let first = Server::start(file).await;
    let owed: Value = first.dataset().await["owed"].clone();
    assert_eq!(owed[0]["commit"], newest, "after a restart");
    // It is back, but has no call and no timer of its own: what it gets, it gets from the one who owes it.
    let second = Server::start(away_file).await;
    second.until_loaded(&newest).await;
    first.until("no debt", |shown| shown["owed"] == json!([])).await;
    first.stop().await;
    second.stop().await;
}

/// Every address of a name is called; a name that cannot be looked up is owed the commit nevertheless.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_address_of_a_name_is_called() {
    let place = Place::new();
    let ports = [port(), port()];
    let dns = |name: &str| format!("[[dataset.notes.peer]]\ndns = \"http://{name}:{}\"\nsecret_file = \"pods.secret\"", ports[1]);
    let second = Server::start(pod(&place, "second", ports[1]).write(&place)).await;
    let plan = pod(&place, "first", ports[0]).table(&dns("localhost")).table(&dns("no-such-host.invalid"));
    let first = Server::start(plan.write(&place)).await;
    first.until_loaded(&place.tip()).await;
    let new = place.push(&[("notes/two.md", "two\n")]);
    let (status, answer) = first.reload(&json!({ "commitHash": new, "all_peers": true })).await;
    assert_eq!(status, 207, "{answer}");
    let peers = answer["peers"].as_array().unwrap();
    let of = |name: &str| peers.iter().find(|peer| peer["peer"].as_str().unwrap().contains(name)).unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(of("127.0.0.1")["ok"], true, "{answer}");
    assert_eq!(of("no-such-host.invalid")["ok"], false);
    assert_eq!(second.dataset().await["loaded"], new);
    let owed = first.dataset().await["owed"].clone();
    assert!(owed.as_array().unwrap().iter().any(|debt| debt["peer"].as_str().unwrap().contains("no-such-host.invalid")), "{owed}");
    // A peer that is no longer in the configuration is owed nothing.
    first.stop().await;
    let first = Server::start(pod(&place, "first", ports[0]).table(&dns("localhost")).write(&place)).await;
    until("the debt to be forgiven", async || {
        let owed = first.dataset().await["owed"].clone();
        (!owed.to_string().contains("no-such-host")).then_some(())
    })
    .await;
    first.stop().await;
    second.stop().await;
}

/// Somebody else's server, which gives each call the next of `answers`, and the last one for ever; an empty one never comes.
struct Foreign {
    url: String,
    calls: Arc<Mutex<Vec<Instant>>>,
}

impl Foreign {
    async fn start(answers: &'static [&'static str]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks/data", listener.local_addr().unwrap());
        let calls = Arc::<Mutex<Vec<Instant>>>::default();
        let noted = Arc::clone(&calls);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut call = Vec::new();
                while !call.ends_with(b"}") && stream.read_buf(&mut call).await.is_ok_and(|more| more > 0) {}
                let nth = {
                    let mut noted = noted.lock().unwrap();
                    noted.push(Instant::now());
                    noted.len() - 1
                };
                let answer = answers[nth.min(answers.len() - 1)];
                if answer.is_empty() {
                    tokio::spawn(async move { stream.read_to_end(&mut Vec::new()).await });
                    continue;
                }
                stream
                    .write_all(format!("HTTP/1.1 {answer}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}").as_bytes())
                    .await
                    .unwrap();
            }
        });
        Self { url, calls }
    }

    fn calls(&self) -> Vec<Instant> {
        self.calls.lock().unwrap().clone()
    }
}

/// Which secret a peer did not accept is said, and the secret is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_credential_is_named_by_its_file() {
    let place = Place::new();
    let stranger = Foreign::start(&["401 Unauthorized"]).await;
    let first = Server::start(with_peers(pod(&place, "first", port()), std::slice::from_ref(&stranger.url)).write(&place)).await;
    first.until_loaded(&place.tip()).await;
    let new = place.push(&[("notes/two.md", "two\n")]);
    assert_eq!(first.reload(&json!({ "commitHash": new })).await.0, 200);
    let said = format!("It answered 401 (tagalong sent that of peer.secret_file {}).", place.path().join("pods.secret").display());
    first.until("the peer's answer", |shown| shown["owed"][0]["why"] == said.as_str()).await;
    assert!(!first.dataset().await.to_string().contains(&PEER_SECRET[6..]));
    first.stop().await;
}

/// One peer that never answers, one that refuses and one that asks for silence: each is met in its own time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_hangs_refuses_or_wants_silence_delays_nobody() {
    const SILENCE: Duration = Duration::from_secs(2);
    let place = Place::new();
    let hangs = Foreign::start(&[""]).await;
    let refuses = Foreign::start(&["422 Unprocessable Content"]).await;
    let busy = Foreign::start(&["429 Too Many Requests\r\nretry-after: 2", "200 OK"]).await;
    let plan = with_peers(pod(&place, "first", port()), &[hangs.url.clone(), refuses.url.clone(), busy.url.clone()]);
    let first = Server::start(plan.write(&place)).await;
    first.until_loaded(&place.tip()).await;
    let new = place.push(&[("notes/two.md", "two\n")]);
    assert_eq!(first.reload(&json!({ "commitHash": new })).await.0, 200);
    let is_owed = |shown: &Value, url: &str| shown["owed"].as_array().unwrap().iter().any(|owed| owed["peer"] == url);
    let is_refused = |shown: &Value| {
        let mut owed = shown["owed"].as_array().unwrap().iter();
        owed.any(|owed| owed["peer"] == refuses.url.as_str() && owed["refused_ms"].is_i64())
    };
    first.until("the one that wanted silence to have it", |shown| !is_owed(shown, &busy.url) && is_refused(shown)).await;
    let (of_busy, of_hanging) = (busy.calls(), hangs.calls());
    assert_eq!((of_busy.len(), of_hanging.len(), refuses.calls().len()), (2, 1, 1));
    assert!(of_busy[1] - of_busy[0] >= SILENCE, "{of_busy:?}");
    assert!(is_owed(&first.dataset().await, &hangs.url));
    let (_, ready) = first.local(reqwest::Method::GET, "/readyz", None).await;
    let notes = [
        "2 peers of notes have not been told about a commit yet.",
        "1 peer of notes refuses to be told about a commit; a person must look at it.",
    ];
    assert_eq!(ready["notes"], json!(notes));
    // The next commit is another question.
    let newer = place.push(&[("notes/three.md", "three\n")]);
    assert_eq!(first.reload(&json!({ "commitHash": newer })).await.0, 200);
    until("the one that refuses to be asked again", async || (refuses.calls().len() == 2).then_some(())).await;
    first.until("the one that is well to have it", |shown| !is_owed(shown, &busy.url)).await;
    first.stop().await;
}
