//! `POST /api/v1/reloads` and `GET /api/v1/datasets`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::Value;
use serde_json::json;
use sqlx::Row as _;
use tagalong::clock;
use tagalong::http::auth::sign;

use crate::support::Place;
use crate::support::Plan;
use crate::support::Server;
use crate::support::git;

const TOKEN: &str = "a-bearer-token-of-the-tests";

async fn with_key(place: &Place, scopes: &str, more: &str) -> Server {
    std::fs::write(place.path().join("key.token"), format!("{TOKEN}\n")).unwrap();
    let key = format!("[[key]]\nid = \"robot\"\ntoken_file = \"key.token\"\nscopes = {scopes}\n{more}");
    Server::start(Plan::new("pod").table(&key).write(place)).await
}

async fn call(server: &Server, method: Method, path: &str, body: &Value) -> (u16, Value) {
    let mut call = server.http.request(method.clone(), server.url(path)).bearer_auth(TOKEN);
    if method == Method::POST {
        call = call.json(body);
    }
    let answer = call.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_answers_what_it_did() {
    let place = Place::new();
    let server = with_key(&place, "[\"reload:notes\", \"read:notes\"]", "").await;
    let first = place.tip();
    server.until_loaded(&first).await;
    let second = place.push(&[("notes/two.md", "two\n")]);
    let ask = json!({ "dataset": "notes", "branch": "main", "commitHash": second });
    let (status, mut answer) = call(&server, Method::POST, "/api/v1/reloads", &ask).await;
    assert!(answer["duration_ms"].is_u64());
    answer["duration_ms"] = json!(0);
    let expected = json!({
        "dataset": "notes", "outcome": "fast-forwarded", "ok": true, "rebuilt": true, "from": first, "to": second, "loaded": second,
        "pushed": 0, "duration_ms": 0
    });
    assert_eq!((status, answer), (200, expected));
    let (status, again) = call(&server, Method::POST, "/api/v1/reloads", &ask).await;
    assert_eq!((status, &again["outcome"], &again["rebuilt"]), (200, &json!("in-sync"), &json!(false)));
    // A commit that is on no branch here: never a success that hides it.
    let lone = git(&place.writer(), &["commit-tree", "-m", "lone", "HEAD^{tree}"]);
    let (status, answer) = call(&server, Method::POST, "/api/v1/reloads", &json!({ "dataset": "notes", "commitHash": lone })).await;
    assert_eq!((status, &answer["code"]), (409, &json!("not_contained")), "{answer}");
    let (status, answer) = call(&server, Method::POST, "/api/v1/reloads", &json!({ "dataset": "notes", "branch": "other" })).await;
    assert_eq!((status, &answer["outcome"]), (200, &json!("ignored")));
    let unplugged = place.unplug();
    let (status, answer) = call(&server, Method::POST, "/api/v1/reloads", &json!({ "dataset": "notes" })).await;
    assert_eq!((status, &answer["code"]), (502, &json!("fetch_failed")), "{answer}");
    drop(unplugged);
    git(&place.remote(), &["update-ref", "refs/heads/kept", "refs/heads/main"]);
    git(&place.remote(), &["update-ref", "-d", "refs/heads/main"]);
    let (status, answer) = call(&server, Method::POST, "/api/v1/reloads", &json!({ "dataset": "notes" })).await;
    assert_eq!((status, &answer["code"]), (502, &json!("remote_branch_missing")), "{answer}");
    let (status, shown) = call(&server, Method::GET, "/api/v1/datasets/notes", &json!(null)).await;
    assert_eq!((status, &shown["loaded"], &shown["last"]["outcome"]), (200, &json!(second), &json!("remote-branch-missing")), "{shown}");
    let (status, all) = call(&server, Method::GET, "/api/v1/datasets", &json!(null)).await;
    assert_eq!((status, &all["datasets"][0]["name"]), (200, &json!("notes")));
    // Who had what done stands in the audit trail; what nothing was done for does not.
    let entries = format!("sqlite://{}", place.path().join("pod-data").join(tagalong::store::SQLITE_FILE).display());
    let pool = sqlx::AnyPool::connect(&entries).await.unwrap();
    let rows = sqlx::query("SELECT caller || ' ' || action || ' ' || target || ' ' || detail FROM audit ORDER BY seq")
        .fetch_all(&pool)
        .await
        .unwrap();
    pool.close().await;
    let said: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let expected = [
        format!("key:robot reload notes fast-forwarded, serves {second}"),
        format!("key:robot reload notes in-sync, serves {second}"),
        format!("key:robot reload notes fetch-failed, failed, serves {second}"),
        format!("key:robot reload notes remote-branch-missing, failed, serves {second}"),
    ];
    assert_eq!(said, expected);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_reloads_what_its_scopes_and_refs_say() {
    let place = Place::new();
    let server = with_key(&place, "[\"reload:notes\"]", "refs = [\"refs/heads/main\"]").await;
    for (ask, status, code) in [
        (json!({ "dataset": "notes", "branch": "main" }), 200, ""),
        (json!({ "dataset": "notes", "branch": "refs/heads/main" }), 200, ""),
        (json!({ "dataset": "notes", "branch": "other" }), 403, "forbidden"),
        (json!({ "dataset": "notes" }), 403, "forbidden"),
        (json!({ "dataset": "other", "branch": "main" }), 403, "forbidden"),
        (json!({ "dataset": "notes", "branch": "main", "commitHash": "HEAD" }), 400, "bad_request"),
        (json!({ "dataset": "notes", "branch": "main", "commitHash": "a".repeat(1 << 19) }), 400, "bad_request"),
        (json!({ "dataset": "notes", "branch": "main", "more": 1 }), 400, "bad_request"),
        (json!([{ "dataset": "notes" }]), 400, "bad_request"),
        (json!({ "dataset": "../notes" }), 400, "bad_request"),
        (json!({}), 400, "bad_request"),
    ] {
        let (got, answer) = call(&server, Method::POST, "/api/v1/reloads", &ask).await;
        assert_eq!((got, answer["code"].as_str().unwrap_or_default()), (status, code), "{ask:.120}: {answer}");
    }
    for path in ["/api/v1/datasets/notes", "/api/v1/datasets"] {
        assert_eq!(call(&server, Method::GET, path, &json!(null)).await.0, 403, "{path}");
    }
    server.stop().await;
    let server = with_key(&place, "[\"reload:*\", \"read\"]", "").await;
    let (status, answer) = call(&server, Method::POST, "/api/v1/reloads", &json!({ "dataset": "other" })).await;
    assert_eq!((status, &answer["code"]), (404, &json!("unknown_dataset")));
    for path in ["/api/v1/datasets/other", "/api/v1/datasets/..%2fnotes"] {
        assert_eq!(call(&server, Method::GET, path, &json!(null)).await.0, 404, "{path}");
    }
    server.stop().await;
}

fn secret() -> Vec<u8> {
    (0..32).collect()
}

/// A signed call as it stands on the wire, to be sent as often as somebody likes.
#[derive(Clone)]
struct Signed {
    headers: [(&'static str, String); 3],
    body: String,
}

impl Signed {
    fn new(id: &str, body: &Value) -> Self {
        let (body, now_s) = (body.to_string(), clock::now_ms() / 1000);
        let signature = sign(&secret(), id, now_s, body.as_bytes());
        Self { headers: [("webhook-id", id.to_owned()), ("webhook-timestamp", now_s.to_string()), ("webhook-signature", signature)], body }
    }

    async fn send(&self, server: &Server) -> (u16, Value) {
        let call = server.http.post(server.url("/api/v1/reloads"));
        let call = self.headers.iter().fold(call, |call, (name, value)| call.header(*name, value));
        let answer = call.body(self.body.clone()).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }
}

/// A signed reload that is sent again, by anybody who overheard it, gets its first answer, and nothing is done for it: not while it
/// runs, not afterwards, not after a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_reload_is_carried_out_once() {
    let place = Place::new();
    std::fs::write(place.path().join("key.secret"), format!("whsec_{}", STANDARD.encode(secret()))).unwrap();
    let key = "[[key]]\nid = \"robot\"\nsecret_file = \"key.secret\"\nscopes = [\"reload:*\"]\n";
    let git = place.counting_git();
    let file = Plan::new("pod").dataset(&format!("git = {git:?}")).table(key).write(&place);
    let server = Server::start(file.clone()).await;
    server.until_loaded(&place.tip()).await;
    let new = place.push(&[("notes/two.md", "two\n")]);
    let before = place.calls("fetch");
    let call = Signed::new("once", &json!({ "dataset": "notes" }));
    let answers = join_all((0..8).map(|_| call.send(&server))).await;
    let (status, first) = answers[0].clone();
    assert_eq!((status, &first["loaded"]), (200, &json!(new)), "{first}");
    assert!(answers.iter().all(|answer| *answer == (200, first.clone())), "{answers:?}");
    let fetched = place.calls("fetch");
    assert!(fetched > before);
    // Whatever has come meanwhile: the answer is the first one's, and the remote is not asked.
    place.push(&[("notes/three.md", "three\n")]);
    assert_eq!(call.send(&server).await, (200, first));
    assert_eq!(place.calls("fetch"), fetched);
    let other = Signed::new("once", &json!({ "dataset": "notes", "branch": "main" }));
    let (status, answer) = other.send(&server).await;
    assert_eq!((status, &answer["code"]), (409, &json!("id_reused")), "{answer}");
    // What nothing was done for is not remembered: the very same call may come again.
    let unknown = Signed::new("nothing", &json!({ "dataset": "other" }));
    for _ in 0..2 {
        assert_eq!(unknown.send(&server).await.0, 404);
    }
    // What failed was done nevertheless.
    let unplugged = place.unplug();
    let fails = Signed::new("fails", &json!({ "dataset": "notes" }));
    let answer = fails.send(&server).await;
    assert_eq!((answer.0, &answer.1["code"]), (502, &json!("fetch_failed")), "{answer:?}");
    drop(unplugged);
    assert_eq!(fails.send(&server).await, answer);
    server.stop().await;
    let server = Server::start(file).await;
    server.until_loaded(&place.tip()).await;
    let fetched = place.calls("fetch");
    for again in [&call, &fails] {
        let (status, answer) = again.send(&server).await;
        assert_eq!((status, &answer["code"]), (409, &json!("repeated")), "{answer}");
    }
    assert_eq!(other.send(&server).await.1["code"], "id_reused");
    assert_eq!(place.calls("fetch"), fetched);
    // One of its own is carried out.
    assert_eq!(Signed::new("twice", &json!({ "dataset": "notes" })).send(&server).await.0, 200);
    assert!(place.calls("fetch") > fetched);
    server.stop().await;
}
