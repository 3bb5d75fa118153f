//! The key sets of issuers: fetched when needed, kept, looked at again only now and then, and waited for by nobody else.

use std::process::Stdio;

use futures_util::future::join_all;
use serde_json::Value;
use serde_json::json;
use tokio::sync::watch;

use crate::issuer::Issuer;
use crate::issuer::Manner;
use crate::issuer::SigningKey;
use crate::support::Answer;
use crate::support::Call;
use crate::support::Database;
use crate::support::Plan;
use crate::support::Rig;
use crate::support::until;

/// The policies `p0`, `p1`, … of these issuers.
fn policies(issuers: &[Issuer]) -> String {
    issuers.iter().enumerate().map(|(at, issuer)| issuer.policy(&["deploy:web"]).replace("web-main", &format!("p{at}"))).collect()
}

async fn rig(issuers: &[Issuer]) -> Rig {
    Plan { tables: policies(issuers), ..Plan::new(Database::Sqlite) }.start().await
}

async fn send(rig: &Rig, token: &str) -> Answer {
    let order = Call::post("/api/v1/deployments", &json!({ "service": "web", "tag": "v1" }));
    order.header("authorization", format!("Bearer {token}")).send(rig).await
}

#[tokio::test]
async fn a_new_key_is_found_and_strangers_make_nobody_ask_for_one() {
    let issuers = [Issuer::start().await];
    let issuer = &issuers[0];
    let rig = rig(&issuers).await;
    // Who names another issuer, or none, makes us ask nobody.
    for value in [json!("http://127.0.0.1:1"), json!(format!("{}/", issuer.url)), Value::Null] {
        assert_eq!(send(&rig, &issuer.key.token(&issuer.claims_with("iss", value))).await.status, 401);
    }
    assert_eq!(issuer.called(), 0);
    assert_eq!(send(&rig, &issuer.token()).await.status, 202);
    let new = SigningKey::p256("key-2");
    assert_eq!(send(&rig, &new.token(&issuer.claims())).await.status, 401, "the issuer does not have it yet");
    assert_eq!(issuer.asked(), 2, "it was looked for once");
    issuer.has(&[&issuer.key, &new]);
    for number in 0..20 {
        let stranger = SigningKey::ed25519(["a", "b", "c"][number % 3]);
        assert_eq!(send(&rig, &stranger.token(&issuer.claims())).await.status, 401);
    }
    assert_eq!(issuer.asked(), 2, "strangers made us ask again");
    assert_eq!(send(&rig, &issuer.token()).await.status, 202);
    rig.finish().await;
}

#[tokio::test]
async fn a_key_that_was_rotated_in_is_used_and_one_that_was_taken_away_is_not() {
    let issuers = [Issuer::start().await];
    let issuer = &issuers[0];
    let rig = rig(&issuers).await;
    assert_eq!(send(&rig, &issuer.token()).await.status, 202);
    let new = SigningKey::p256("key-2");
    issuer.has(&[&new]);
    assert_eq!(send(&rig, &new.token(&issuer.claims())).await.status, 202);
    assert_eq!(send(&rig, &issuer.token()).await.status, 401, "the issuer has taken it away");
    assert_eq!(issuer.asked(), 2);
    // The name of the one with the signature of the other.
    let header = json!({ "alg": "ES256", "kid": "key-1" }).to_string();
    assert_eq!(send(&rig, &new.token_of(&header, &issuer.claims().to_string())).await.status, 401);
    rig.finish().await;
}

#[tokio::test]
async fn forges_sign_in_several_ways() {
    let issuers = [
        Issuer::start_at("", SigningKey::rsa("r")).await,
        Issuer::start_at("/_services/token", SigningKey::p256("e")).await,
        Issuer::start_at("/forgejo/api/actions", SigningKey::ed25519("d")).await,
    ];
    let policies = policies(&issuers);
    let rig = Plan { tables: policies, ..Plan::new(Database::Sqlite) }.start().await;
    for (issuer, run) in
        issuers.iter().zip(["/acme/web/actions/runs/90001", "/acme/web/actions/runs/90001", "/forgejo/acme/web/actions/runs/17"])
    {
        let answer = send(&rig, &issuer.token()).await;
        assert_eq!(answer.status, 202, "{}: {}", issuer.key.algorithm(), answer.text);
        let shown = rig.show(answer.json()["id"].as_str().unwrap()).await;
        assert!(shown["run_url"].as_str().unwrap().ends_with(run), "{shown:#}");
        // The key of one issuer is no key of another.
        for other in issuers.iter().filter(|other| other.url != issuer.url) {
            assert_eq!(send(&rig, &issuer.key.token(&other.claims())).await.status, 401);
        }
    }
    rig.finish().await;
}

/// What an issuer answers that must not be taken.
fn manners(issuer: &Issuer) -> Vec<(&'static str, Manner)> {
    let describe = |name: &str, value: &str| {
        let mut text = json!({ "issuer": issuer.url, "jwks_uri": format!("{}/.well-known/keys", issuer.url) });
        text[name] = value.into();
        Manner::Description(text.to_string())
    };
    let mut twice = json!({ "keys": [issuer.key.jwk()] }).to_string();
    twice.insert_str(1, "\"keys\":[],");
    let of = |change: &dyn Fn(&mut Value)| {
        let mut jwk = issuer.key.jwk();
        change(&mut jwk);
        Manner::Text(json!({ "keys": [jwk] }).to_string())
    };
    vec![
        ("a redirect", Manner::Redirecting),
        ("an endless answer", Manner::Endlessly),
        ("500", Manner::Status(500)),
        ("404", Manner::Status(404)),
        ("another issuer's description", describe("issuer", "https://token.actions.githubusercontent.com")),
        ("keys elsewhere, unencrypted", describe("jwks_uri", "http://192.0.2.1/keys")),
        ("keys in a file", describe("jwks_uri", "file:///etc/passwd")),
        ("no place of keys", describe("jwks_uri", "")),
        ("no JSON", Manner::Text("<html>".into())),
        ("no keys", Manner::Text(json!({ "keys": [] }).to_string())),
        ("keys twice", Manner::Text(twice)),
        ("300 KiB", Manner::Text(json!({ "keys": [issuer.key.jwk()], "more": "x".repeat(300 << 10) }).to_string())),
        ("a short key", Manner::Text(json!({ "keys": [SigningKey::short_rsa("key-1").jwk()] }).to_string())),
        ("a key for encryption", of(&|jwk| jwk["use"] = "enc".into())),
        ("a key that does not verify", of(&|jwk| jwk["key_ops"] = json!(["sign"]))),
        ("a key for another algorithm", of(&|jwk| jwk["alg"] = "RS512".into())),
        ("a symmetric key", Manner::Text(json!({ "keys": [{ "kty": "oct", "kid": "key-1", "k": "AAAA" }] }).to_string())),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_issuer_must_not_answer_is_not_taken() {
    let mut issuers = Vec::new();
    let first = Issuer::start().await;
    let many = manners(&first).len();
    for _ in 0..many {
        issuers.push(Issuer::start().await);
    }
    let rig = rig(&issuers).await;
    for (at, issuer) in issuers.iter().enumerate() {
        let (what, manner) = manners(issuer).swap_remove(at);
        issuer.behaves(manner);
        let answer = send(&rig, &issuer.token()).await;
        assert_eq!(answer.code(), (401, "unauthorized".to_owned()), "{what}: {}", answer.text);
        let asked = issuer.called();
        assert_eq!(send(&rig, &issuer.token()).await.status, 401, "{what}");
        assert_eq!(issuer.called(), asked, "{what}: it is left alone for a while");
    }
    assert_eq!(rig.count("SELECT COUNT(*) FROM deployments").await, 0);
    rig.finish().await;
}

/// One slow issuer is waited for by its own jobs alone, who make us ask it once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_issuer_holds_nobody_else() {
    let issuers = [Issuer::start().await, Issuer::start().await, Issuer::start().await];
    let [slow, never, quick] = &issuers;
    let rig = rig(&issuers).await;
    let (let_go, held) = watch::channel(false);
    let (_keep, for_ever) = watch::channel(false);
    slow.behaves(Manner::Held(held));
    never.behaves(Manner::Held(for_ever));
    let waiting = join_all((0..20).map(|_| send_own(&rig, slow.token())));
    let others = async {
        until("the slow issuer was asked", async || (slow.called() > 0).then_some(())).await;
        assert_eq!(send(&rig, &quick.token()).await.status, 202, "another issuer's job");
        let order = Call::post("/api/v1/deployments", &json!({ "service": "db", "tag": "v1" }));
        assert_eq!(order.by(rig.key()).send(&rig).await.status, 202, "a key");
        assert_eq!(send(&rig, &never.token()).await.status, 401, "it is not waited for for ever");
        let_go.send_replace(true);
    };
    // What was held for longer than it is waited for is refused; it never hangs.
    let (answers, ()) = futures_util::join!(waiting, others);
    assert!(answers.iter().all(|answer| matches!(answer.status, 202 | 401)), "{answers:?}");
    assert_eq!(slow.called(), if answers.iter().any(|answer| answer.status == 202) { 2 } else { 1 }, "who waits waits for one");
    rig.finish().await;
}

async fn send_own(rig: &Rig, token: String) -> Answer {
    send(rig, &token).await
}

/// `tagalong oidc explain`, with the token on its standard input.
#[allow(clippy::disallowed_methods, reason = "a test may start what it needs")]
async fn explain(rig: &Rig, token: &str, more: &[&str]) -> (Option<i32>, String) {
    use tokio::io::AsyncWriteExt as _;
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_tagalong"));
    command.args(["oidc", "explain", "-", "--config"]).arg(&rig.config_file).args(more).env("NO_COLOR", "1");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(format!("{token}\n").as_bytes()).await.unwrap();
    drop(input);
    let done = child.wait_with_output().await.unwrap();
    (done.status.code(), String::from_utf8([done.stdout, done.stderr].concat()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_explained_claim_by_claim_and_never_shown() {
    let issuers = [Issuer::start().await];
    let issuer = &issuers[0];
    let rig = rig(&issuers).await;
    let good = issuer.token();
    let dev = issuer.key.token(&issuer.claims_with("ref", json!("refs/heads/dev")));
    let forged = format!("{}.{}", good.rsplit_once('.').unwrap().0, dev.rsplit_once('.').unwrap().1);
    for (token, code, parts) in [
        (&good, 0, ["✓ signature: made by the issuer's key key-1", "the policy p0 accepts the token, for deploy:web"]),
        (&dev, 13, ["✗ ref: it is \"refs/heads/dev\", but must be \"refs/heads/main\"", "✓ event_name: it is \"push\""]),
        (&forged, 13, ["✗ signature: The signature was not made", "although its claims are what the policy p0 wants"]),
        (&"eyJ.x".to_owned(), 1, ["The token does not have three parts.", ""]),
    ] {
        let (ended, shown) = explain(&rig, token, &[]).await;
        assert_eq!(ended, Some(code), "{shown}");
        for part in parts {
            assert!(shown.contains(part), "{part} is not in:\n{shown}");
        }
        let hidden = token.split('.').filter(|part| part.len() > 20);
        assert!(hidden.clone().all(|part| !shown.contains(part)), "{shown}");
    }
    let keys = rig.dir().join("keys.json");
    std::fs::write(&keys, json!({ "keys": [issuer.key.jwk()] }).to_string()).unwrap();
    issuer.behaves(Manner::Status(503));
    let (ended, shown) = explain(&rig, &good, &[]).await;
    assert!(ended == Some(13) && shown.contains("answers 503"), "{shown}");
    let (ended, shown) = explain(&rig, &good, &["--keys", keys.to_str().unwrap(), "--json"]).await;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((ended, &shown["accepted_by"], &shown["signature"]["ok"]), (Some(0), &json!("p0"), &json!(true)), "{shown:#}");
    rig.finish().await;
}
