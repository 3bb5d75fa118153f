//! Jobs that call with the token of their forge: a real issuer, real tokens, the real server.

use futures_util::future::join_all;
use serde_json::Value;
use serde_json::json;
use tagalong::clock;

use crate::issuer::COMMIT;
use crate::issuer::Issuer;
use crate::issuer::OTHER_COMMIT;
use crate::issuer::SigningKey;
use crate::support::Answer;
use crate::support::Call;
use crate::support::Database;
use crate::support::Plan;
use crate::support::Rig;
use crate::support::assert_refused;
use crate::support::until;

on_both!(
    a_job_deploys_without_a_stored_secret,
    a_token_is_good_for_one_call,
    of_two_calls_with_one_token_one_is_taken,
    a_job_cancels_what_its_own_run_ordered,
    a_job_may_do_what_its_policy_says,
    nobody_approves_the_rollback_of_their_own_job,
    a_dry_run_is_told_whose_approval_it_would_need,
);

const ALL: [&str; 3] = ["deploy:web", "rollback:web", "read:web"];

async fn rig(database: Database, issuer: &Issuer) -> Rig {
    Plan { tables: issuer.policy(&["deploy:web"]), ..Plan::new(database) }.start().await
}

fn order(tag: &str) -> Call {
    Call::post("/api/v1/deployments", &json!({ "service": "web", "tag": tag }))
}

fn with(call: Call, token: &str) -> Call {
    call.header("authorization", format!("Bearer {token}"))
}

async fn send(rig: &Rig, token: &str) -> Answer {
    with(order("v1"), token).send(rig).await
}

/// Nobody learns anything from the answer.
#[track_caller]
fn assert_unproven(answer: &Answer, what: &str) {
    assert_eq!(answer.code(), (401, "unauthorized".to_owned()), "{what}: {}", answer.text);
    assert_eq!(answer.json()["detail"], "Authentication failed: check the secret and the clock.", "{what}");
}

/// The answer says what is wrong.
#[track_caller]
fn assert_told(answer: &Answer, part: &str, what: &str) {
    assert_eq!(answer.code(), (403, "token_refused".to_owned()), "{what}: {}", answer.text);
    assert!(answer.json()["detail"].as_str().unwrap().contains(part), "{what}: {part} is not in {}", answer.text);
}

async fn a_job_deploys_without_a_stored_secret(database: Database) {
    let issuer = Issuer::start().await;
    let rig = rig(database, &issuer).await;
    let gate = rig.gate("web");
    let answer = send(&rig, &issuer.token()).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let shown = rig.show(&id).await;
    for (name, value) in [
        ("caller", json!("oidc:web-main")),
        ("commit", json!(COMMIT)),
        ("ref", json!("refs/heads/main")),
        ("run_url", json!(issuer.run_url())),
        ("run_number", json!(17)),
    ] {
        assert_eq!(shown[name], value, "{shown:#}");
    }
    // The version before reads the caller as a key.
    assert_eq!(rig.count("SELECT COUNT(*) FROM deployments WHERE caller = 'key:web-main' AND proof = 'oidc'").await, 1);
    assert_eq!(rig.count("SELECT COUNT(*) FROM audit WHERE caller = 'oidc:web-main' AND action = 'order'").await, 1);
    let read = answer.header("tagalong-read-token").to_owned();
    let followed = with(Call::get(&format!("/api/v1/deployments/{id}")), &read).send(&rig).await;
    assert_eq!(followed.json()["caller"], "oidc:web-main");
    drop(gate);
    rig.ended(&id).await;
    assert_eq!(issuer.asked(), 1);
    rig.finish().await;
}

async fn a_token_is_good_for_one_call(database: Database) {
    let issuer = Issuer::start().await;
    let mut rig = rig(database, &issuer).await;
    let token = issuer.token();
    let first = send(&rig, &token).await;
    assert_eq!(first.status, 202, "{}", first.text);
    let id = first.json()["id"].clone();
    for _ in 0..2 {
        let again = send(&rig, &token).await;
        assert_eq!((again.status, &again.json()["id"]), (202, &id), "the very same call gets the first answer");
        for (what, call) in [
            ("another tag", order("v2")),
            ("another id", order("v2").header("idempotency-key", "mine")),
            ("a cancel", Call::post(&format!("/api/v1/deployments/{}/cancel", id.as_str().unwrap()), &json!({}))),
            ("a retry", Call::post(&format!("/api/v1/deployments/{}/retry", id.as_str().unwrap()), &json!({}))),
        ] {
            rig.ended(id.as_str().unwrap()).await;
            let answer = with(call, &token).send(&rig).await;
            assert_eq!(answer.code(), (409, "id_reused".to_owned()), "{what}: {}", answer.text);
        }
        rig.restart().await;
    }
    assert_eq!(rig.count("SELECT COUNT(*) FROM deployments").await, 1);
    // The policy's name may change; the token was used nevertheless.
    let text = std::fs::read_to_string(&rig.config_file).unwrap().replace("web-main", "renamed");
    std::fs::write(&rig.config_file, text).unwrap();
    rig.restart().await;
    assert_refused(&with(order("v2"), &token).send(&rig).await, 409, "id_reused");
    rig.finish().await;
}

async fn of_two_calls_with_one_token_one_is_taken(database: Database) {
    let issuer = Issuer::start().await;
    let rig = rig(database, &issuer).await;
    let other = if database == Database::Postgres { Some(rig.beside().await) } else { None };
    for round in 0..5 {
        let token = issuer.token();
        let tags: Vec<String> = (0..8).map(|number| format!("v{round}-{number}")).collect();
        let server = |at: usize| if at % 2 == 1 { other.as_ref().unwrap_or(&rig) } else { &rig };
        let answers = join_all(tags.iter().enumerate().map(|(at, tag)| with(order(tag), &token).send(server(at)))).await;
        let taken = answers.iter().filter(|answer| answer.status == 202).count();
        let refused = answers.iter().filter(|answer| answer.code() == (409, "id_reused".to_owned())).count();
        assert_eq!((taken, refused), (1, 7), "{answers:?}");
    }
    assert_eq!(rig.count("SELECT COUNT(*) FROM deployments").await, 5);
    if let Some(other) = other {
        // What it carries out would else be left to the end of its lease.
        let store = rig.app().shared().store.clone();
        until("the end of all orders", async || (store.counts().await.unwrap() == (0, 0)).then_some(())).await;
        other.stop().await;
    }
    rig.finish().await;
}

async fn a_job_cancels_what_its_own_run_ordered(database: Database) {
    let issuer = Issuer::start().await;
    let rig = rig(database, &issuer).await;
    let gate = rig.gate("web");
    let id = send(&rig, &issuer.token()).await.json()["id"].as_str().unwrap().to_owned();
    rig.until(&id, |shown| shown["state"] == "running").await;
    let path = format!("/api/v1/deployments/{id}/cancel");
    let cancel = || Call::post(&path, &json!({}));
    for (name, value) in [("run_number", json!("18")), ("repository", json!("acme/fork"))] {
        let answer = with(cancel(), &issuer.key.token(&issuer.claims_with(name, value))).send(&rig).await;
        assert_told(&answer, "was not ordered by the run", name);
    }
    let token = issuer.token();
    let answer = with(cancel(), &token).send(&rig).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_refused(&with(order("v2"), &token).send(&rig).await, 409, "id_reused");
    drop(gate);
    let ended = rig.ended(&id).await;
    assert_eq!((&ended["outcome"], &ended["by"]), (&json!("cancelled"), &json!("its caller")), "{ended:#}");
    assert_eq!(rig.count("SELECT COUNT(*) FROM audit WHERE caller = 'oidc:web-main' AND action = 'cancel'").await, 1);
    // A retry lands the same commit again, so it is for the same run.
    let retry = || Call::post(&format!("/api/v1/deployments/{id}/retry"), &json!({}));
    let other = issuer.key.token(&issuer.claims_with("run_number", json!("18")));
    assert_told(&with(retry(), &other).send(&rig).await, "was not ordered by the run", "a retry");
    assert_eq!(with(retry(), &issuer.token()).send(&rig).await.status, 202);
    rig.finish().await;
}

async fn a_job_may_do_what_its_policy_says(database: Database) {
    let issuer = Issuer::start().await;
    let rig = rig(database, &issuer).await;
    let call = |path: &str, body: Value| with(Call::post(path, &body), &issuer.token());
    for (what, call) in [
        ("another service", call("/api/v1/deployments", json!({ "service": "db", "tag": "v1" }))),
        ("a forced order", call("/api/v1/deployments", json!({ "service": "web", "tag": "v1", "force": true }))),
        ("a rollback", call("/api/v1/rollbacks", json!({ "service": "web" }))),
        ("the end of a hold", call("/api/v1/services/web/resume", json!({}))),
        ("the services", with(Call::get("/api/v1/services/db"), &issuer.token())),
    ] {
        let answer = call.send(&rig).await;
        assert_refused(&answer, 403, "forbidden");
        assert!(answer.text.contains("The policy web-main has only the scopes deploy:web"), "{what}: {}", answer.text);
    }
    assert_eq!(with(Call::get("/api/v1/services/web"), &issuer.token()).send(&rig).await.status, 200);
    rig.finish().await;
    let rig = Plan { tables: issuer.policy(&ALL), ..Plan::new(database) }.start().await;
    let token = issuer.token();
    let resume = || with(Call::post("/api/v1/services/web/resume", &json!({})), &token);
    assert_eq!(resume().send(&rig).await.json()["message"], "web was not held.");
    assert!(resume().send(&rig).await.json()["message"].as_str().unwrap().contains("already carried out"));
    assert_refused(&with(order("v2"), &token).send(&rig).await, 409, "id_reused");
    // There is nothing to go back to, which a guard says: scope and ref are enough.
    assert_eq!(with(Call::post("/api/v1/rollbacks", &json!({ "service": "web" })), &issuer.token()).send(&rig).await.status, 422);
    rig.finish().await;
}

/// Mona and bob approve rollbacks; nobody's receiver is there, so that codes are made and never arrive.
fn approved(needed: usize) -> String {
    let person = |id: &str| {
        let notify = format!("[[notify]]\nid = \"{id}\"\nkind = \"ntfy\"\nurl = \"http://127.0.0.1:1\"\ntopic = \"{id}\"\nevents = []\n");
        format!("{notify}[[person]]\nid = \"{id}\"\nactors = [\"{id}\"]\nnotify = \"{id}\"\n")
    };
    let approval = format!("[service.web.approval]\napprovers = [\"mona\", \"bob\"]\nrollbacks = true\nneeded = {needed}\n");
    format!("{}{}{approval}", person("mona"), person("bob"))
}

/// Whoever is behind a job is behind its rollbacks too, and behind what it orders once more.
async fn nobody_approves_the_rollback_of_their_own_job(database: Database) {
    let issuer = Issuer::start().await;
    let start = async |needed: usize| {
        let server = format!("{}\npublic_url = \"http://localhost:1\"", Plan::new(database).server);
        let rig = Plan { tables: issuer.policy(&ALL), server, ..Plan::new(database) }.start().await;
        rig.landed_before(&approved(needed)).await
    };
    let rig = start(1).await;
    let back = || Call::post("/api/v1/rollbacks", &json!({ "service": "web" }));
    let waits = async |answer: Answer, approvers: Value| {
        assert_eq!(answer.status, 202, "{}", answer.text);
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        let shown = rig.until(&id, |shown| shown["waits_for"] == "approval" && shown["approval"]["approvers"].is_array()).await;
        assert_eq!(shown["approval"]["approvers"], approvers, "{shown:#}");
        until("a code for bob", async || {
            let codes = "SELECT COUNT(*) FROM approval_codes WHERE approver = 'bob'";
            (rig.count(codes).await > 0).then_some(())
        })
        .await;
        let cancelled = rig.act(rig.key(), &format!("/api/v1/deployments/{id}/cancel")).await;
        assert_eq!(cancelled.status, 200, "{}", cancelled.text);
        rig.ended(&id).await;
        id
    };
    let id = waits(with(back(), &issuer.token()).send(&rig).await, json!(["bob"])).await;
    // Nobody hears that a code was sent which was not.
    until("whoever wants to hear of it", async || {
        let told = "SELECT COUNT(*) FROM events WHERE kind = 'approval_wanted' AND why = 'It can be approved by bob. No code could be sent to \
                    bob yet; that is tried again.'";
        (rig.count(told).await > 0).then_some(())
    })
    .await;
    assert_eq!(rig.show(&id).await["actor"], "mona");
    let retry = Call::post(&format!("/api/v1/deployments/{id}/retry"), &json!({}));
    waits(with(retry, &issuer.token()).send(&rig).await, json!(["bob"])).await;
    assert_eq!(rig.count("SELECT COUNT(*) FROM approval_codes WHERE approver = 'mona'").await, 0);
    waits(back().by(rig.key()).send(&rig).await, json!(["mona", "bob"])).await;
    // No body says who is behind it.
    let named = Call::post("/api/v1/rollbacks", &json!({ "service": "web", "actor": "bob" }));
    assert_eq!(with(named, &issuer.token()).send(&rig).await.status, 400);
    // What needs no approval is recorded with who is behind it all the same.
    for path in ["adopt", "repair"] {
        let answer = with(Call::post(&format!("/api/v1/services/web/{path}"), &json!({})), &issuer.token()).send(&rig).await;
        assert_eq!(answer.status, 202, "{path}: {}", answer.text);
        let shown = rig.ended(answer.json()["id"].as_str().unwrap()).await;
        assert_eq!((&shown["actor"], &shown["run_url"]), (&json!("mona"), &json!(issuer.run_url())), "{path}: {shown:#}");
    }
    rig.finish().await;
    let rig = start(2).await;
    assert_refused(&with(back(), &issuer.token()).send(&rig).await, 422, "approval");
    rig.finish().await;
}

/// A forge with a certificate of the house is asked for its keys where the policy says what to trust, and only there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_may_have_a_certificate_of_the_house() {
    let (issuer, pem) = Issuer::start_with_certificate().await;
    let files = vec![("own.pem", pem), ("empty.pem", String::new())];
    for (more, status) in [("", 401), ("ca_file = \"empty.pem\"\n", 401), ("ca_file = \"own.pem\"\n", 202)] {
        let tables = issuer.policy(&["deploy:web"]).replace("audience", &format!("{more}audience"));
        let rig = Plan { tables, files: files.clone(), ..Plan::new(Database::Sqlite) }.start().await;
        let answer = send(&rig, &issuer.token()).await;
        assert_eq!(answer.status, status, "{more}: {}", answer.text);
        rig.finish().await;
    }
}

/// It says so, asks nobody, and is refused if nobody could approve the order.
async fn a_dry_run_is_told_whose_approval_it_would_need(database: Database) {
    let issuer = Issuer::start().await;
    for (needed, wanted) in [(1, 202), (2, 422)] {
        let server = format!("{}\npublic_url = \"http://localhost:1\"", Plan::new(database).server);
        let tables = format!("{}{}", issuer.policy(&ALL), approved(needed));
        let rig = Plan { server, tables, ..Plan::new(database) }.start().await;
        let dry = json!({ "service": "web", "tag": "v1", "dry_run": true });
        let answer = with(Call::post("/api/v1/deployments", &dry), &issuer.token()).send(&rig).await;
        assert_eq!(answer.status, wanted, "{}", answer.text);
        if let Some(id) = answer.json()["id"].as_str() {
            // Without a registry it comes so far and no further.
            assert_eq!(rig.ended(id).await["outcome"], "failed");
            let journal = Call::get(&format!("/api/v1/deployments/{id}/log")).by(rig.key()).send(&rig).await.text;
            assert!(journal.contains("would wait now. It needs the approval of one of bob; nobody is asked for it now."), "{journal}");
        }
        assert_eq!(rig.count("SELECT COUNT(*) FROM approval_codes").await, 0);
        rig.finish().await;
    }
}

/// Each claim that the policy wants, in every way in which it can be wrong.
#[tokio::test]
async fn a_claim_is_matched_by_type_and_to_the_letter() {
    let issuer = Issuer::start().await;
    let rig = rig(Database::Sqlite, &issuer).await;
    let before = rig.rows().await;
    let mut tried = 0;
    for name in ["aud", "repository_id", "repository_owner_id", "ref", "event_name"] {
        let right = issuer.claims()[name].as_str().unwrap().to_owned();
        let mut wrong = vec![
            json!(format!("{right}x")),
            json!(format!("x{right}")),
            json!(right[..right.len() - 1]),
            json!(format!("{right} ")),
            json!(format!("{right}\u{0}")),
            json!(""),
            json!("*"),
            Value::Null,
            json!(true),
            json!(7001),
            json!(7001.0),
            json!({ "is": right }),
            json!([right, "another"]),
            json!([[right]]),
        ];
        // A list of one is a way to write an audience (RFC 7519, 4.1.3), and no other claim.
        if name != "aud" {
            wrong.push(json!([right]));
        }
        if right.to_uppercase() != right {
            wrong.push(json!(right.to_uppercase()));
        }
        for value in wrong {
            let answer = send(&rig, &issuer.key.token(&issuer.claims_with(name, value.clone()))).await;
            assert_eq!(answer.code(), (403, "token_refused".to_owned()), "{name} = {value}: {}", answer.text);
            tried += 1;
        }
        let mut missing = issuer.claims();
        missing.as_object_mut().unwrap().remove(name);
        let answer = send(&rig, &issuer.key.token(&missing)).await;
        assert_eq!(answer.code(), (403, "token_refused".to_owned()), "no {name}: {}", answer.text);
    }
    // What an order is made of must be there as well, though no policy wants a value of it.
    for (name, values) in [
        ("sha", vec![json!(COMMIT[..12]), json!("main"), json!(7), Value::Null]),
        ("repository", vec![json!("web"), json!("acme/web/x"), json!("../web"), json!("acme/we b"), json!(7), Value::Null]),
        ("run_id", vec![json!(90001), json!("x"), json!(""), Value::Null]),
        ("run_number", vec![json!(17), json!("-1"), json!("99999999999999999999"), Value::Null]),
    ] {
        for value in values {
            let answer = send(&rig, &issuer.key.token(&issuer.claims_with(name, value.clone()))).await;
            assert_told(&answer, &format!("{name}: it is "), &format!("{name} = {value}"));
            tried += 1;
        }
    }
    assert_eq!(rig.rows().await, before);
    println!("{tried} tokens with one wrong claim");
    assert_eq!(send(&rig, &issuer.key.token(&issuer.claims_with("aud", json!(["https://tagalong.example.com"])))).await.status, 202);
    rig.finish().await;
}

#[tokio::test]
async fn a_job_of_a_pull_request_is_never_accepted() {
    let issuer = Issuer::start().await;
    let policy = issuer
        .policy(&["deploy:web"])
        .replace("ref = \"refs/heads/main\", event_name = [\"push\", \"workflow_dispatch\"]", "event_name = \"push\"");
    let rig = Plan { tables: format!("{policy}refs = [\"refs/*\"]\n"), ..Plan::new(Database::Sqlite) }.start().await;
    for (name, value, part) in [
        ("event_name", "pull_request_target", "a job of a pull request is never accepted"),
        ("event_name", "pull_request", "a job of a pull request is never accepted"),
        ("event_name", "pull_request_review", "a job of a pull request is never accepted"),
        ("head_ref", "their-branch", "only a job of a pull request has one"),
        ("base_ref", "main", "only a job of a pull request has one"),
        ("ref", "refs/pull/7/merge", "a job of a pull request is never accepted"),
    ] {
        let answer = send(&rig, &issuer.key.token(&issuer.claims_with(name, json!(value)))).await;
        assert_told(&answer, part, &format!("{name} = {value}"));
    }
    assert_eq!(send(&rig, &issuer.token()).await.status, 202);
    rig.finish().await;
}

#[tokio::test]
async fn a_token_counts_in_its_time() {
    let issuer = Issuer::start().await;
    let rig = rig(Database::Sqlite, &issuer).await;
    let now_s = clock::now_ms() / 1000;
    for (changes, part) in [
        (json!({ "iat": now_s - 700, "nbf": now_s - 700, "exp": now_s - 400 }), "exp: the token expired"),
        (json!({ "exp": now_s + 86_400 }), "it may be 43200 s at most"),
        (json!({ "exp": i64::MAX }), "it may be 43200 s at most"),
        (json!({ "exp": now_s, "iat": now_s }), "the token is valid for 0 s"),
        (json!({ "nbf": now_s + 200 }), "nbf: it is"),
        (json!({ "iat": now_s + 200 }), "iat: it is"),
        (json!({ "exp": null }), "exp: it is null"),
        (json!({ "exp": (now_s + 300).to_string() }), "exp: it is \""),
        (json!({ "exp": now_s as f64 + 300.5 }), "exp: it is"),
        (json!({ "exp": -1 }), "exp: it is -1"),
        (json!({ "iat": null }), "iat: it is null"),
        (json!({ "nbf": "soon" }), "nbf: it is \"soon\""),
    ] {
        let mut claims = issuer.claims();
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        assert_told(&send(&rig, &issuer.key.token(&claims)).await, part, &changes.to_string());
    }
    for name in ["exp", "iat"] {
        let mut claims = issuer.claims();
        claims.as_object_mut().unwrap().remove(name);
        assert_told(&send(&rig, &issuer.key.token(&claims)).await, &format!("{name}: it is missing"), name);
    }
    // Clocks may be a little apart.
    for changes in [json!({ "exp": now_s - 10, "iat": now_s - 300 }), json!({ "nbf": now_s + 30, "iat": now_s + 30 })] {
        let mut claims = issuer.claims();
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let answer = send(&rig, &issuer.key.token(&claims)).await;
        assert_eq!(answer.status, 202, "{changes}: {}", answer.text);
    }
    rig.finish().await;
}

/// Tokens whose header is not taken.
fn with_a_false_header(issuer: &Issuer, short: &SigningKey) -> Vec<(String, String)> {
    let (key, claims) = (&issuer.key, issuer.claims().to_string());
    let header = |name: &str, value: Value| {
        let mut header = key.header();
        header[name] = value;
        header.to_string()
    };
    let mut all: Vec<(String, String)> = Vec::new();
    for (name, values) in [
        (
            "alg",
            vec![
                json!("none"),
                json!("None"),
                json!("HS256"),
                json!("RS1"),
                json!("rs256"),
                json!("ES256"),
                json!("EdDSA"),
                json!("PS256"),
                json!("RS512"),
                json!(""),
                Value::Null,
                json!(["RS256"]),
            ],
        ),
        ("typ", vec![json!("at+jwt"), json!("JOSE"), json!(""), json!(7), Value::Null]),
        ("kid", vec![json!("key-2"), json!("KEY-1"), json!("key-1 "), json!(""), json!(1), Value::Null, json!("k".repeat(300))]),
        ("crit", vec![json!(["b64"]), json!([]), json!("exp")]),
        ("jwk", vec![short.jwk()]),
        ("jku", vec![json!("https://example.com/keys")]),
        ("x5c", vec![json!(["MIIB"])]),
        ("x5u", vec![json!("https://example.com/cert")]),
        ("b64", vec![json!(false)]),
        ("zip", vec![json!("DEF")]),
        ("cty", vec![json!("JWT")]),
    ] {
        all.extend(values.into_iter().map(|value| (format!("{name} = {value}"), key.token_of(&header(name, value), &claims))));
    }
    for name in ["alg", "kid"] {
        let mut without = key.header();
        without.as_object_mut().unwrap().remove(name);
        all.push((format!("no {name}"), key.token_of(&without.to_string(), &claims)));
    }
    all
}

/// Every token that proves nothing.
fn unproven(issuer: &Issuer, short: &SigningKey) -> Vec<(String, String)> {
    let (key, claims) = (&issuer.key, issuer.claims().to_string());
    let mut all = with_a_false_header(issuer, short);
    let right = key.token(&issuer.claims());
    let (message, signature) = right.rsplit_once('.').unwrap();
    let other = key.token(&issuer.claims_with("ref", json!("refs/heads/other")));
    all.push(("no signature".into(), format!("{message}.")));
    all.push(("half a signature".into(), format!("{message}.{}", &signature[..signature.len() / 2])));
    all.push(("the signature of another token".into(), format!("{message}.{}", other.rsplit_once('.').unwrap().1)));
    all.push(("padding".into(), format!("{right}==")));
    all.push(("a fourth part".into(), format!("{right}.{signature}")));
    all.push(("two parts".into(), message.to_owned()));
    all.push(("signed by a short key".into(), short.token(&issuer.claims())));
    all.push(("signed by a short key under the right name".into(), short.token_of(&key.header().to_string(), &claims)));
    all.push(("another issuer".into(), key.token(&issuer.claims_with("iss", json!("https://token.actions.githubusercontent.com")))));
    all.push(("the issuer with a slash".into(), key.token(&issuer.claims_with("iss", json!(format!("{}/", issuer.url))))));
    all.push(("an issuer in a list".into(), key.token(&issuer.claims_with("iss", json!([issuer.url])))));
    all.push(("a claim twice".into(), key.token_of(&key.header().to_string(), &claims.replacen('{', "{\"ref\":\"refs/heads/main\",", 1))));
    all.push((
        "a claim twice, once escaped".into(),
        key.token_of(&key.header().to_string(), &claims.replacen('{', "{\"r\\u0065f\":\"x\",", 1)),
    ));
    all.push(("a header member twice".into(), key.token_of(&key.header().to_string().replacen('{', "{\"alg\":\"RS256\",", 1), &claims)));
    all.push(("claims in a list".into(), key.token_of(&key.header().to_string(), &format!("[{claims}]"))));
    all.push(("claims that are no JSON".into(), key.token_of(&key.header().to_string(), "{")));
    all.push(("too long".into(), key.token(&issuer.claims_with("actor", json!("x".repeat(10_000))))));
    all.push(("HS256 with the public key".into(), hs256(issuer, &claims)));
    all
}

/// What a server accepts that lets the header choose how the issuer's key is used.
fn hs256(issuer: &Issuer, claims: &str) -> String {
    use base64::Engine as _;
    use hmac::KeyInit as _;
    use hmac::Mac as _;
    let b64 = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let header = json!({ "typ": "JWT", "alg": "HS256", "kid": issuer.key.id }).to_string();
    let message = format!("{}.{}", b64(header.as_bytes()), b64(claims.as_bytes()));
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(&issuer.key.public_bytes()).unwrap();
    mac.update(message.as_bytes());
    format!("{message}.{}", b64(&mac.finalize().into_bytes()))
}

/// Who has proven nothing gets the common 401, and the operator sees what was wrong.
#[tokio::test]
async fn without_a_signature_of_the_issuer_there_is_one_answer() {
    let issuer = Issuer::start().await;
    let short = SigningKey::short_rsa("short");
    issuer.has(&[&issuer.key, &short]);
    let mut plan = Plan { tables: issuer.policy(&["deploy:web"]), ..Plan::new(Database::Sqlite) };
    plan.keys[0].scopes.push("rollback:*");
    let rig = plan.start().await;
    let before = rig.rows().await;
    let all = unproven(&issuer, &short);
    for (what, token) in &all {
        assert_unproven(&send(&rig, token).await, what);
    }
    println!("{} tokens that prove nothing", all.len());
    assert_eq!(rig.rows().await, before);
    assert!(issuer.asked() <= 2, "strangers made us ask {} times", issuer.asked());
    let shown = Call::get("/api/v1/refused").by(rig.key()).send(&rig).await.json();
    let counts = shown["counts"].as_object().unwrap();
    let sum: u64 = counts.values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(sum as usize, all.len(), "{shown:#}");
    for check in ["oidc_token", "oidc_key", "oidc_signature"] {
        assert!(counts.contains_key(check), "{shown:#}");
    }
    assert_eq!(send(&rig, &issuer.token()).await.status, 202);
    rig.finish().await;
}

/// What a policy wants is for the people of its repository.
#[tokio::test]
async fn a_refusal_tells_strangers_nothing_of_policies() {
    let issuer = Issuer::start().await;
    let rig = rig(Database::Sqlite, &issuer).await;
    let mut claims = issuer.claims_with("ref", json!("refs/heads/dev"));
    let answer = send(&rig, &issuer.key.token(&claims)).await;
    assert_told(
        &answer,
        "The policy web-main does not accept it: ref: it is \"refs/heads/dev\", but must be \"refs/heads/main\".",
        "its own",
    );
    claims["repository_id"] = "8".into();
    let answer = send(&rig, &issuer.key.token(&claims)).await;
    assert_told(&answer, "No policy is for the repository of the token.", "another's");
    assert!(!answer.text.contains("web-main") && !answer.text.contains("7001"), "{}", answer.text);
    claims["actor"] = "\u{1b}[31m\u{202e}".into();
    claims["event_name"] = "a\nb\u{1b}[31m\u{202e}".into();
    claims["repository_id"] = "7001".into();
    let answer = send(&rig, &issuer.key.token(&claims)).await;
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(!detail.contains(|c: char| c.is_control() || c == '\u{202e}'), "{detail:?}");
    rig.finish().await;
}

/// A token of commit A with the body of commit B.
#[tokio::test]
async fn the_body_says_what_the_token_says_or_nothing() {
    let issuer = Issuer::start().await;
    let mut plan = Plan { tables: issuer.policy(&["deploy:web", "rollback:web", "reload:site"]), ..Plan::new(Database::Sqlite) };
    plan.tables += "[dataset.site]\ndir = \"site-data\"\nremote = \"file:///no/such/remote\"\ninterval_s = 0\n";
    let rig = plan.start().await;
    let before = rig.rows().await;
    let elsewhere = issuer.run_url().replace("acme/web", "acme/other");
    for (path, body) in [
        ("deployments", json!({ "commit": OTHER_COMMIT })),
        ("deployments", json!({ "commit": COMMIT[..12] })),
        ("deployments", json!({ "ref": "refs/heads/other" })),
        ("deployments", json!({ "ref": "main" })),
        ("deployments", json!({ "run_url": elsewhere })),
        ("deployments", json!({ "run_number": 18 })),
        ("deployments", json!({ "tag": OTHER_COMMIT })),
        ("deployments", json!({ "tag": format!("sha-{OTHER_COMMIT}") })),
        ("rollbacks", json!({ "run_url": elsewhere })),
        ("reloads", json!({ "commitHash": OTHER_COMMIT })),
        ("reloads", json!({ "branch": "other" })),
        ("reloads", json!({ "branch": "refs/heads/other" })),
    ] {
        let mut whole = match path {
            "deployments" => json!({ "service": "web", "tag": "v1" }),
            "rollbacks" => json!({ "service": "web" }),
            _ => json!({ "dataset": "site" }),
        };
        whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let answer = with(Call::post(&format!("/api/v1/{path}"), &whole), &issuer.token()).send(&rig).await;
        assert_told(&answer, "but the token was issued for", &whole.to_string());
    }
    assert_eq!(rig.rows().await, before);
    let same = json!({ "service": "web", "tag": format!("sha-{COMMIT}"), "commit": COMMIT, "ref": "refs/heads/main", "run_url": issuer.run_url(), "run_number": 17 });
    let answer = with(Call::post("/api/v1/deployments", &same), &issuer.token()).send(&rig).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    rig.finish().await;
}
