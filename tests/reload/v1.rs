//! `POST /api/v1/reloads` and `GET /api/v1/datasets`.

use reqwest::Method;
use serde_json::Value;
use serde_json::json;
use sqlx::Row as _;

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
        format!("key:robot reload notes fetch-failed, did not hold, serves {second}"),
        format!("key:robot reload notes remote-branch-missing, did not hold, serves {second}"),
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
