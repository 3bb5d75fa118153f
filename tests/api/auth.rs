//! Who may call: every protected route is taken from the route table, so a new one is tested by itself.

use std::fmt::Write as _;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use actix_web::HttpRequest;
use actix_web::test::TestRequest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::Value;
use serde_json::json;
use tagalong::clock;
use tagalong::config::Config;
use tagalong::http::Need;
use tagalong::http::ROUTES;
use tagalong::http::Route;
use tagalong::http::auth::Shown;
use tagalong::http::auth::sign;
use tagalong::http::auth::token;
use tagalong::model::Verb;

use crate::browser::Browser;
use crate::browser::add_user;
use crate::support::Answer;
use crate::support::Call;
use crate::support::Database;
use crate::support::Key;
use crate::support::Plan;
use crate::support::assert_refused;
use crate::support::folder;
use crate::support::until;

on_both!(
    without_proof_there_is_one_answer_and_no_record,
    no_route_answers_without_proof_and_scope,
    a_signature_holds_for_five_minutes,
    every_key_may_do_what_its_scopes_say_on_every_route,
    a_page_needs_what_its_twin_of_the_api_needs,
    a_read_token_reads_its_own_deployment,
    a_read_token_is_its_callers_alone,
    a_retry_needs_what_the_order_needed,
    a_cancel_needs_what_the_order_needed,
    the_operator_sees_why_calls_were_refused,
    the_operator_sees_that_a_delivery_id_was_reused,
);

/// Two datasets called as the services are, so that every route has something to be about. Nothing is at their remote.
fn with_datasets(mut plan: Plan) -> Plan {
    for name in ["web", "db"] {
        let _ = write!(plan.tables, "\n[dataset.{name}]\ndir = \"{name}-data\"\nremote = \"file:///no/such/remote\"\ninterval_s = 0\n");
    }
    plan
}

fn protected() -> impl Iterator<Item = (&'static Route, Verb)> {
    ROUTES.iter().filter_map(|route| match route.need {
        Need::Verb(verb) => Some((route, verb)),
        _ => None,
    })
}

/// The call with the question that its route cannot do without.
fn asking(route: &Route, call: Call) -> Call {
    match route.path {
        path if path.ends_with("/log") => call.path_end("?follow=false"),
        path if path.ends_with("/log/search") => call.path_end("?text=released"),
        _ => call,
    }
}

/// A call of `route` about `service`, whose deployment is `id`; unproven.
fn call_of(route: &Route, service: &str, id: &str) -> Call {
    let path = route.path.replace("{id}", id).replace("{name}", service);
    let body = match (route.body, &route.method) {
        (Some("NewDeployment"), _) => json!({ "service": service, "tag": "1" }),
        (Some("NewApproval"), _) => json!({ "code": "7K3M-9QXT-2BWD" }),
        (Some("NewLook"), _) => json!({ "tag": "1" }),
        (Some("NewReload"), _) => json!({ "dataset": service }),
        (Some("NewUser"), _) => json!({ "name": service, "scopes": ["read"] }),
        (Some("UserChange"), _) => json!({ "disabled": true }),
        (Some("NewRollback"), _) => json!({ "service": service, "to": { "tag": "1" } }),
        (Some(other), _) => panic!("this test does not know a body of {other} for {path}"),
        (None, &actix_web::http::Method::GET) => return Call::get(&path),
        (None, method) => json!({ "call": format!("{method} {path}") }),
    };
    Call::new(Method::from_bytes(route.method.as_str().as_bytes()).unwrap(), &path, body.to_string().into_bytes())
}

/// Everything that is not a proof, as headers of a call with this body.
fn false_proofs(key: &Key, bearer: &Key, body: &[u8]) -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    let now_s = clock::now_ms() / 1000;
    let signed = |signature: String| {
        vec![("webhook-id", "msg-1".to_owned()), ("webhook-timestamp", now_s.to_string()), ("webhook-signature", signature)]
    };
    let good = key.proof("msg-1", now_s, body);
    let token = bearer.text();
    let authorization = |value: &str| vec![("authorization", value.to_owned())];
    let mut all = vec![
        ("no header", vec![]),
        ("empty", authorization("")),
        ("empty signature", signed(String::new())),
        ("Bearer", authorization("Bearer")),
        ("Bearer and a space", authorization("Bearer ")),
        ("a wrong token", authorization("Bearer tk-wrong")),
        ("half a token", authorization(&format!("Bearer {}", &token[..20]))),
        ("a token as Basic", authorization(&format!("Basic {}", STANDARD.encode(format!("x:{token}"))))),
        ("a token without scheme", authorization(&token)),
        ("a secret as token", authorization(&format!("Bearer {}", key.text()))),
        ("a read token that is none", authorization("Bearer tr_01ARZ3NDEKTSV4RRFFQ69G5FAV_99999999999999_AAAA")),
        ("sha256=", signed("sha256=".into())),
        ("sha256= of a forge", vec![("x-hub-signature-256", "sha256=".into())]),
        ("prefix only", signed("v1,".into())),
        ("prefix of another scheme", signed(good[2].1.replace("v1,", "v1a,"))),
        ("empty-key MAC", signed(sign(b"", "msg-1", now_s, body))),
        ("zero-key MAC", signed(sign(&[0; 32], "msg-1", now_s, body))),
        ("a MAC of another body", signed(key.proof("msg-1", now_s, b"another")[2].1.clone())),
        ("a MAC of another id", signed(key.proof("msg-2", now_s, body)[2].1.clone())),
        ("a MAC of another time", signed(key.proof("msg-1", now_s - 1, body)[2].1.clone())),
        ("too old", key.proof("msg-1", now_s - 301, body)),
        ("a time that is no number", vec![good[0].clone(), ("webhook-timestamp", format!("+{now_s}")), good[2].clone()]),
        ("a time out of range", vec![good[0].clone(), ("webhook-timestamp", "9".repeat(30)), good[2].clone()]),
        ("an id that is none", key.proof("a.b", now_s, body)),
        ("signature without time", vec![good[0].clone(), good[2].clone()]),
    ];
    all.push(("two schemes, both good", [good.clone(), authorization(&format!("Bearer {token}"))].concat()));
    all.push(("a good and a bad scheme", [good.clone(), authorization("Bearer wrong")].concat()));
    all.push(("a good one twice", [good.clone(), good].concat()));
    all
}

/// A1, A9
async fn without_proof_there_is_one_answer_and_no_record(database: Database) {
    let mut plan = with_datasets(Plan::new(database));
    plan.keys.push(Key::bearer("robot", &["deploy:*", "rollback:*", "reload:*", "read"]));
    let rig = plan.start().await;
    let gate = rig.gate("web");
    let id = rig.order_running("web", "1").await;
    let before = rig.rows().await;
    let mut bodies = std::collections::BTreeSet::new();
    let mut calls = 0;
    for (route, _) in protected() {
        // What there is and what there is not look the same.
        for (service, id) in [("web", id.as_str()), ("none", "01ARZ3NDEKTSV4RRFFQ69G5FAV")] {
            let call = call_of(route, service, id);
            for (what, headers) in false_proofs(rig.key(), &rig.plan.keys[1], call.body()) {
                let call = headers.into_iter().fold(call.clone(), |call, (name, value)| call.header(name, value));
                let answer = call.send(&rig).await;
                assert_refused(&answer, 401, "unauthorized");
                assert_eq!(answer.header("www-authenticate"), "Bearer", "{what}");
                bodies.insert(answer.text);
                calls += 1;
            }
        }
    }
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    assert_eq!(rig.rows().await, before);
    println!("{calls} calls without proof over {} routes", protected().count());
    drop(gate);
    rig.finish().await;
}

/// A caller learns nothing of why it was refused, and the operator learns all of it: which check, whose key, from where.
async fn the_operator_sees_why_calls_were_refused(database: Database) {
    let mut plan = Plan::new(database);
    plan.keys.push(Key::signing("operator", &["deploy:*", "rollback:*", "approve:*", "reload:*", "read"]));
    plan.keys.push(Key::signing("reader", &["read"]));
    let rig = plan.start().await;
    let key = |id: &str| rig.plan.keys.iter().find(|key| key.id == id).unwrap();
    let order = || Call::post("/api/v1/deployments", &json!({ "service": "web", "tag": "1" }));
    let stranger = Key::signing("stranger", &["read"]);
    for (call, status) in [
        (order(), 401),
        (order().by(key("reader")).off(-400), 401),
        (order().by(&stranger), 401),
        (order().by(key("reader")).signed_as("{}"), 401),
        (order().by(&Key::bearer("nobody", &["read"])), 401),
        (order().by(key("reader")), 403),
    ] {
        assert_eq!(call.send(&rig).await.status, status);
    }
    let refused = || Call::get("/api/v1/refused");
    assert_refused(&refused().by(key("reader")).send(&rig).await, 403, "forbidden");
    let shown = refused().by(key("operator")).send(&rig).await.json();
    let calls = shown["calls"].as_array().unwrap();
    let of = |check: &str| calls.iter().find(|call| call["check"] == check).unwrap_or_else(|| panic!("{check}: {shown:#}"));
    assert_eq!(of("clock")["key"], "reader", "{shown:#}");
    assert!(of("clock")["why"].as_str().unwrap().contains("s behind the clock"), "{shown:#}");
    assert_eq!((&of("scope")["key"], &of("scope")["count"]), (&json!("reader"), &json!(2)), "{shown:#}");
    assert_eq!((&of("signature")["key"], &of("signature")["count"]), (&Value::Null, &json!(2)), "{shown:#}");
    assert!(of("no_proof")["address"] == "127.0.0.1" && of("token")["count"] == 1, "{shown:#}");
    assert_eq!(shown["counts"], json!({ "clock": 1, "no_proof": 1, "scope": 2, "signature": 2, "token": 1 }), "{shown:#}");
    rig.finish().await;
}

async fn the_operator_sees_that_a_delivery_id_was_reused(database: Database) {
    let rig = Plan::new(database).start().await;
    let order = |tag: &str| Call::post("/api/v1/deployments", &json!({ "service": "web", "tag": tag }));
    let back = Call::post("/api/v1/rollbacks", &json!({ "service": "web", "to": { "tag": "1" } }));
    let resume = Call::post("/api/v1/services/web/resume", &json!({ "call": "POST /api/v1/services/web/resume" }));
    for (call, status) in [(order("1"), 202), (order("1"), 202), (order("2"), 409), (back, 409), (resume, 409)] {
        assert_eq!(call.by(rig.key()).id("one").send(&rig).await.status, status);
    }
    let shown = Call::get("/api/v1/refused").by(rig.key()).send(&rig).await.json();
    assert_eq!(shown["counts"], json!({ "id_reused": 3 }), "{shown:#}");
    let call = &shown["calls"][0];
    assert_eq!(
        (&call["check"], &call["key"], &call["address"], &call["count"]),
        (&json!("id_reused"), &json!("ops"), &json!("127.0.0.1"), &json!(3))
    );
    rig.finish().await;
}

/// A7: a route is open on purpose or has a scope.
#[test]
fn what_is_open_tells_nothing() {
    let open: Vec<&str> = ROUTES.iter().filter(|route| route.need == Need::Open).map(|route| route.path).collect();
    let hidden: Vec<&str> = ROUTES.iter().filter(|route| route.need == Need::ReloadSecret).map(|route| route.path).collect();
    assert_eq!(hidden, ["/api/_internal/reload-data"], "tests/reload has its requests and answers");
    let of_forges: Vec<&str> = ROUTES.iter().filter(|route| route.need == Need::ForgeSignature).map(|route| route.path).collect();
    assert_eq!(of_forges, ["/hooks/github", "/hooks/forgejo"], "tests/api/hooks.rs has their proofs");
    let forms: Vec<&str> = ROUTES.iter().filter(|route| route.need == Need::FormAddress).map(|route| route.path).collect();
    assert_eq!(forms, ["/approve/{id}", "/approve/{id}"], "tests/deploy/approval.rs has their proofs");
    // tests/api/login.rs and tests/api/sites.rs have the proofs of pages.
    let logins: Vec<&str> = ROUTES.iter().filter(|route| route.need == Need::Login).map(|route| route.path).collect();
    assert_eq!(logins, ["/login", "/login", "/login/{forge}", "/login/{forge}/callback"]);
    let files: Vec<&str> = ROUTES.iter().filter(|route| route.need == Need::File).map(|route| route.path).collect();
    assert_eq!(files, ["/assets/{file}"], "tests/api/pages.rs asks for each");
    let of_agents: Vec<&str> =
        ROUTES.iter().filter(|route| matches!(route.need, Need::EnrolmentCode | Need::AgentKey)).map(|route| route.path).collect();
    assert_eq!(of_agents, ["/api/v1/agents/enrol", "/ws/agent"], "tests/api/agents.rs has their proofs");
    assert_eq!(open, ["/healthz", "/healthz", "/readyz", "/readyz", "/api/v1/openapi.json"]);
}

/// Every operation of the contract that the server itself gives out, and the one that is not in it: nothing without a proof, and
/// nothing with a proof of another scope, whatever the proof is made of.
async fn no_route_answers_without_proof_and_scope(database: Database) {
    const OPEN: [&str; 3] = ["/healthz", "/readyz", "/api/v1/openapi.json"];
    let mut plan = with_datasets(Plan::new(database));
    plan.keys.push(Key::signing("elsewhere", &["reload:db"]));
    plan.keys.push(Key::bearer("far", &["reload:db"]));
    let rig = plan.start().await;
    let gate = rig.gate("web");
    let id = rig.order_running("web", "1").await;
    let before = rig.rows().await;
    let contract = Call::get("/api/v1/openapi.json").send(&rig).await.json();
    let mut walked = std::collections::BTreeSet::new();
    for (path, method) in contract["paths"].as_object().unwrap().iter().flat_map(|(path, all)| {
        all.as_object().unwrap().keys().filter(|key| ["get", "head", "post"].contains(&key.as_str())).map(move |method| (path, method))
    }) {
        let is_it = |route: &&Route| route.path == path && route.method.as_str().eq_ignore_ascii_case(method);
        let route = ROUTES.iter().find(is_it).unwrap_or_else(|| panic!("{method} {path} is not in the table"));
        walked.insert((route.method.to_string(), route.path));
        let call = call_of(route, "web", &id);
        let answer = call.clone().send(&rig).await;
        if OPEN.contains(&route.path) {
            assert_eq!(answer.status, 200, "{method} {path}");
            continue;
        }
        assert_refused(&answer, 401, "unauthorized");
        for key in &rig.plan.keys[1..] {
            let (status, code) = if route.need == Need::ForgeSignature { (401, "unauthorized") } else { (403, "forbidden") };
            assert_refused(&call.clone().by(key).send(&rig).await, status, code);
        }
    }
    let hidden = Call::post("/api/_internal/reload-data", &json!({})).send(&rig).await;
    assert_eq!((hidden.status, hidden.json()["error"]["code"].as_str()), (401, Some("unauthorized")), "{hidden:?}");
    walked.insert(("POST".to_owned(), "/api/_internal/reload-data"));
    // An address that nobody was sent shows nothing, whether there is such a deployment or not.
    for address in [format!("/approve/{id}.{}", "0".repeat(32)), format!("/approve/{id}"), "/approve/nothing".to_owned()] {
        let shown = Call::get(&address).by(&rig.plan.keys[0]).send(&rig).await;
        let entered = Call::post(&address, &json!({ "code": "7K3M-9QXT-2BWD" })).by(&rig.plan.keys[0]).send(&rig).await;
        assert!(shown.status == 404 && entered.status == 404 && !shown.text.contains(&id), "{shown:?} {entered:?}");
        assert_eq!(shown.text, entered.text);
    }
    walked.extend([("GET".to_owned(), "/approve/{id}"), ("POST".to_owned(), "/approve/{id}")]);
    // Pages are walked in tests/api/login.rs.
    let is_page = |route: &&Route| matches!(route.need, Need::Session(_) | Need::Login | Need::File);
    walked.extend(ROUTES.iter().filter(is_page).map(|route| (route.method.to_string(), route.path)));
    // No other key is the key of an agent, or a code that enrols one.
    let enrolled = Call::post("/api/v1/agents/enrol", &json!({})).by(&rig.plan.keys[0]).send(&rig).await;
    assert_refused(&enrolled, 401, "unauthorized");
    let dialled = Call::get("/ws/agent").by(&rig.plan.keys[0]).header("sec-websocket-protocol", "tagalong.v1").send(&rig).await;
    assert_refused(&dialled, 401, "unauthorized");
    walked.extend([("POST".to_owned(), "/api/v1/agents/enrol"), ("GET".to_owned(), "/ws/agent")]);
    assert_eq!(walked, ROUTES.iter().map(|route| (route.method.to_string(), route.path)).collect());
    assert_eq!(rig.rows().await, before);
    drop(gate);
    rig.finish().await;
}

/// A5: the window; what is signed at its edge is tried again when the second has changed meanwhile.
async fn a_signature_holds_for_five_minutes(database: Database) {
    let rig = Plan::new(database).start().await;
    for (off_s, status) in [(-300, 200), (300, 200), (-301, 401), (301, 401), (0, 200), (-86_400, 401), (i64::MAX / 2, 401)] {
        let answer = until("a whole second", async || {
            let second = clock::now_ms() / 1000;
            let answer = Call::get("/api/v1/deployments").by(rig.key()).off(off_s).send(&rig).await;
            (clock::now_ms() / 1000 == second).then_some(answer)
        });
        assert_eq!(answer.await.status, status, "{off_s} s");
    }
    rig.finish().await;
}

/// A3: secrets and MACs are compared in two modules only, and nowhere can two secrets be compared at all.
#[test]
fn secrets_are_compared_in_one_place() {
    let mut folders = ["src", "crates"].map(|folder| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).to_vec();
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.display().to_string();
            let text = std::fs::read_to_string(&path).unwrap();
            let is_the_place = name.ends_with("http/auth/scheme.rs") || name.ends_with("http/auth/token.rs");
            let code = text.split("#[cfg(test)]").next().unwrap();
            seen += 1;
            for line in code.lines().filter(|line| !is_the_place && !line.trim_start().starts_with("//")) {
                let word = compared(line).into_iter().find(|word| SECRETS.contains(&word.as_str()));
                assert!(word.is_none(), "{name} compares a {}: {line}", word.unwrap());
            }
        }
    }
    assert!(seen > 80, "{seen} files");
    let secret = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/crates/text/src/secret.rs")).unwrap();
    assert!(!secret.contains("PartialEq"), "a secret that has == will be compared with it");
}

const SECRETS: [&str; 9] = ["mac", "secret", "token", "signature", "reveal", "bearer", "password", "hmac", "key_bytes"];

/// The words in what stands left and right of each comparison of a line.
fn compared(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for sign in ["==", "!=", ".eq(", ".ne(", ".cmp("] {
        for (at, _) in line.match_indices(sign) {
            let is_edge = |c: char| c.is_whitespace() || "|&,;{}".contains(c);
            let left = line[..at].trim_end().rsplit(is_edge).next().unwrap_or_default();
            let right = line[at + sign.len()..].trim_start().split(is_edge).next().unwrap_or_default();
            // Whether there is one tells nothing of it.
            let sides = [left, right].map(str::to_lowercase).into_iter().filter(|side| !side.contains(".is_some()"));
            words.extend(sides.collect::<Vec<_>>().iter().flat_map(|side| side.split(|c: char| !c.is_alphanumeric())).map(str::to_owned));
        }
    }
    words
}

/// A3: how far a guess is right must not show in the time that it takes (Welch's t).
#[test]
fn time_tells_nothing_of_a_guess() {
    const EACH: usize = 20_000;
    let dir = folder();
    let mut plan = Plan::new(Database::Sqlite);
    plan.keys.push(Key::bearer("robot", &["read"]));
    let keys = Config::load(&plan.write(dir.path(), "server", None)).unwrap().keys;
    let (now_ms, body) = (clock::now_ms(), b"{\"service\":\"web\",\"tag\":\"1\"}");
    let proof = plan.keys[0].proof("msg-1", now_ms / 1000, body);
    let mac = STANDARD.decode(&proof[2].1[3..]).unwrap();
    let wrong_at = |bytes: &[u8], at: usize| {
        let mut wrong = bytes.to_vec();
        wrong[at] ^= 1;
        wrong
    };
    let signed = |at: usize| {
        let request = TestRequest::default().append_header(("webhook-id", "msg-1")).append_header(("webhook-timestamp", now_ms / 1000));
        request.append_header(("webhook-signature", format!("v1,{}", STANDARD.encode(wrong_at(&mac, at))))).to_http_request()
    };
    let token_text = plan.keys[1].text();
    let bearer = |at: usize| {
        let wrong = String::from_utf8(wrong_at(token_text.as_bytes(), at)).unwrap();
        TestRequest::default().append_header(("authorization", format!("Bearer {wrong}"))).to_http_request()
    };
    let key_of = |request: &HttpRequest| Shown::of(request).key(&keys, body, now_ms).is_some();
    let id = clock::new_id();
    let read = token::make(b"key", &id);
    let (from, to) = (read.rfind('_').unwrap() + 1, read.len() - 1);
    let read_token = |at: usize| String::from_utf8(wrong_at(read.as_bytes(), at)).unwrap();
    let check = |given: &String| token::check(b"key", given).is_some();
    let found = [
        ("signature", welch(EACH, [0, 31], signed, key_of)),
        ("bearer token", welch(EACH, [3, token_text.len() - 3], bearer, key_of)),
        ("read token", welch(EACH, [from, to - 1], read_token, check)),
    ];
    // The measure itself: a comparison that stops at the first difference is seen.
    let stops_early = |given: &Vec<u8>| given.iter().zip(&mac).all(|(a, b)| a == b);
    let seen = welch(EACH, [0, 31], |at| wrong_at(&mac, at), stops_early);
    assert!(seen.abs() > 4.5, "t = {seen:.2}");
    for (what, t) in found {
        println!("{what}: t = {t:.2}");
        assert!(t.abs() < 4.5, "{what}: t = {t:.2}");
    }
}

/// Welch's t between the times that `holds` takes on what `make` makes of the one and of the other place, in random order. Each is
/// made again, so that where it lies in memory tells nothing either; the slowest tenth, which is the machine's doing, is left out.
fn welch<T>(each: usize, places: [usize; 2], make: impl Fn(usize) -> T, holds: impl Fn(&T) -> bool) -> f64 {
    let mut times: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    while times.iter().any(|taken| taken.len() < each) {
        for coin in clock::random_bytes::<64>() {
            let which = usize::from(coin & 1);
            let given = make(places[which]);
            let began = std::time::Instant::now();
            let held = holds(&given);
            times[which].push(began.elapsed().as_nanos() as f64);
            assert!(!held);
        }
    }
    let mut all: Vec<f64> = times.concat();
    all.sort_by(f64::total_cmp);
    let limit = all[all.len() * 9 / 10];
    let [a, b] = times.map(|taken| {
        let kept: Vec<f64> = taken.into_iter().filter(|ns| *ns < limit).collect();
        let mean = kept.iter().sum::<f64>() / kept.len() as f64;
        let variance = kept.iter().map(|ns| (ns - mean).powi(2)).sum::<f64>() / (kept.len() - 1) as f64;
        (mean, variance / kept.len() as f64)
    });
    (a.0 - b.0) / (a.1 + b.1).sqrt()
}

/// A6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_loses_no_call() {
    const CALLS: usize = 1000;
    let mut plan = Plan::new(Database::Sqlite);
    let at = |off_ms: i64| clock::utc(clock::now_ms() + off_ms);
    let hour = 3_600_000;
    plan.keys = vec![
        Key::signing("old", &["read"]).with(&format!("not_after = \"{}\"", at(hour))),
        Key::signing("new", &["read"]).with(&format!("not_before = \"{}\"", at(-hour))),
        Key::signing("gone", &["read"]).with(&format!("not_after = \"{}\"", at(-hour))),
        Key::signing("later", &["read"]).with(&format!("not_before = \"{}\"", at(hour))),
    ];
    let rig = plan.start().await;
    let [old, new, gone, later] = [0, 1, 2, 3].map(|at| rig.plan.keys[at].clone());
    let status = async |key: &Key| Call::get("/api/v1/deployments").by(key).send(&rig).await.status;
    assert_eq!((status(&gone).await, status(&later).await), (401, 401));
    let answered = AtomicUsize::new(0);
    let calls = join_all((0..8).map(|caller| {
        let (status, answered, key) = (&status, &answered, if caller % 2 == 0 { &old } else { &new });
        async move {
            for _ in 0..CALLS / 8 {
                assert_eq!(status(key).await, 200);
                answered.fetch_add(1, Ordering::SeqCst);
            }
        }
    }));
    let reloads = async {
        for turn in 0..20 {
            until("calls to be under way", async || (answered.load(Ordering::SeqCst) >= turn * CALLS / 20).then_some(())).await;
            let mut next = rig.plan.clone();
            next.keys.rotate_left(turn % 4);
            next.write(rig.dir(), "server", None);
            rig.app().read_again(&rig.config_file);
        }
    };
    futures_util::future::join(calls, reloads).await;
    assert_eq!(answered.load(Ordering::SeqCst), CALLS);
    // A file that fails changes nothing; one without the old key ends it.
    std::fs::write(&rig.config_file, "version = 2").unwrap();
    rig.app().read_again(&rig.config_file);
    assert_eq!(status(&old).await, 200);
    let mut last = rig.plan.clone();
    last.keys.remove(0);
    last.write(rig.dir(), "server", None);
    rig.app().read_again(&rig.config_file);
    assert_eq!((status(&old).await, status(&new).await), (401, 200));
    rig.finish().await;
}

/// What a call is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    Service(&'static str),
    Dataset(&'static str),
    Services,
    Datasets,
}

impl About {
    fn of(route: &Route, name: &'static str) -> Self {
        // An agent is no service, whatever it is called.
        let of_one = (route.body.is_some() || route.path.contains('{')) && !route.path.contains("/agents");
        match (route.path.contains("/datasets") || route.path.contains("/reloads"), of_one) {
            (true, true) => Self::Dataset(name),
            (true, false) => Self::Datasets,
            (false, true) => Self::Service(name),
            (false, false) => Self::Services,
        }
    }
}

/// Whether one of `scopes` lets `verb` be done to `about`, written down once more.
fn may(scopes: &[&str], verb: Verb, about: About) -> bool {
    scopes.iter().any(|scope| {
        let (mine, target) = scope.split_once(':').unwrap_or((scope, "*"));
        let verb_ok = mine == verb.as_str() || (verb == Verb::Read && (mine == "deploy" || mine == "rollback" || mine == "approve"));
        // A dataset is no service, whatever it is called.
        let is_of_datasets = matches!(about, About::Dataset(_) | About::Datasets);
        let kind_ok = mine == "read" || (mine == "reload") == is_of_datasets;
        let name_ok = match about {
            About::Service(name) | About::Dataset(name) => target == "*" || target == name,
            About::Services | About::Datasets => target == "*",
        };
        verb_ok && kind_ok && name_ok
    })
}

/// What only whoever may do everything may do: users, agents, what was refused, and the file of the configuration.
fn is_the_operators(path: &str) -> bool {
    ["/api/v1/users", "/api/v1/agents/", "/api/v1/refused", "/api/v1/configuration"].iter().any(|begin| path.starts_with(begin))
}

/// A7, A9
async fn every_key_may_do_what_its_scopes_say_on_every_route(database: Database) {
    let mut plan = with_datasets(Plan::new(database));
    let sets: [(&'static str, &[&'static str]); 12] = [
        ("k-deploy-web", &["deploy:web"]),
        ("k-deploy-all", &["deploy:*"]),
        ("k-rollback-db", &["rollback:db"]),
        ("k-rollback-all", &["rollback:*"]),
        ("k-approve-web", &["approve:web"]),
        ("k-read-web", &["read:web"]),
        ("k-read-all", &["read"]),
        ("k-reload", &["reload:*"]),
        ("k-reload-web", &["reload:web"]),
        ("k-mixed", &["deploy:web", "rollback:db"]),
        ("k-all", &["deploy:*", "rollback:*", "read"]),
        ("k-everything", &["deploy:*", "rollback:*", "approve:*", "reload:*", "read"]),
    ];
    plan.keys.extend(sets.iter().enumerate().map(|(at, (id, scopes))| match at % 2 {
        0 => Key::signing(id, scopes),
        _ => Key::bearer(id, scopes),
    }));
    let rig = plan.start().await;
    let gates = [rig.gate("web"), rig.gate("db")];
    let ids = [("web", rig.order_running("web", "1").await), ("db", rig.order_running("db", "1").await)];
    let mut counts = (0, 0);
    for (key, (route, verb)) in rig.plan.keys.iter().flat_map(|key| protected().map(move |route| (key, route))) {
        for (service, id) in &ids {
            let allowed = match route.path {
                // They show what may be read.
                "/api/v1/services" => ["web", "db"].iter().any(|name| may(&key.scopes, verb, About::Service(name))),
                "/api/v1/datasets" => ["web", "db"].iter().any(|name| may(&key.scopes, verb, About::Dataset(name))),
                path if is_the_operators(path) => ["ops", "k-everything"].contains(&key.id),
                _ => may(&key.scopes, verb, About::of(route, service)),
            };
            let call = call_of(route, service, id);
            let call = asking(route, call);
            let answer = call.by(key).send(&rig).await;
            assert_scope(&answer, allowed, key, &format!("{} {} {} of {service}", key.id, route.method, route.path));
            if allowed { counts.0 += 1 } else { counts.1 += 1 }
        }
    }
    for (key, service) in rig.plan.keys.iter().flat_map(|key| [(key, "web"), (key, "db")]) {
        let answer = Call::get(&format!("/api/v1/deployments?service={service}")).by(key).send(&rig).await;
        assert_scope(&answer, may(&key.scopes, Verb::Read, About::Service(service)), key, service);
        let listed = Call::get("/api/v1/services").by(key).send(&rig).await;
        let shown = listed.status == 200 && listed.text.contains(&format!("\"name\":\"{service}\""));
        assert_eq!(shown, may(&key.scopes, Verb::Read, About::Service(service)), "{} lists {service}", key.id);
    }
    println!("{} calls allowed, {} refused", counts.0, counts.1);
    drop(gates);
    rig.finish().await;
}

/// The path of the API that does what a page does; none: only a page does it.
fn twin(path: &str) -> Option<String> {
    Some(match path {
        "/audit" | "/audit/verify" | "/keys" => return None,
        "/services/{name}/deploy" => "/api/v1/deployments".to_owned(),
        "/services/{name}/rollback" => "/api/v1/rollbacks".to_owned(),
        "/data/{name}/reload" => "/api/v1/reloads".to_owned(),
        "/agents/new" => "/api/v1/agents/{name}/code".to_owned(),
        "/users/new" => "/api/v1/users".to_owned(),
        "/users/{name}/logout" | "/users/{name}/disable" | "/users/{name}/enable" | "/users/{name}/sessions/{id}/end" => {
            "/api/v1/users/{name}".to_owned()
        }
        same => format!("/api/v1{same}"),
    })
}

/// Whether a user with `scopes` may see or do what stands at the page `path`, by what the API needs for the same.
fn may_on_pages(scopes: &[&str], path: &str) -> bool {
    let Some(twin) = twin(path) else { return scopes.contains(&"read") };
    if is_the_operators(&twin) {
        return ["deploy:*", "rollback:*", "approve:*", "reload:*", "read"].iter().all(|scope| scopes.contains(scope));
    }
    let acts = ROUTES.iter().any(|route| route.path == path && route.method == actix_web::http::Method::POST);
    let is_it = |(route, _): &(&'static Route, Verb)| route.path == twin && (route.method == actix_web::http::Method::POST) == acts;
    let (route, verb) = protected().find(is_it).unwrap_or_else(|| panic!("{path} does what no route of the API does; say so in twin()"));
    may(scopes, verb, About::of(route, "web"))
}

/// No page shows or does for a user what the API would refuse to a key with the same scopes, nor the other way about.
async fn a_page_needs_what_its_twin_of_the_api_needs(database: Database) {
    const PASSWORD: &str = "correct horse battery staple";
    let rig = Plan { socket: true, ..with_datasets(Plan::new(database)) }.start().await;
    let gate = rig.gate("web");
    let id = rig.order_running("web", "1").await;
    let sets: [&[&str]; 8] = [
        &["read"],
        &["read:web"],
        &["deploy:web"],
        &["rollback:*", "deploy:*", "approve:*", "read"],
        &["rollback:*", "deploy:*", "reload:*", "read"],
        &["approve:web"],
        &["reload:web"],
        &["read:db"],
    ];
    let mut counts = (0, 0);
    for (at, scopes) in sets.into_iter().enumerate() {
        let name = format!("user-{at}");
        add_user(&rig, &name, scopes, Some(PASSWORD)).await;
        let browser = Browser::new(&rig);
        assert_eq!(browser.log_in(&name, PASSWORD).await.status, 303);
        let token = browser.form_token().await;
        for route in ROUTES.iter().filter(|route| matches!(route.need, Need::Session(Some(_)))) {
            let path = route.path.replace("{id}", &id).replace("{name}", "web");
            let path = if path.ends_with("/log/search") { format!("{path}?text=x") } else { path };
            let (what, allowed) = (format!("{scopes:?}: {} {path}", route.method), may_on_pages(scopes, route.path));
            match (route.method == actix_web::http::Method::GET, allowed) {
                (true, true) => assert_ne!(browser.get(&path).await.status, 403, "{what}"),
                (true, false) => assert_eq!(browser.get(&path).await.status, 403, "{what}"),
                (false, true) => continue,
                (false, false) => assert_eq!(browser.post(&path, &[("form_token", &token)]).await.status, 403, "{what}"),
            }
            if allowed { counts.0 += 1 } else { counts.1 += 1 }
        }
    }
    println!("{} pages shown, {} refused", counts.0, counts.1);
    assert!(counts.0 > 50 && counts.1 > 150, "{counts:?}");
    drop(gate);
    rig.finish().await;
}

#[track_caller]
fn assert_scope(answer: &Answer, allowed: bool, key: &Key, what: &str) {
    if allowed {
        // 503: an adoption takes no waiting order's place.
        // 502: the remote of these datasets is not there.
        // 404: nobody has enrolled such an agent. 426: it is no WebSocket.
        let is_nobody = answer.status == 404 && ["/revoke", "/readmit"].iter().any(|end| what.contains(end));
        let is_taken = is_nobody
            || matches!(answer.status, 200 | 202 | 409 | 422 | 426 | 502)
            || (answer.status == 503 && answer.text.contains("\"busy\""));
        assert!(is_taken, "{what}: {answer:?}");
        return;
    }
    assert_refused(answer, 403, "forbidden");
    for scope in &key.scopes {
        assert!(answer.text.contains(scope), "{what}: {}", answer.text);
    }
}

/// What is not there is 404 only for those who have shown who they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_404_with_proof() {
    let rig = Plan::new(Database::Sqlite).start().await;
    for path in [
        "/api/v1/deployments/01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "/api/v1/deployments/nonsense",
        "/api/v1/deployments/..%2f..%2fetc%2fpasswd",
        "/api/v1/deployments/%00/log",
        "/api/v1/services/none",
        "/api/v1/services/..%2fweb",
        "/api/v1/none",
    ] {
        let answer = Call::get(path).by(rig.key()).send(&rig).await;
        assert_refused(&answer, 404, "not_found");
    }
    let answer = Call::get("/api/v1/rollbacks").by(rig.key()).send(&rig).await;
    assert_refused(&answer, 404, "not_found");
    rig.finish().await;
}

async fn a_read_token_reads_its_own_deployment(database: Database) {
    let rig = with_datasets(Plan::new(database)).start().await;
    let gates = [rig.gate("web"), rig.gate("db")];
    let mine = Call::post("/api/v1/deployments", &json!({ "service": "web", "tag": "1" })).by(rig.key()).send(&rig).await;
    let read = mine.header(tagalong::api::READ_TOKEN_HEADER).to_owned();
    let id = mine.json()["id"].as_str().unwrap().to_owned();
    let other = rig.order("db", "1").await;
    for (route, _) in protected() {
        for (about, id) in [("mine", &id), ("another's", &other)] {
            let call = call_of(route, "web", id).header("authorization", format!("Bearer {read}"));
            let call = asking(route, call);
            let answer = call.send(&rig).await;
            let is_get = route.method == actix_web::http::Method::GET;
            let expected = match route.path.contains("{id}") && about == "mine" {
                _ if !is_get => 401,
                // It is no WebSocket.
                true if route.answer.0 == 101 => 426,
                true => 200,
                false => 403,
            };
            assert_eq!(answer.status, expected, "{} {} of {about}: {}", route.method, route.path, answer.text);
        }
    }
    drop(gates);
    rig.finish().await;
}

/// A signature covers the body alone, so an action without one names itself in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_action_is_good_for_one_call_only() {
    let rig = Plan::new(Database::Sqlite).start().await;
    let gate = rig.gate("web");
    let id = rig.order_running("web", "1").await;
    let path = format!("/api/v1/deployments/{id}/cancel");
    for body in [json!(null), json!({}), json!({ "call": format!("POST /api/v1/deployments/{id}/retry") }), json!({ "call": path })] {
        let answer = Call::post(&path, &body).by(rig.key()).send(&rig).await;
        assert_refused(&answer, 400, "bad_request");
    }
    // What was signed for a cancel is no deployment order either.
    let answer = Call::post("/api/v1/deployments", &json!({ "call": format!("POST {path}") })).by(rig.key()).send(&rig).await;
    assert_refused(&answer, 400, "bad_request");
    assert_eq!(rig.show(&id).await["state"], "running");
    assert_eq!(rig.act(rig.key(), &path).await.status, 200);
    drop(gate);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_acts_for_its_refs_only() {
    let mut plan = Plan::new(Database::Sqlite);
    plan.keys.push(Key::signing("main", &["deploy:web", "rollback:web"]).with("refs = [\"refs/heads/main\", \"refs/tags/*\"]"));
    let rig = plan.start().await;
    let key = &rig.plan.keys[1];
    let order = |git_ref: Option<&str>| {
        let mut body = json!({ "service": "web", "tag": "1" });
        if let Some(git_ref) = git_ref {
            body["ref"] = git_ref.into();
        }
        Call::post("/api/v1/deployments", &body).by(key)
    };
    for (git_ref, status) in [
        (None, 403),
        (Some("refs/heads/main"), 202),
        (Some("refs/heads/main2"), 403),
        (Some("refs/heads/feature"), 403),
        (Some("main"), 403),
        (Some("refs/tags/v1"), 202),
        (Some("refs/tags/*"), 400),
        (Some(""), 403),
    ] {
        assert_eq!(order(git_ref).send(&rig).await.status, status, "{git_ref:?}");
    }
    let rollback = Call::post("/api/v1/rollbacks", &json!({ "service": "web", "to": { "tag": "1" } })).by(key).send(&rig).await;
    assert_refused(&rollback, 403, "forbidden");
    assert_refused(&rig.act(key, "/api/v1/services/web/adopt").await, 403, "forbidden");
    rig.finish().await;
}

/// A retry is an order: it needs the scope and the ref that the order itself needed.
async fn a_retry_needs_what_the_order_needed(database: Database) {
    let mut plan = Plan::new(database);
    plan.keys.push(Key::signing("deployer", &["deploy:*"]));
    plan.keys.push(Key::signing("main", &["deploy:*"]).with("refs = [\"refs/heads/main\"]"));
    plan.keys.push(Key::signing("operator", &["rollback:*"]));
    let rig = plan.start().await;
    let keys = &rig.plan.keys;
    let ordered = async |path: &str, body: Value| {
        let answer = Call::post(path, &body).by(rig.key()).send(&rig).await;
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        rig.ended(&id).await;
        id
    };
    let deploy = ordered("/api/v1/deployments", json!({ "service": "web", "tag": "1", "ref": "refs/heads/other" })).await;
    let main = ordered("/api/v1/deployments", json!({ "service": "web", "tag": "1", "ref": "refs/heads/main" })).await;
    let rollback = ordered("/api/v1/rollbacks", json!({ "service": "db", "to": { "tag": "1" } })).await;
    for (id, key, status) in [
        (&deploy, &keys[1], 202),
        (&deploy, &keys[2], 403),
        (&main, &keys[2], 202),
        (&deploy, &keys[3], 403),
        (&rollback, &keys[1], 403),
        (&rollback, &keys[2], 403),
        (&rollback, &keys[3], 202),
    ] {
        let answer = rig.act(key, &format!("/api/v1/deployments/{id}/retry")).await;
        assert_eq!(answer.status, status, "{} retries {id}: {}", key.id, answer.text);
    }
    rig.finish().await;
}

/// Anybody who may not order it may not call it off: not another ref's order, not an operator's rollback, and no forced one.
async fn a_cancel_needs_what_the_order_needed(database: Database) {
    let mut plan = Plan::new(database);
    plan.keys.push(Key::signing("deployer", &["deploy:*"]));
    plan.keys.push(Key::signing("main", &["deploy:*", "rollback:*"]).with("refs = [\"refs/heads/main\"]"));
    plan.keys.push(Key::signing("operator", &["rollback:*"]));
    let rig = plan.start().await;
    let keys = &rig.plan.keys;
    let gate = rig.gate("web");
    for (path, body, may) in [
        ("/api/v1/deployments", json!({ "service": "web", "tag": "1", "ref": "refs/heads/other" }), [true, false, false]),
        ("/api/v1/deployments", json!({ "service": "web", "tag": "1", "ref": "refs/heads/main" }), [true, true, false]),
        ("/api/v1/deployments", json!({ "service": "web", "tag": "1" }), [true, false, false]),
        ("/api/v1/deployments", json!({ "service": "web", "tag": "1", "force": true }), [false, false, false]),
        ("/api/v1/rollbacks", json!({ "service": "web", "to": { "tag": "1" } }), [false, false, true]),
    ] {
        for (key, may) in keys[1..].iter().zip(may) {
            let ordered = Call::post(path, &body).by(rig.key()).send(&rig).await;
            assert_eq!(ordered.status, 202, "{}", ordered.text);
            let id = ordered.json()["id"].as_str().unwrap().to_owned();
            let cancel = format!("/api/v1/deployments/{id}/cancel");
            let answer = rig.act(key, &cancel).await;
            if may {
                assert_eq!(answer.status, 200, "{} cancels {body}: {}", key.id, answer.text);
            } else {
                assert_refused(&answer, 403, "forbidden");
                assert_ne!(rig.show(&id).await["outcome"], "cancelled");
                assert_eq!(rig.act(rig.key(), &cancel).await.status, 200);
            }
            rig.ended(&id).await;
            assert_eq!(rig.act(rig.key(), "/api/v1/services/web/resume").await.status, 200);
        }
    }
    // A hold is a rollback's: who is bound to refs may not end it.
    assert_refused(&rig.act(&keys[2], "/api/v1/services/web/resume").await, 403, "forbidden");
    drop(gate);
    rig.finish().await;
}

/// What reads is signed as the call that it is: overheard, it reads that again, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signature_that_reads_is_good_for_its_path_and_query_only() {
    let rig = Plan::new(Database::Sqlite).start().await;
    let before = rig.rows().await;
    let get = |path: &str| Call::get(path).by(rig.key());
    let signed = |path: &str| format!("{{\"call\":\"GET {path}\"}}");
    for path in ["/api/v1/deployments", "/api/v1/deployments?service=web&limit=1", "/api/v1/services/web"] {
        assert_eq!(get(path).send(&rig).await.status, 200, "{path}");
        assert_eq!(get(path).signed_as(&signed(path)).send(&rig).await.status, 200, "{path}");
        for other in [
            "/api/v1/deployments?service=db",
            "/api/v1/deployments?service=web&limit=2",
            "/api/v1/services",
            "/metrics",
            "/api/v1/services/db",
        ] {
            assert_refused(&get(other).signed_as(&signed(path)).send(&rig).await, 401, "unauthorized");
        }
        for wrong in ["", "{}", &format!("{{\"call\":\"POST {path}\"}}"), &format!("{{\"call\":\"HEAD {path}\"}}")] {
            assert_refused(&get(path).signed_as(wrong).send(&rig).await, 401, "unauthorized");
        }
    }
    // It carries no body, and orders nothing.
    let with_body = Call::new(Method::GET, "/api/v1/services", b"{}".to_vec()).by(rig.key()).send(&rig).await;
    assert_refused(&with_body, 400, "bad_request");
    let read = signed("/api/v1/services/web/adopt");
    let act = Call::new(Method::POST, "/api/v1/services/web/adopt", read.clone().into_bytes()).by(rig.key()).signed_as(&read);
    assert_refused(&act.send(&rig).await, 400, "bad_request");
    assert_eq!(rig.rows().await, before);
    rig.finish().await;
}

/// Anybody who has a read token learns of nothing but its deployment: what is there and what is not answer alike.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_token_tells_nothing_of_what_exists() {
    let rig = with_datasets(Plan::new(Database::Sqlite)).start().await;
    let mine = Call::post("/api/v1/deployments", &json!({ "service": "web", "tag": "1" })).by(rig.key()).send(&rig).await;
    let read = mine.header(tagalong::api::READ_TOKEN_HEADER).to_owned();
    let id = mine.json()["id"].as_str().unwrap().to_owned();
    let other = rig.order("web", "2").await;
    let asked = async |path: &str| {
        let answer = Call::get(path).header("authorization", format!("Bearer {read}")).send(&rig).await;
        (answer.status, answer.text)
    };
    let refused = asked(&format!("/api/v1/deployments/{other}")).await;
    assert_eq!(refused.0, 403);
    let unknown = clock::new_id();
    let mut paths = vec!["/api/v1/deployments".to_owned(), "/api/v1/deployments?service=nothing".into(), "/metrics".into()];
    for id in [other.as_str(), unknown.as_str(), "nothing", &format!("{id}x"), &format!("{id}%00"), &id.to_lowercase()] {
        paths.extend([format!("/api/v1/deployments/{id}"), format!("/api/v1/deployments/{id}/log?follow=false")]);
    }
    for name in ["web", "db", "nothing", "No%20Name"] {
        paths.extend([format!("/api/v1/services/{name}"), format!("/api/v1/datasets/{name}")]);
    }
    for path in &paths {
        assert_eq!(asked(path).await, refused, "{path}");
    }
    assert_eq!(asked(&format!("/api/v1/deployments/{id}")).await.0, 200);
    rig.ended(&id).await;
    rig.ended(&other).await;
    rig.finish().await;
}

/// A bearer token may not travel unencrypted; a signature may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bearer_token_is_refused_in_the_clear() {
    let mut plan = Plan::new(Database::Sqlite);
    plan.server += "\nlisten = [\"0.0.0.0:0\"]\ntrusted_proxies = [\"127.0.0.1\"]";
    plan.keys.push(Key::bearer("robot", &["read"]));
    let rig = plan.start().await;
    let (signing, robot) = (rig.key(), &rig.plan.keys[1]);
    let call = |key: &Key| Call::get("/api/v1/deployments").by(key);
    let port = rig.address().port();
    let send = async |host: &str, call: Call| Answer::of(call.try_open(&rig.http, &format!("http://{host}:{port}")).await.unwrap()).await;
    let proxied = |key: &Key, proto: &str| call(key).header("x-forwarded-for", "192.0.2.7").header("x-forwarded-proto", proto);
    assert_eq!(send("127.0.0.1", proxied(robot, "https")).await.status, 200);
    assert_refused(&send("127.0.0.1", proxied(robot, "http")).await, 403, "forbidden");
    assert_refused(&send("127.0.0.1", proxied(robot, "https, http")).await, 403, "forbidden");
    assert_eq!(send("127.0.0.1", proxied(signing, "http")).await.status, 200);
    // A read token is one as well.
    let order = Call::post("/api/v1/deployments", &json!({ "service": "web", "tag": "1" })).by(signing);
    let ordered = order.header("x-forwarded-for", "192.0.2.7").header("x-forwarded-proto", "https").send(&rig).await;
    let id = ordered.json()["id"].as_str().unwrap().to_owned();
    let read = |proto: &str| {
        let call =
            Call::get(&format!("/api/v1/deployments/{id}")).header("x-forwarded-for", "192.0.2.7").header("x-forwarded-proto", proto);
        call.header("authorization", format!("Bearer {}", ordered.header(tagalong::api::READ_TOKEN_HEADER)))
    };
    assert_eq!(send("127.0.0.1", read("https")).await.status, 200);
    assert_refused(&send("127.0.0.1", read("http")).await, 403, "forbidden");
    // From an address that is no loopback, whatever it says of itself.
    let Some(own) = own_address() else { return println!("this machine has no address but loopback") };
    assert_refused(&send(&own, call(robot)).await, 403, "forbidden");
    assert_refused(&send(&own, read("https")).await, 403, "forbidden");
    assert_refused(&send(&own, proxied(robot, "https")).await, 403, "forbidden");
    assert_eq!(send(&own, call(signing)).await.status, 200);
    rig.finish().await;
}

/// A read token is given where nobody can read it on its way, and not to who repeats a signed call: anybody who overheard it could.
async fn a_read_token_is_its_callers_alone(database: Database) {
    let mut plan = Plan::new(database);
    plan.server += "\ntrusted_proxies = [\"127.0.0.1\"]";
    plan.keys.push(Key::bearer("robot", &["deploy:*", "rollback:*"]));
    let rig = plan.start().await;
    let gate = rig.gate("web");
    let (signing, robot) = (rig.key(), &rig.plan.keys[1]);
    let asked = async |call: Call, proto: &str| {
        let answer = call.header("x-forwarded-for", "192.0.2.7").header("x-forwarded-proto", proto).send(&rig).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        (answer.json()["id"].as_str().unwrap().to_owned(), !answer.header(tagalong::api::READ_TOKEN_HEADER).is_empty())
    };
    let order = |id: &str, key: &Key| {
        let call = Call::post("/api/v1/deployments", &json!({ "service": "web", "tag": "1" })).by(key).id(id);
        call.header("idempotency-key", id)
    };
    for (id, key, protos) in [
        // Overheard, and sent again over https.
        ("clear", signing, [("http", false), ("https", false), ("http", false)]),
        ("private", signing, [("https", true), ("http", false), ("https", false)]),
        // A bearer never came unencrypted.
        ("bearer", robot, [("https", true), ("https", true), ("https", true)]),
    ] {
        let mut first = None;
        for (turn, (proto, given)) in protos.into_iter().enumerate() {
            let (deployment, is_given) = asked(order(id, key), proto).await;
            assert_eq!(is_given, given, "{id}, call {turn} over {proto}");
            assert_eq!(*first.get_or_insert(deployment.clone()), deployment);
        }
    }
    // Every other answer that carries one is made at the same place.
    let rollback = |id: &str| Call::post("/api/v1/rollbacks", &json!({ "service": "web", "to": { "tag": "1" } })).by(signing).id(id);
    assert!(!asked(rollback("back-1"), "http").await.1 && asked(rollback("back-2"), "https").await.1);
    drop(gate);
    rig.finish().await;
}

/// TLS of its own: nothing is answered unencrypted there, and a bearer token may come from anywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_a_certificate_speaks_tls_alone() {
    let certified = rcgen::generate_simple_self_signed(["tagalong.test".to_owned()]).unwrap();
    let mut plan = Plan::new(Database::Sqlite);
    plan.server += "\nlisten = [\"0.0.0.0:0\"]\ntls_certificate_file = \"server.pem\"\ntls_key_file = \"server.key\"";
    plan.files = vec![("server.pem", certified.cert.pem()), ("server.key", certified.signing_key.serialize_pem())];
    plan.keys.push(Key::bearer("robot", &["read"]));
    let rig = plan.start().await;
    let port = rig.address().port();
    let ip = own_address().unwrap_or_else(|| "127.0.0.1".to_owned());
    let root = reqwest::Certificate::from_pem(certified.cert.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([root]).resolve("tagalong.test", format!("{ip}:{port}").parse().unwrap());
    let client = client.build().unwrap();
    for key in [rig.key(), &rig.plan.keys[1]] {
        let call = Call::get("/api/v1/deployments").by(key);
        let answer = call.clone().try_open(&client, &format!("https://tagalong.test:{port}")).await.unwrap();
        assert_eq!(answer.status(), 200, "{}", key.id);
        assert!(call.try_open(&client, &format!("http://tagalong.test:{port}")).await.is_err(), "{}", key.id);
    }
    let strangers = reqwest::Client::builder().resolve("tagalong.test", format!("{ip}:{port}").parse().unwrap()).build().unwrap();
    assert!(strangers.get(format!("https://tagalong.test:{port}/healthz")).send().await.is_err());
    rig.finish().await;
}

/// The address that this machine would call others from.
fn own_address() -> Option<String> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent; the system only chooses a route.
    socket.connect("198.51.100.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback()).then(|| ip.to_string())
}

/// Over the unix socket the file's mode is the proof, and the record names the user.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_socket_is_its_owners() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut plan = Plan::new(Database::Sqlite);
    plan.socket = true;
    let rig = plan.start().await;
    let socket = rig.dir().join("server.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let client = reqwest::Client::builder().unix_socket(socket.clone()).build().unwrap();
    let send = async |call: Call| Answer::of(call.try_open(&client, "http://tagalong").await.unwrap()).await;
    let order = Call::post("/api/v1/deployments", &json!({ "service": "web", "tag": "1" })).header("idempotency-key", "once");
    let answer = send(order.clone()).await;
    assert_eq!(answer.status, 202);
    assert_eq!(send(order).await.text, answer.text);
    // The caller behind a proxy is not the one who may open the socket.
    let before = rig.rows().await;
    for (name, value) in
        [("x-forwarded-for", "127.0.0.1"), ("Forwarded", "for=127.0.0.1"), ("x-real-ip", "::1"), ("x-forwarded-proto", "https")]
    {
        let call = Call::post("/api/v1/deployments", &json!({ "service": "db", "tag": "1" })).header(name, value);
        assert_refused(&send(call).await, 403, "forbidden");
        assert_refused(&send(Call::get("/api/v1/services").header(name, value)).await, 403, "forbidden");
    }
    // Another server does not take it from one that answers.
    let other = rig.dir().join("other.toml");
    std::fs::write(&other, "version = 1\n[server]\nlisten = []\nsocket = \"server.sock\"\ndata_dir = \"other-data\"\n").unwrap();
    let started = tagalong::app::App::start(tagalong::config::Config::load(&other).unwrap()).await;
    let why = started.err().map(|error| format!("{error:#}")).unwrap_or_default();
    assert!(why.contains("another server is using the socket") && why.contains("server.socket"), "{why}");
    assert_eq!(send(Call::get("/api/v1/services")).await.status, 200);
    let shown = rig.ended(answer.json()["id"].as_str().unwrap()).await;
    assert!(rig.rows().await[0] == before[0], "an order came through");
    assert_eq!(shown["caller"], format!("local:{}", rustix::process::getuid().as_raw()));
    rig.finish().await;
    assert!(!socket.exists());
}
