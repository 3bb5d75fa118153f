//! Native webhooks of forges: the real server, payloads as the forges send and sign them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use reqwest::Method;
use serde_json::Value;
use serde_json::json;
use tagalong::clock;
use tagalong::model::forge_signature;
use tagalong::store::Old;

use crate::checked;
use crate::support::Answer;
use crate::support::Call;
use crate::support::Database;
use crate::support::Key;
use crate::support::Plan;
use crate::support::Rig;
use crate::support::assert_refused;
use crate::support::until;

on_both!(
    a_webhook_becomes_an_order_once,
    a_signature_that_is_wrong_in_any_way_gets_the_one_answer,
    what_is_signed_and_is_no_payload_is_refused,
    guards_hold_for_webhooks_as_for_ci,
    a_push_meets_freezes_checks_and_approvals,
);

const COMMIT: &str = "2222222222222222222222222222222222222222";
const OTHER: &str = "3333333333333333333333333333333333333333";
const GITHUB: &str = "of github.com: 0123456789abcdef0123";
const ENTERPRISE: &str = "of another GitHub: 456789abcdef0123";
const FORGEJO: &str = "of Forgejo: 0123456789abcdef01234567";
const GITEA: &str = "of Gitea: 456789abcdef0123456789abcdef";

/// A server that has two forges of one kind, and rules for all of them.
fn plan(database: Database) -> Plan {
    let mut plan = Plan::new(database);
    for (id, kind, secret) in
        [("github", "github", GITHUB), ("ghes", "github", ENTERPRISE), ("forgejo", "forgejo", FORGEJO), ("gitea", "gitea", GITEA)]
    {
        let _ = write!(
            plan.tables,
            "[[forge]]\nid = \"{id}\"\nkind = \"{kind}\"\nurl = \"https://{id}.example\"\nwebhook_secret_file = \"{id}.hook\"\n\
             [[hook]]\nforge = \"{id}\"\nrepository = \"acme/web\"\nevent = \"push\"\nbranches = [\"main\"]\ndeploy = \"web\"\ntag = \"{{sha}}\"\n"
        );
        plan.files.push((Box::leak(format!("{id}.hook").into_boxed_str()), format!("{secret}\n")));
    }
    plan.tables += "[[hook]]\nforge = \"github\"\nrepository = \"acme/web\"\nevent = \"release\"\ndeploy = \"db\"\ntag = \"{tag}\"\n";
    plan
}

fn push(branch: &str, commit: &str) -> Value {
    json!({
        "ref": format!("refs/heads/{branch}"), "before": "1".repeat(40), "after": commit, "created": false, "deleted": false, "forced": false,
        "commits": [{ "id": commit, "message": "Fix it", "added": [], "removed": [], "modified": ["src/main.rs"] }],
        "head_commit": { "id": commit, "message": "Fix it" }, "total_commits": 1,
        "repository": { "id": 7001, "full_name": "acme/web" }, "pusher": { "name": "ada", "email": null, "login": "ada" }, "sender": { "login": "ada", "id": 1 }
    })
}

fn release(tag: &str) -> Value {
    json!({
        "action": "published", "release": { "tag_name": tag, "draft": false, "prerelease": false },
        "repository": { "id": 7001, "full_name": "acme/web" }, "sender": { "login": "ada" }
    })
}

fn post(path: &str, body: impl Into<Vec<u8>>) -> Call {
    Call::new(Method::POST, path, body.into()).header("content-type", "application/json")
}

/// As GitHub sends it.
fn of_github(secret: &str, event: &str, id: &str, body: &Value) -> Call {
    let body = body.to_string();
    let signature = forge_signature(secret.as_bytes(), body.as_bytes());
    let call = post("/hooks/github", body).header("x-github-event", event).header("x-github-delivery", id);
    call.header("x-hub-signature", "sha1=0123456789012345678901234567890123456789")
        .header("x-hub-signature-256", format!("sha256={signature}"))
}

/// The headers of Gitea, and before them those of Forgejo: both send those of GitHub as well.
fn with_headers_of(call: Call, names: &[&str], event: &str, signature: &str) -> Call {
    let id = clock::new_id().to_string();
    names.iter().fold(call, |call, name| match *name {
        "forgejo" => {
            call.header("x-forgejo-event", event).header("x-forgejo-signature", signature).header("x-forgejo-delivery", id.clone())
        }
        "gitea" => call.header("x-gitea-event", event).header("x-gitea-signature", signature).header("x-gitea-delivery", id.clone()),
        _ => {
            let hub = format!("sha256={signature}");
            call.header("x-github-event", event).header("x-hub-signature-256", hub).header("x-github-delivery", id.clone())
        }
    })
}

const FORGEJOS: [&str; 3] = ["forgejo", "gitea", "github"];

fn form(body: &str) -> String {
    url::form_urlencoded::Serializer::new(String::new()).append_pair("payload", body).finish()
}

fn deployment(answer: &Answer) -> String {
    assert_eq!(answer.status, 202, "{}", answer.text);
    let rules = answer.json()["rules"].as_array().unwrap().clone();
    let made: Vec<&str> = rules.iter().filter_map(|rule| rule["deployment"].as_str()).collect();
    assert_eq!(made.len(), 1, "{}", answer.text);
    made[0].to_owned()
}

async fn deployments(rig: &Rig) -> i64 {
    rig.count("SELECT COUNT(*) FROM deployments").await
}

async fn a_webhook_becomes_an_order_once(database: Database) {
    let mut rig = plan(database).start().await;
    let gate = rig.gate("web");
    let body = push("main", COMMIT);
    let first = deployment(&of_github(GITHUB, "push", "one", &body).send(&rig).await);
    let shown = rig.show(&first).await;
    for (name, value) in [
        ("caller", json!("forge:github")),
        ("service", json!("web")),
        ("tag", json!(COMMIT)),
        ("commit", json!(COMMIT)),
        ("ref", json!("refs/heads/main")),
        ("reason", json!("push of \"refs/heads/main\" in acme/web by \"ada\" (hook[0])")),
    ] {
        assert_eq!(shown[name], value, "{shown:#}");
    }
    // The version before reads the caller as a key.
    assert_eq!(rig.count("SELECT COUNT(*) FROM deployments WHERE caller = 'key:github' AND proof = 'forge'").await, 1);
    assert_eq!(rig.count("SELECT COUNT(*) FROM audit WHERE caller = 'forge:github' AND action = 'order'").await, 1);
    drop(gate);
    for round in 0..2 {
        // Redelivered, by the forge or by somebody who has recorded it: the id is not signed, the body is.
        for id in ["one".to_owned(), format!("two-{round}")] {
            assert_eq!(deployment(&of_github(GITHUB, "push", &id, &body).send(&rig).await), first);
        }
        assert_refused(&of_github(GITHUB, "push", "one", &push("main", OTHER)).send(&rig).await, 409, "id_reused");
        assert_refused(&of_github(GITHUB, "release", "three", &body).send(&rig).await, 400, "bad_request");
        rig.restart().await;
    }
    assert_eq!(deployments(&rig).await, 1);
    // What nothing is done for is not remembered, and says why.
    for (event, body, part) in [
        ("push", push("next", COMMIT), "\"next\" is not one of branches (main)"),
        ("push", release("v1"), ""),
        ("ping", json!({ "zen": "Keep it logically awesome.", "hook_id": 1 }), "takes the webhooks of this forge"),
        ("pull_request", json!({}), "no rule can be for the event"),
        ("create", json!({ "ref": "v1", "ref_type": "tag" }), "told by the event push as well"),
    ] {
        let answer = of_github(GITHUB, event, "four", &body).send(&rig).await;
        assert_eq!(answer.status, if part.is_empty() { 400 } else { 200 }, "{}", answer.text);
        assert!(answer.json().to_string().contains(&part.replace('"', "\\\"")), "{}", answer.text);
    }
    let other = deployment(&of_github(GITHUB, "push", "four", &push("main", OTHER)).send(&rig).await);
    assert_ne!(other, first);
    rig.ended(&other).await;
    // Bodies are remembered longer than ids: a signature without a time is good for ever.
    while rig.app().shared().store.forget_old(Old::Deliveries, i64::MAX).await.unwrap() {}
    assert_eq!(rig.count("SELECT COUNT(*) FROM deliveries WHERE caller NOT LIKE 'body:%'").await, 0);
    assert_eq!(deployment(&of_github(GITHUB, "push", "five", &body).send(&rig).await), first);
    rig.finish().await;
}

/// Each request that proves nothing, and what is wrong with it.
fn false_proofs(body: &str, key: &Key) -> Vec<(&'static str, Call)> {
    let right = forge_signature(GITHUB.as_bytes(), body.as_bytes());
    let call = || post("/hooks/github", body).header("x-github-delivery", "x");
    let event = || call().header("x-github-event", "push");
    let signed = |signature: String| event().header("x-hub-signature-256", signature);
    let hub = |hex: &str| signed(format!("sha256={hex}"));
    let good = || hub(&right);
    let mut flipped = right.clone().into_bytes();
    flipped[63] = if flipped[63] == b'0' { b'1' } else { b'0' };
    vec![
        ("no header", post("/hooks/github", body)),
        ("an event alone", event()),
        ("a signature without an event", call().header("x-hub-signature-256", format!("sha256={right}"))),
        ("empty", signed(String::new())),
        ("sha256=", hub("")),
        ("without a prefix", signed(right.clone())),
        ("two prefixes", hub(&format!("sha256={right}"))),
        ("upper case", hub(&right.to_uppercase())),
        ("an upper-case prefix", signed(format!("SHA256={right}"))),
        ("the beginning of it", hub(&right[..32])),
        ("all but its end", hub(&right[..63])),
        ("something behind it", hub(&format!("{right}0"))),
        ("a space behind the prefix", hub(&format!(" {right}"))),
        ("one digit is wrong", hub(std::str::from_utf8(&flipped).unwrap())),
        ("another algorithm", signed(format!("sha1={}", &right[..40]))),
        ("another algorithm with all digits", signed(format!("sha512={right}{right}"))),
        ("SHA-1 alone", event().header("x-hub-signature", format!("sha1={}", &right[..40]))),
        ("an empty key", hub(&forge_signature(b"", body.as_bytes()))),
        ("a key of zeros", hub(&forge_signature(&[0; 32], body.as_bytes()))),
        ("another secret", hub(&forge_signature(b"of nobody: 0123456789abcdef0123456789", body.as_bytes()))),
        ("another body", hub(&forge_signature(GITHUB.as_bytes(), b"{}"))),
        ("the body with a line end", hub(&forge_signature(GITHUB.as_bytes(), format!("{body}\n").as_bytes()))),
        ("the secret of a forge of another kind", hub(&forge_signature(FORGEJO.as_bytes(), body.as_bytes()))),
        ("two signatures, both right", good().header("x-hub-signature-256", format!("sha256={right}"))),
        ("two signatures, one of them right", good().header("x-hub-signature-256", "sha256=00")),
        ("two events", good().header("x-github-event", "push")),
        ("a right one of GitHub and a wrong one of Gitea", good().header("x-gitea-signature", "00")),
        ("a right one of GitHub and an empty one of Forgejo", good().header("x-forgejo-signature", "")),
        ("a right one of GitHub and a bearer token", good().header("authorization", format!("Bearer {}", key.text()))),
        ("a right one of GitHub and Standard Webhooks", good().by(key)),
        ("Standard Webhooks", post("/hooks/github", body).by(key)),
        ("a bearer token", event().header("authorization", format!("Bearer {}", key.text()))),
        ("the event of Forgejo and the signature of GitHub", good().header("x-forgejo-event", "push")),
    ]
}

/// The same of Forgejo and Gitea, and of forms.
fn false_proofs_of_others(body: &str) -> Vec<(&'static str, Call)> {
    let right = forge_signature(GITHUB.as_bytes(), body.as_bytes());
    vec![
        ("Forgejo without a secret", with_headers_of(post("/hooks/forgejo", body), &FORGEJOS, "push", "")),
        ("Gitea without a secret", with_headers_of(post("/hooks/forgejo", body), &FORGEJOS[1..], "push", "")),
        ("Forgejo with the secret of GitHub", with_headers_of(post("/hooks/forgejo", body), &FORGEJOS, "push", &right)),
        (
            "a form of Gitea that is signed as GitHub does",
            with_headers_of(
                Call::new(Method::POST, "/hooks/forgejo", form(body).into_bytes())
                    .header("content-type", "application/x-www-form-urlencoded"),
                &FORGEJOS[1..],
                "push",
                &forge_signature(GITEA.as_bytes(), form(body).as_bytes()),
            ),
        ),
        (
            "a form of GitHub that is signed as Gitea does",
            Call::new(Method::POST, "/hooks/github", form(body).into_bytes())
                .header("content-type", "application/x-www-form-urlencoded")
                .header("x-github-event", "push")
                .header("x-hub-signature-256", format!("sha256={right}")),
        ),
    ]
}

async fn a_signature_that_is_wrong_in_any_way_gets_the_one_answer(database: Database) {
    let rig = plan(database).start().await;
    let gate = rig.gate("web");
    let body = push("main", COMMIT).to_string();
    let before = rig.rows().await;
    let mut answers = std::collections::BTreeSet::new();
    let calls = [false_proofs(&body, rig.key()), false_proofs_of_others(&body)].concat();
    println!("{} webhooks without proof", calls.len());
    for (what, call) in calls {
        let answer = call.send(&rig).await;
        assert_eq!(answer.code(), (401, "unauthorized".to_owned()), "{what}: {}", answer.text);
        answers.insert(answer.text);
    }
    // The same as everybody gets.
    answers.insert(Call::get("/api/v1/services").send(&rig).await.text);
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(rig.rows().await, before);
    let counts = Call::get("/api/v1/refused").by(rig.key()).send(&rig).await.json()["counts"].clone();
    assert!(counts["forge_signature"].as_i64().unwrap() > 30, "{counts}");

    // And each of the right ones is taken, by the forge whose secret it is.
    let secrets = [("github", GITHUB), ("ghes", ENTERPRISE), ("forgejo", FORGEJO), ("gitea", GITEA)];
    for (number, (id, secret)) in (4..).zip(secrets) {
        for is_form in [false, true] {
            let body = push("main", &format!("{number}{}", if is_form { "f" } else { "a" }).repeat(20)).to_string();
            let sent = if is_form { form(&body) } else { body.clone() };
            let kind = if is_form { "application/x-www-form-urlencoded; charset=utf-8" } else { "application/json" };
            let names: &[&str] = match id {
                "forgejo" => &FORGEJOS,
                "gitea" => &FORGEJOS[1..],
                _ => &FORGEJOS[2..],
            };
            // GitHub signs what it sends, the others what is in it.
            let signature = forge_signature(secret.as_bytes(), if names.len() == 1 { sent.as_bytes() } else { body.as_bytes() });
            let path = if names.len() == 1 { "/hooks/github" } else { "/hooks/forgejo" };
            let call = Call::new(Method::POST, path, sent.into_bytes()).header("content-type", kind);
            let made = deployment(&with_headers_of(call, names, "push", &signature).send(&rig).await);
            assert_eq!(rig.show(&made).await["caller"], format!("forge:{id}"));
        }
    }
    drop(gate);
    rig.finish().await;
}

async fn what_is_signed_and_is_no_payload_is_refused(database: Database) {
    let mut plan = plan(database);
    plan.server += "\nbody_limit_kib = 25600";
    let rig = plan.start().await;
    let before = rig.rows().await;
    let signed = |event: &str, body: &[u8]| {
        let signature = format!("sha256={}", forge_signature(GITHUB.as_bytes(), body));
        post("/hooks/github", body).header("x-github-event", event).header("x-hub-signature-256", signature)
    };
    let names: Vec<String> = (0..1_000_000).map(|name| format!("\"{name}\":0")).collect();
    for (what, body) in [
        ("nothing", Vec::new()),
        ("no JSON", b"{".to_vec()),
        ("a list", b"[]".to_vec()),
        ("a depth of 100,000", format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000)).into_bytes()),
        ("a million names", format!("{{\"a\":{{{}}}}}", names.join(",")).into_bytes()),
        ("half a character", b"{\"ref\":\"\\ud800\"}".to_vec()),
        ("half a character in what nobody reads", b"{\"x\":\"\\udfff\"}".to_vec()),
        ("bytes that are no text", b"{\"ref\":\"\xff\xfe\"}".to_vec()),
        ("a name twice", b"{\"ref\":\"refs/heads/main\",\"ref\":\"refs/heads/main\"}".to_vec()),
        ("NUL", b"\0".to_vec()),
    ] {
        // The large ones take a while to sign.
        for event in ["push", "ping", "star"].into_iter().take(if body.len() > 1 << 20 { 1 } else { 3 }) {
            let answer = signed(event, &body).send(&rig).await;
            assert_eq!(answer.code(), (400, "bad_request".to_owned()), "{what}: {}", answer.text);
        }
    }
    let good = push("main", COMMIT).to_string();
    for id in ["", "a b", "a/b", &"x".repeat(129)] {
        assert_refused(&signed("push", good.as_bytes()).header("x-github-delivery", id).send(&rig).await, 400, "bad_request");
    }
    let hostile = push("main $(id)", COMMIT).to_string();
    assert_refused(&signed("push", hostile.as_bytes()).send(&rig).await, 400, "bad_request");
    let strange = form(&good).replace("payload=", "a=1&payload=");
    let call =
        Call::new(Method::POST, "/hooks/github", strange.clone().into_bytes()).header("content-type", "application/x-www-form-urlencoded");
    let signature = format!("sha256={}", forge_signature(GITHUB.as_bytes(), strange.as_bytes()));
    assert_refused(&call.header("x-github-event", "push").header("x-hub-signature-256", signature).send(&rig).await, 400, "bad_request");
    assert_eq!(rig.rows().await, before);
    // A forge that gives no id is one that cannot deliver anew.
    deployment(&signed("push", good.as_bytes()).send(&rig).await);
    rig.finish().await;
}

async fn guards_hold_for_webhooks_as_for_ci(database: Database) {
    let mut plan = plan(database);
    plan.service = "tag_pattern = \"[0-9a-f]{40}|v[0-9]+\"".into();
    plan.tables += "[[hook]]\nforge = \"github\"\nrepository = \"acme/web\"\nevent = \"workflow_run\"\nbranches = [\"main\"]\n\
                    workflows = [\"build.yml\"]\ndeploy = \"web\"\ntag = \"v{run_number}\"\n\
                    [[hook]]\nforge = \"github\"\nrepository = \"acme/web\"\nevent = \"push\"\nbranches = [\"main\"]\ndeploy = \"db\"\ntag = \"v1\"\n";
    let rig = plan.start().await;
    assert_refused(&of_github(GITHUB, "release", "one", &release("latest")).send(&rig).await, 422, "tag_pattern");
    // What was refused may come again.
    assert_refused(&of_github(GITHUB, "release", "one", &release("newest")).send(&rig).await, 422, "tag_pattern");
    assert_eq!(rig.count("SELECT COUNT(*) FROM deliveries").await, 0);

    let run = |number: i64| {
        json!({
            "action": "completed", "repository": { "id": 7001, "full_name": "acme/web" }, "sender": { "login": "ada" },
            "workflow_run": {
                "head_branch": "main", "head_sha": COMMIT, "path": ".github/workflows/build.yml", "run_number": number, "event": "push",
                "conclusion": "success", "html_url": "https://github.com/acme/web/actions/runs/9", "head_repository": { "id": 7001, "full_name": "acme/web" }
            }
        })
    };
    let taken = deployment(&of_github(GITHUB, "workflow_run", "two", &run(7)).send(&rig).await);
    let shown = rig.ended(&taken).await;
    assert_eq!((&shown["run_number"], &shown["tag"]), (&json!(7), &json!("v7")), "{shown:#}");

    // A rollback holds the service: one order of the push is refused, the other one is taken.
    assert_eq!(rig.execute("INSERT INTO holds (service, deployment, since_ms) VALUES ('web', 'X', 1)").await, 1);
    let answer = of_github(GITHUB, "push", "three", &push("main", OTHER)).send(&rig).await;
    let made = deployment(&answer);
    assert_eq!(rig.show(&made).await["service"], "db");
    let refused = answer.json()["rules"].as_array().unwrap().iter().find(|rule| rule["code"].is_string()).cloned().unwrap();
    assert_eq!((&refused["service"], &refused["code"], &refused["matches"]), (&json!("web"), &json!("held"), &json!(true)), "{refused:#}");
    assert_refused(&of_github(GITHUB, "workflow_run", "four", &run(8)).send(&rig).await, 422, "held");
    // Once it may, redelivery brings what was refused, and nothing twice.
    let resumed = rig.act(rig.key(), "/api/v1/services/web/resume").await;
    assert_eq!(resumed.status, 200, "{}", resumed.text);
    let again = of_github(GITHUB, "push", "three", &push("main", OTHER)).send(&rig).await;
    assert_eq!(again.status, 202, "{}", again.text);
    let made_now: Vec<Value> = again.json()["rules"].as_array().unwrap().iter().filter(|rule| rule["matches"] == true).cloned().collect();
    assert_eq!(made_now.len(), 2, "{}", again.text);
    assert!(made_now.iter().any(|rule| rule["service"] == "db" && rule["deployment"] == json!(made)), "{}", again.text);
    rig.finish().await;
}

/// A push for three services, each under another guard; none of them lets it by, and a push later, which they let pass, is taken.
async fn a_push_meets_freezes_checks_and_approvals(database: Database) {
    let forge = checked::Forge::start("github").await;
    let mut plan = plan(database);
    plan.services = vec!["web", "db", "frozen", "checked", "approved"];
    plan.server += "\npublic_url = \"http://localhost:1\"";
    // The forge that sends the pushes is asked about their commits.
    let api = format!("url = \"https://github.example\"\napi_url = \"{}\"\ntoken_file = \"forge.token\"\n", forge.url);
    plan.tables = plan.tables.replace("url = \"https://github.example\"\n", &api);
    for service in ["frozen", "checked", "approved"] {
        let _ = write!(
            plan.tables,
            "[[hook]]\nforge = \"github\"\nrepository = \"acme/web\"\nevent = \"push\"\nbranches = [\"main\"]\ndeploy = \"{service}\"\ntag = \"{{sha}}\"\n"
        );
    }
    plan.tables += "[[freeze]]\nid = \"night\"\nzone = \"Europe/Paris\"\nservices = [\"frozen\"]\nholidays_file = \"night.ics\"\n\
        [service.checked.source]\nforge = \"github\"\nrepository = \"acme/web\"\nreport = false\nrequire_checks = [\"test\"]\nchecks_wait_s = 600\n\
        [service.approved.approval]\napprovers = [\"ada\", \"bob\"]\n";
    for id in ["ada", "bob"] {
        let _ = write!(
            plan.tables,
            "[[notify]]\nid = \"{id}\"\nkind = \"ntfy\"\nurl = \"http://127.0.0.1:1\"\ntopic = \"{id}\"\nevents = []\n\
             [[person]]\nid = \"{id}\"\nactors = [\"{id}\"]\nnotify = \"{id}\"\n"
        );
    }
    plan.files.push(("forge.token", checked::TOKEN.to_owned()));
    let rig = plan.start().await;
    let made = |answer: &Answer| -> BTreeMap<String, Value> {
        let rules = answer.json()["rules"].as_array().unwrap().clone();
        rules.into_iter().filter(|rule| rule["matches"] == true).map(|rule| (rule["service"].as_str().unwrap().to_owned(), rule)).collect()
    };
    forge.has_runs(checked::COMMIT, &[("test", 1, 1, "failure")]);
    let answer = of_github(GITHUB, "push", "one", &push("main", checked::COMMIT)).send(&rig).await;
    let rules = made(&answer);
    assert_eq!(rules["frozen"]["code"], "frozen", "{}", answer.text);
    let id = |rule: &Value| rule["deployment"].as_str().unwrap().to_owned();
    let red = rig.ended(&id(&rules["checked"])).await;
    assert_eq!((&red["outcome"], &red["guard"]), (&json!("refused"), &json!("checks")), "{red:#}");
    // Ada has pushed, so she is not asked.
    let waits = id(&rules["approved"]);
    let shown = rig.until(&waits, |shown| shown["waits_for"] == "approval" && shown["approval"]["approvers"].is_array()).await;
    assert_eq!((&shown["approval"]["approvers"], &shown["actor"]), (&json!(["bob"]), &json!("ada")), "{shown:#}");
    assert_eq!(rig.count("SELECT COUNT(*) FROM runs WHERE service IN ('frozen', 'checked', 'approved') AND changed = 1").await, 0);
    // The forge sends it again when nothing is in its way any more: what was refused at the door is taken now.
    let calendar = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20200101\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
    std::fs::write(rig.dir().join("night.ics"), calendar).unwrap();
    let again = made(&of_github(GITHUB, "push", "one", &push("main", checked::COMMIT)).send(&rig).await);
    assert_eq!(rig.ended(&id(&again["frozen"])).await["outcome"], "failed");
    assert_eq!((id(&again["checked"]), id(&again["approved"])), (red["id"].as_str().unwrap().to_owned(), waits.clone()));
    let cancelled = rig.act(rig.key(), &format!("/api/v1/deployments/{waits}/cancel")).await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.text);
    rig.finish().await;
}

/// Every proof of every other scheme is none here, and a forge's is none elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_open_no_hook_and_a_forge_opens_nothing_else() {
    let mut plan = plan(Database::Sqlite);
    plan.keys.push(Key::bearer("robot", &["deploy:*", "rollback:*", "read"]));
    let rig = plan.start().await;
    let body = push("main", COMMIT);
    for path in ["/hooks/github", "/hooks/forgejo"] {
        for key in &rig.plan.keys {
            assert_refused(&Call::post(path, &body).by(key).header("x-github-event", "push").send(&rig).await, 401, "unauthorized");
        }
        assert_refused(&Call::get(path).by(rig.key()).send(&rig).await, 404, "not_found");
    }
    let order = json!({ "service": "web", "tag": "1" }).to_string();
    let signature = format!("sha256={}", forge_signature(GITHUB.as_bytes(), order.as_bytes()));
    let call = post("/api/v1/deployments", order).header("x-github-event", "push").header("x-hub-signature-256", signature);
    assert_refused(&call.send(&rig).await, 401, "unauthorized");
    assert_eq!(deployments(&rig).await, 0);
    rig.finish().await;
}

/// Forgejo leaves the event of an image empty, and names only its type.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_of_forgejo_is_known_by_the_type_of_its_event() {
    let mut plan = plan(Database::Sqlite);
    plan.tables += "[[hook]]\nforge = \"forgejo\"\nrepository = \"acme/web\"\nevent = \"package\"\npackages = [\"web\"]\ndeploy = \"web\"\ntag = \"{tag}\"\n";
    let rig = plan.start().await;
    let body = json!({
        "action": "created", "organization": null, "sender": { "login": "ada" },
        "package": { "id": 3, "repository": { "id": 12, "full_name": "acme/web" }, "type": "container", "name": "web", "version": "v7" }
    })
    .to_string();
    let signature = forge_signature(FORGEJO.as_bytes(), body.as_bytes());
    let call = with_headers_of(post("/hooks/forgejo", body), &FORGEJOS, "", &signature);
    let call =
        call.header("x-forgejo-event-type", "package").header("x-gitea-event-type", "package").header("x-github-event-type", "package");
    let made = deployment(&call.send(&rig).await);
    assert_eq!(rig.show(&made).await["tag"], "v7");
    rig.finish().await;
}

/// B1, B5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_webhook_is_refused_unread_and_strangers_do_not_shut_out_a_forge() {
    use tokio::io::AsyncReadExt as _;
    use tokio::io::AsyncWriteExt as _;
    let mut plan = plan(Database::Sqlite);
    plan.server = "failed_attempts_per_min = 3".into();
    let rig = plan.start().await;
    let mut wire = tokio::net::TcpStream::connect(rig.address()).await.unwrap();
    let head = "POST /hooks/github HTTP/1.1\r\nhost: x\r\nx-github-event: push\r\nx-hub-signature-256: sha256=00\r\ncontent-length: 10485760\r\n\r\n";
    wire.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    wire.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");
    drop(wire);
    // Anybody can let a forge call us with a wrong secret, from the very addresses of the right calls.
    let mut large = push("main", COMMIT);
    large["head_commit"]["message"] = json!("x".repeat(300_000));
    let wrong = "of nobody: 0123456789abcdef0123456789";
    until("a whole minute", async || {
        let minute = clock::now_ms() / 60_000;
        let mut statuses = Vec::new();
        for _ in 0..5 {
            statuses.push(of_github(wrong, "push", "x", &large).send(&rig).await.status);
        }
        statuses.push(post("/hooks/github", "{}").send(&rig).await.status);
        statuses.push(of_github(GITHUB, "push", "one", &large).send(&rig).await.status);
        (clock::now_ms() / 60_000 == minute).then(|| assert_eq!(statuses, [401, 401, 401, 429, 429, 429, 202]))
    })
    .await;
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_reloads_a_dataset_and_a_rotated_secret_counts() {
    let mut plan = plan(Database::Sqlite);
    plan.tables += "[dataset.content]\ndir = \"content\"\nremote = \"file:///no/such/remote\"\ninterval_s = 0\n\
                    [[hook]]\nforge = \"forgejo\"\nrepository = \"acme/content\"\nevent = \"push\"\nbranches = [\"main\"]\nreload = \"content\"\n";
    let rig = plan.start().await;
    let mut body = push("main", COMMIT);
    body["repository"]["full_name"] = json!("acme/content");
    let send = async |secret: &str, body: &Value| {
        let text = body.to_string();
        let signature = forge_signature(secret.as_bytes(), text.as_bytes());
        with_headers_of(post("/hooks/forgejo", text), &FORGEJOS, "push", &signature).send(&rig).await
    };
    let answer = send(FORGEJO, &body).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    assert_eq!(answer.json()["message"], "A reload of content has begun.", "{}", answer.text);
    // There is no such remote: it was tried, and may be tried again.
    let tried =
        async || rig.count("SELECT COUNT(*) FROM audit WHERE caller = 'forge:forgejo' AND action = 'reload' AND target = 'content'").await;
    until("the reload", async || (tried().await == 1).then_some(())).await;
    until("it may come again", async || (rig.count("SELECT COUNT(*) FROM deliveries WHERE caller LIKE 'body:%'").await == 0).then_some(()))
        .await;
    assert_eq!(send(FORGEJO, &body).await.status, 202);
    until("the second reload", async || (tried().await == 2).then_some(())).await;

    // While a secret is rotated both are good, and afterwards the new one.
    let new = "the next of Forgejo: 0123456789abcdef";
    for (text, old_status, new_status) in [(format!("{FORGEJO}\n{new}\n"), 202, 202), (format!("{new}\n"), 401, 202)] {
        std::fs::write(rig.dir().join("forgejo.hook"), text).unwrap();
        assert_eq!((send(FORGEJO, &body).await.status, send(new, &body).await.status), (old_status, new_status));
    }
    rig.finish().await;
}

/// `tagalong hooks test`.
#[allow(clippy::disallowed_methods, reason = "a test may start what it needs")]
async fn try_out(rig: &Rig, payload: &str, more: &[&str]) -> (Option<i32>, String) {
    let file = rig.dir().join("payload.json");
    std::fs::write(&file, payload).unwrap();
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_tagalong"));
    command.args(["hooks", "test"]).arg(&file).arg("--config").arg(&rig.config_file).args(more).env("NO_COLOR", "1");
    let done = command.output().await.unwrap();
    (done.status.code(), String::from_utf8([done.stdout, done.stderr].concat()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_is_tried_out_rule_by_rule() {
    let rig = plan(Database::Sqlite).start().await;
    let (main, next) = (push("main", COMMIT).to_string(), push("next", COMMIT).to_string());
    let line = format!("✓ hook[0] would deploy web with the tag {COMMIT}");
    for (payload, more, code, parts) in [
        (&main, vec!["--event", "push", "--forge", "github"], 0, [line.as_str(), "✗ hook[4] would do nothing: it is for release"]),
        (&form(&main), vec!["--event", "push", "--forge", "github"], 0, ["ref: refs/heads/main", "The webhook would be accepted."]),
        (
            &next,
            vec!["--event", "push", "--forge", "gitea"],
            13,
            ["✗ hook[3] would do nothing: \"next\" is not one of branches (main)", "Nothing would be done"],
        ),
        (&next, vec!["--event", "star", "--forge", "gitea"], 13, ["no rule can be for the event \"star\"", ""]),
        (&main, vec!["--event", "ping", "--forge", "github"], 13, ["a ping only asks", ""]),
        (&main, vec!["--event", "push"], 1, ["name the one that sends the webhook with --forge", ""]),
        (&main, vec!["--event", "push", "--forge", "none"], 1, ["no [[forge]] with the id none", ""]),
        (&"{".to_owned(), vec!["--event", "push", "--forge", "github"], 1, ["The payload is not JSON.", ""]),
    ] {
        let (ended, shown) = try_out(&rig, payload, &more).await;
        assert_eq!(ended, Some(code), "{shown}");
        assert!(parts.iter().all(|part| shown.contains(part)), "{parts:?} are not in:\n{shown}");
    }
    let (ended, shown) = try_out(&rig, &main, &["--event", "push", "--forge", "github", "--json"]).await;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(ended, Some(0));
    assert_eq!((&shown["rules"][0]["matches"], &shown["rules"][0]["order"]["commit"]), (&json!(true), &json!(COMMIT)), "{shown:#}");
    assert_eq!((&shown["rules"][1]["matches"], &shown["rules"][1]["rule"]), (&json!(false), &json!("hook[4]")), "{shown:#}");
    rig.finish().await;
}
