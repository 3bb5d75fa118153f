//! `POST /api/_internal/reload-data`: requests and answers as its users know them, byte for byte but for ids and times.

use reqwest::Method;
use serde_json::Value;
use serde_json::json;
use tagalong::http::Need;
use tagalong::http::ROUTES;

use crate::support::Place;
use crate::support::Plan;
use crate::support::Running;
use crate::support::SECRET;
use crate::support::Server;
use crate::support::commit;
use crate::support::git;
use crate::support::masked;

const PATH: &str = "/api/_internal/reload-data";
const UNAUTHORIZED: &str = r#"{"success":false,"error":{"code":"unauthorized","message":"Authentication required"},"traceId":"*"}"#;
const NOT_CONFIGURED: &str =
    r#"{"success":false,"error":{"code":"service_unavailable","message":"hot-reload not configured"},"traceId":"*"}"#;

/// A call with these headers and this body: the status and the masked text.
async fn call(server: &Server, headers: &[(&str, &str)], body: Vec<u8>) -> (u16, String) {
    let mut call = server.http.request(Method::POST, server.url(PATH)).body(body);
    for (name, value) in headers {
        call = call.header(*name, *value);
    }
    let answer = call.send().await.unwrap();
    let status = answer.status().as_u16();
    assert_eq!(answer.headers()["content-type"], "application/json");
    let json: Value = answer.json().await.unwrap();
    (status, masked(json).to_string())
}

async fn proven(server: &Server, body: &str) -> (u16, String) {
    let authorization = format!("Bearer {SECRET}");
    call(server, &[("authorization", &authorization), ("content-type", "application/json")], body.into()).await
}

/// 401 comes before JSON, content type and size are looked at, and before the configuration is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_shows_nothing_learns_nothing() {
    let place = Place::new();
    let bare = Server::start(Plan::new("bare").write(&place)).await;
    let set = Server::start(Plan::new("set").with_secret(&place).write(&place)).await;
    let basic = format!("Basic {SECRET}");
    let nothing: [&[(&str, &str)]; 8] = [
        &[],
        &[("authorization", "")],
        &[("authorization", "Bearer")],
        &[("authorization", "Bearer ")],
        &[("authorization", &basic)],
        &[("authorization", SECRET)],
        &[("authorization", "Bearer a b")],
        &[("x-hub-signature-256", "sha256=")],
    ];
    let bodies: [(&str, Vec<u8>); 6] = [
        ("application/json", b"{}".to_vec()),
        ("application/json", b"{".to_vec()),
        ("text/plain", b"x".to_vec()),
        ("application/json", b"[]".to_vec()),
        ("application/json", b"{\"commitHash\":\"HEAD\"}".to_vec()),
        ("application/json", vec![b' '; 2 << 20]),
    ];
    for server in [&bare, &set] {
        for headers in nothing {
            for (kind, body) in &bodies {
                let headers = [headers, &[("content-type", *kind)]].concat();
                assert_eq!(call(server, &headers, body.clone()).await, (401, UNAUTHORIZED.to_owned()), "{headers:?}");
            }
        }
    }
    // Something wrong: whether a secret is set is said only now, and the body is not looked at yet.
    for (kind, body) in &bodies {
        let headers = [("authorization", "Bearer wrong"), ("content-type", kind)];
        assert_eq!(call(&bare, &headers, body.clone()).await, (503, NOT_CONFIGURED.to_owned()));
        assert_eq!(call(&set, &headers, body.clone()).await, (401, UNAUTHORIZED.to_owned()));
    }
    for almost in [&SECRET[1..], &SECRET[..SECRET.len() - 1], &format!("{SECRET}x"), &SECRET.to_uppercase()] {
        let authorization = format!("Bearer {almost}");
        assert_eq!(call(&set, &[("authorization", &authorization)], Vec::new()).await, (401, UNAUTHORIZED.to_owned()));
    }
    bare.stop().await;
    set.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_none_changes_nothing() {
    let place = Place::new();
    let plan = Plan::new("pod").with_secret(&place).dataset(&format!("git = {:?}", place.counting_git()));
    let server = Server::start(plan.write(&place)).await;
    server.until_loaded(&place.tip()).await;
    let before = place.calls("fetch");
    let long = format!("{{\"commitHash\":\"{}\"}}", "a".repeat(1 << 19));
    for (body, message) in [
        ("{", "body must be JSON"),
        ("\u{feff}{}", "body must be JSON"),
        ("[]", "body must be an object"),
        ("null", "body must be an object"),
        ("\"x\"", "body must be an object"),
        (r#"{"branch":3}"#, "body/branch must be string"),
        (r#"{"branch":""}"#, "body/branch must have 1 to 200 characters"),
        (r#"{"commitHash":["a"]}"#, "body/commitHash must be string"),
        (r#"{"commitHash":"HEAD"}"#, "body/commitHash must be a full or abbreviated object name"),
        (r#"{"commitHash":"main"}"#, "body/commitHash must be a full or abbreviated object name"),
        (r#"{"commitHash":"abc"}"#, "body/commitHash must be a full or abbreviated object name"),
        (r#"{"commitHash":"--all"}"#, "body/commitHash must be a full or abbreviated object name"),
        (r#"{"commitHash":""}"#, "body/commitHash must be a full or abbreviated object name"),
        (&long, "body/commitHash must be a full or abbreviated object name"),
    ] {
        let expected = format!(r#"{{"success":false,"error":{{"code":"bad_request","message":"{message}"}},"traceId":"*"}}"#);
        assert_eq!(proven(&server, body).await, (400, expected), "{body:.80}");
    }
    let authorization = format!("Bearer {SECRET}");
    let text = call(&server, &[("authorization", &authorization), ("content-type", "text/plain")], b"{}".to_vec()).await;
    assert_eq!(text.0, 415);
    let (status, large) = proven(&server, &" ".repeat(2 << 20)).await;
    assert_eq!((status, large.contains("\"too_large\"")), (413, true), "{large}");
    assert_eq!(place.calls("fetch"), before, "the remote was asked");
    server.stop().await;
}

/// Each row of the table, with an app that is told by a call and asked by another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_has_its_answer() {
    let place = Place::new();
    let plan = Plan::new("pod").with_secret(&place);
    git(place.path(), &["clone", "--quiet", "remote.git", "pod-checkout"]);
    let app = Running::app(&plan.checkout(&place), "127.0.0.1:0").await;
    let plan = plan.over(&app).dataset(&format!("git = {:?}", place.counting_git()));
    let checkout = plan.checkout(&place);
    let server = Server::start(plan.write(&place)).await;
    let first = place.tip();
    server.until_loaded(&first).await;

    // A commit that is contained in what is loaded: no lock, no fetch.
    let fetches = place.calls("fetch");
    for name in [first.as_str(), &first[..7], &first.to_uppercase()] {
        let contained = format!(
            r#"{{"success":true,"data":{{"noChanges":true,"outcome":"in-sync","head":"{first}","durationMs":"*"}},"traceId":"*"}}"#
        );
        assert_eq!(proven(&server, &json!({ "commitHash": name }).to_string()).await, (200, contained));
    }
    // Another branch: nothing is touched.
    let ignored = r#"{"success":true,"data":{"noChanges":true,"outcome":"ignored","durationMs":"*"},"traceId":"*"}"#;
    assert_eq!(proven(&server, r#"{"branch":"other","commitHash":"0123456789"}"#).await, (200, ignored.to_owned()));
    assert_eq!(place.calls("fetch"), fetches);

    // Nothing new on the remote; an empty body, and fields that nobody knows, are as good as none.
    for body in ["", "{}", r#"{"branch":"main"}"#, r#"{"branch":"refs/heads/main","more":1}"#] {
        assert_eq!(proven(&server, body).await, (200, ran("", "in-sync", &first, &first, "in-sync")), "{body}");
    }
    assert_eq!(app.version().await["loads"], 0);

    // The remote was ahead.
    let second = place.push(&[("notes/two.md", "the second note\n")]);
    let rebuilt = ran(r#""rebuilt":true,"#, "fast-forwarded", &first, &second, "fast-forwarded");
    assert_eq!(proven(&server, &json!({ "branch": "main", "commitHash": second }).to_string()).await, (200, rebuilt));
    assert_eq!((app.commit().await, app.search("second").await), (second.clone(), json!(["notes/two.md"])));

    // Only our own commits were pushed: no rebuild is needed. (The push of own commits may have been first.)
    let own = commit(&checkout, &[("notes/own.md", "ours\n")]);
    let (status, answer) = proven(&server, "{}").await;
    let pushed = ran("", "pushed-ahead", &own, &own, "pushed");
    let in_sync = ran("", "in-sync", &own, &own, "in-sync");
    assert!(status == 200 && (answer == pushed || answer == in_sync), "{answer}");
    assert_eq!(place.tip(), own);

    // The fetch failed: never a success that hides a stale pod.
    let unplugged = place.unplug();
    let (status, answer) = server.reload_data(&json!({})).await;
    assert_eq!((status, &answer["success"], &answer["error"]["code"]), (502, &json!(false), &json!("fetch_failed")), "{answer}");
    assert_eq!(answer["error"]["outcome"], "fetch-failed");
    assert!(!answer["error"]["message"].as_str().unwrap().is_empty() && answer.get("data").is_none());
    drop(unplugged);
    assert_eq!(app.search("second").await, json!(["notes/two.md"]), "local data is served on");

    // The app does not load it: the old data stays in place, and the next call tries again, although HEAD has moved.
    git(&place.writer(), &["pull", "--quiet", "--rebase", "origin", "main"]);
    std::fs::write(place.writer().join("notes/bad.md"), b"\xff\xfe").unwrap();
    let bad = place.push(&[]);
    for _ in 0..2 {
        let (status, answer) = server.reload_data(&json!({ "commitHash": bad })).await;
        assert_eq!((status, &answer["error"]["code"]), (500, &json!("internal_error")), "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains("notes/bad.md"), "{answer}");
        assert_eq!(app.search("second").await, json!(["notes/two.md"]));
    }
    let good = place.push(&[("notes/bad.md", "mended\n")]);
    let (status, answer) = server.reload_data(&json!({ "commitHash": good })).await;
    assert_eq!((status, &answer["data"]["rebuilt"]), (200, &json!(true)), "{answer}");
    assert_eq!(app.commit().await, good);
    server.stop().await;
}

/// A commit that is not served is never a success, whatever it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_loaded_is_not_called_so() {
    let place = Place::new();
    let server = Server::start(Plan::new("pod").with_secret(&place).write(&place)).await;
    let tip = place.tip();
    server.until_loaded(&tip).await;
    let missing = "the requested commit is not part of the loaded data: the remote's branch does not contain it (yet)";
    let conflict = |loaded: &str| {
        format!(
            r#"{{"success":false,"error":{{"code":"not_contained","message":"{missing}","outcome":"in-sync","loaded":"{loaded}"}},"traceId":"*"}}"#
        )
    };
    // Nowhere; in a repository but on no branch; on another branch of the remote; a tree; the first digits of nothing.
    let lone = git(&place.remote(), &["commit-tree", "-m", "lone", "main^{tree}"]);
    let other = git(&place.remote(), &["commit-tree", "-p", "main", "-m", "other", "main^{tree}"]);
    git(&place.remote(), &["update-ref", "refs/heads/other", &other]);
    let tree = git(&place.remote(), &["rev-parse", "main^{tree}"]);
    for name in ["0123456789012345678901234567890123456789", &lone, &other, &other[..10], &tree, "00000000"] {
        for branch in [json!({ "commitHash": name }), json!({ "commitHash": name, "branch": "main" })] {
            assert_eq!(proven(&server, &branch.to_string()).await, (409, conflict(&tip)), "{branch}");
        }
        let (status, answer) = server.reload(&json!({ "commitHash": name })).await;
        assert_eq!((status, &answer["code"]), (409, &json!("not_contained")), "{answer}");
    }
    // More digits than any name of this repository has.
    let none = r#"{"success":false,"error":{"code":"bad_request","message":"body/commitHash must be a full or abbreviated object name"},"traceId":"*"}"#;
    for name in [format!("{tip}0"), "a".repeat(41), "a".repeat(63), "a".repeat(64)] {
        assert_eq!(proven(&server, &json!({ "commitHash": name }).to_string()).await, (400, none.to_owned()), "{name}");
        let (status, answer) = server.reload(&json!({ "commitHash": name })).await;
        assert_eq!((status, &answer["code"]), (400, &json!("bad_request")), "{answer}");
    }
    // Once the branch has it, it is served.
    git(&place.remote(), &["update-ref", "refs/heads/main", &other]);
    let (status, answer) = server.reload_data(&json!({ "commitHash": other })).await;
    assert_eq!((status, &answer["data"]["rebuilt"], &answer["data"]["loaded"]), (200, &json!(true), &json!(other)), "{answer}");
    server.stop().await;
}

/// Object names of a repository with SHA-256 are as long as they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn longer_names_are_names_where_the_repository_has_them() {
    let place = Place::new();
    for folder in ["remote.git", "writer"] {
        std::fs::remove_dir_all(place.path().join(folder)).unwrap();
    }
    git(place.path(), &["init", "--quiet", "--bare", "--object-format=sha256", "--initial-branch=main", "remote.git"]);
    git(place.path(), &["clone", "--quiet", "remote.git", "writer"]);
    git(&place.writer(), &["checkout", "--quiet", "-B", "main"]);
    let tip = place.push(&[("notes/one.md", "1\n")]);
    let server = Server::start(Plan::new("pod").with_secret(&place).write(&place)).await;
    server.until_loaded(&tip).await;
    for name in [&tip[..], &tip[..50], &tip[..41], &tip[..40], &tip[..8]] {
        assert_eq!(server.reload_data(&json!({ "commitHash": name })).await.0, 200, "{name}");
    }
    assert_eq!(server.reload_data(&json!({ "commitHash": "a".repeat(41) })).await.0, 409);
    server.stop().await;
}

/// The answer of a reload that ran.
fn ran(rebuilt: &str, outcome: &str, from: &str, to: &str, ours: &str) -> String {
    let no_changes = rebuilt.is_empty();
    format!(
        r#"{{"success":true,"data":{{"noChanges":{no_changes},{rebuilt}"outcome":"{outcome}","oldCommit":"{from}","newCommit":"{to}","durationMs":"*","reconcile":"{ours}","from":"{from}","to":"{to}","loaded":"{to}"}},"traceId":"*"}}"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflict_is_said_with_its_branch() {
    let place = Place::new();
    let plan = Plan::new("pod").with_secret(&place);
    let checkout = plan.checkout(&place);
    let server = Server::start(plan.write(&place)).await;
    server.until_loaded(&place.tip()).await;
    let unplugged = place.unplug();
    let ours = commit(&checkout, &[("notes/one.md", "ours\n")]);
    // The remote has moved on by the time it can be reached again.
    let theirs = commit(&place.writer(), &[("notes/one.md", "theirs\n")]);
    git(&place.writer(), &["push", "--quiet", unplugged.away(), "main"]);
    drop(unplugged);
    let (status, answer) = server.reload_data(&json!({ "commitHash": theirs })).await;
    assert_eq!(status, 200, "{answer}");
    let shown = server.dataset().await;
    let branch = shown["parked"][0]["branch"].as_str().unwrap_or_else(|| panic!("{shown} {answer}"));
    assert!(branch.starts_with("conflicts/"), "{shown}");
    assert_eq!(git(&place.remote(), &["rev-parse", branch]), ours);
    assert_eq!(shown["loaded"], theirs);
    if answer["data"]["outcome"] == "conflict-escaped" {
        assert_eq!((&answer["data"]["reconcile"], &answer["data"]["conflictBranch"]), (&json!("conflict-parked"), &json!(branch)));
    }
    server.stop().await;
}

/// A rotated secret counts without a restart, line ends at its end do not, and one that is gone proves nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_secret_counts_at_once() {
    let place = Place::new();
    let server = Server::start(Plan::new("pod").with_secret(&place).write(&place)).await;
    server.until_loaded(&place.tip()).await;
    let file = place.path().join("reload.secret");
    let try_it = async |secret: &str| call(&server, &[("authorization", &format!("Bearer {secret}"))], Vec::new()).await.0;
    assert_eq!(try_it(SECRET).await, 200);
    let other = "another-secret-with-24-bytes";
    for end in ["", "\n", "\r\n", "\n\n"] {
        std::fs::write(&file, format!("{other}{end}")).unwrap();
        assert_eq!((try_it(SECRET).await, try_it(other).await), (401, 200), "{end:?}");
    }
    for weak in ["", "\n", "short"] {
        std::fs::write(&file, weak).unwrap();
        assert_eq!((try_it(weak.trim()).await, try_it("").await, try_it(other).await).2, 503, "{weak:?}");
        assert_ne!(try_it("short").await, 200);
    }
    std::fs::remove_file(&file).unwrap();
    assert_eq!(try_it(SECRET).await, 503);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_does_not_stand_in_the_contract() {
    let hidden: Vec<&str> = ROUTES.iter().filter(|route| route.need == Need::ReloadSecret).map(|route| route.path).collect();
    assert_eq!(hidden, [PATH]);
    let place = Place::new();
    let server = Server::start(Plan::new("pod").write(&place)).await;
    let contract = server.http.get(server.url("/api/v1/openapi.json")).send().await.unwrap().text().await.unwrap();
    assert!(!contract.contains("reload-data") && contract.contains("/api/v1/reloads"));
    server.stop().await;
}
