//! Orders whose commit must have green checks, and those for refs and people that are not allowed: real servers, both databases, and a
//! forge that knows the checks.

use serde_json::Value;
use serde_json::json;
use tagalong::config;
use tagalong::config::WhichChecks;
use tagalong::forge;
use tagalong::model::CommitName;
use tagalong::model::ForgeRepository;

use crate::checked::COMMIT;
use crate::checked::Forge;
use crate::checked::Manner;
use crate::checked::OF_A_FORK;
use crate::checked::OTHER;
use crate::checked::TOKEN;
use crate::issuer::Issuer;
use crate::support::Call;
use crate::support::Database;
use crate::support::Plan;
use crate::support::Rig;
use crate::support::assert_refused;
use crate::support::folder;
use crate::support::until;

on_both!(
    an_order_is_carried_out_when_its_checks_are_green_and_never_otherwise,
    an_order_waits_for_its_checks_and_holds_up_nobody,
    an_order_that_waits_for_its_checks_gives_way,
    a_forge_that_is_away_may_be_waited_for,
    only_refs_and_actors_that_are_allowed_get_in,
    a_dry_run_is_told_what_the_checks_are,
);

/// Each service is built from `acme/web`, and `more` stands in its source.
fn plan(database: Database, forge: &Forge, more: &str) -> Plan {
    Plan {
        tables: forge.table(),
        files: vec![("forge.token", TOKEN.to_owned())],
        service: format!("source = {{ forge = \"hub\", repository = \"acme/web\", report = false, {more} }}"),
        ..Plan::new(database)
    }
}

async fn rig(database: Database, forge: &Forge, more: &str) -> Rig {
    plan(database, forge, more).start().await
}

fn ask(service: &str, commit: &str) -> Value {
    json!({ "service": service, "tag": "v1", "commit": commit, "ref": "refs/heads/main" })
}

async fn order(rig: &Rig, service: &str, commit: &str) -> String {
    let answer = Call::post("/api/v1/deployments", &ask(service, commit)).by(rig.key()).send(rig).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// Waits until the order waits for its checks and says why.
async fn waiting(rig: &Rig, id: &str) -> String {
    let shown = rig.until(id, |shown| shown["waits_for"] == "checks" && shown["waits_why"].is_string()).await;
    shown["waits_why"].as_str().unwrap().to_owned()
}

async fn journal(rig: &Rig, id: &str) -> String {
    Call::get(&format!("/api/v1/deployments/{id}/log")).by(rig.key()).send(rig).await.text
}

/// Without a registry an order that is carried out ends `failed`, and one that is not says which guard was against it.
#[track_caller]
fn assert_ended(shown: &Value, wanted: Result<(), &str>) {
    let summary = shown["summary"].as_str().unwrap();
    match wanted {
        Ok(()) => assert_eq!(shown["outcome"], "failed", "{summary}"),
        Err(part) => {
            assert_eq!((&shown["outcome"], &shown["guard"]), (&json!("refused"), &json!("checks")), "{summary}");
            assert!(summary.contains(part), "{part} is not in {summary}");
        }
    }
}

async fn an_order_is_carried_out_when_its_checks_are_green_and_never_otherwise(database: Database) {
    let forge = Forge::start("github").await;
    let rig = rig(database, &forge, "require_checks = [\"test\", \"lint\"], checks_wait_s = 0").await;
    let (test, lint) = (("test", 1, 1, "success"), ("lint", 1, 1, "success"));
    for (commit, runs, statuses, manner, wanted) in [
        (COMMIT, vec![test, lint], vec![], Manner::Well, Ok(())),
        (COMMIT, vec![test], vec![("lint", "success")], Manner::Well, Ok(())),
        (&COMMIT[..10], vec![test, ("lint", 1, 1, "skipped")], vec![], Manner::Well, Ok(())),
        (COMMIT, vec![test, ("lint", 1, 1, "failure")], vec![], Manner::Well, Err("lint is red")),
        (COMMIT, vec![test, lint], vec![("lint", "error")], Manner::Well, Err("lint is red")),
        (COMMIT, vec![test], vec![], Manner::Well, Err("not green within 0 s (checks_wait_s): lint is missing")),
        (COMMIT, vec![test, ("lint", 1, 1, "running")], vec![], Manner::Well, Err("lint is pending")),
        (OF_A_FORK, vec![test, lint], vec![], Manner::Well, Err("is not on main of acme/web")),
        ("4c0c9e2a", vec![], vec![], Manner::Well, Err("acme/web has no commit 4c0c9e2a")),
        (COMMIT, vec![test, lint], vec![], Manner::Status(500), Err("The forge hub did not say how the checks are")),
        (COMMIT, vec![test, lint], vec![], Manner::Status(404), Err("must be allowed to read")),
        (COMMIT, vec![test, lint], vec![], Manner::Status(403), Err("must be allowed to read")),
        (COMMIT, vec![test, lint], vec![], Manner::Garbage, Err("not JSON")),
        (COMMIT, vec![test, lint], vec![], Manner::Huge, Err("larger than")),
        (COMMIT, vec![test, lint], vec![], Manner::Odd, Err("did not say how the checks are")),
        // From then on it is not called any more.
        (COMMIT, vec![test, lint], vec![], Manner::Limited(600), Err("cannot be asked about the checks in time")),
    ] {
        forge.has_runs(COMMIT, &runs);
        forge.has_runs(OF_A_FORK, &runs);
        forge.has_statuses(COMMIT, &statuses);
        forge.behaves(manner);
        let id = order(&rig, "web", commit).await;
        assert_ended(&rig.ended(&id).await, wanted);
        let is_said = journal(&rig, &id).await.contains(wanted.err().unwrap_or("are green: lint, test."));
        assert!(is_said, "{wanted:?}: {}", journal(&rig, &id).await);
    }
    forge.assert_well_asked();
    // The version before reads the outcome, by a guard that it knows.
    assert!(rig.count("SELECT COUNT(*) FROM deployments WHERE guard = 'checks' AND outcome LIKE '%\"guard\":\"age\"%'").await > 10);
    nobody_is_asked_where_nothing_is_to_be_shown(&rig, &forge).await;
    rig.finish().await;
}

/// What was landed before needs no checks; what cannot be asked about is refused at once.
async fn nobody_is_asked_where_nothing_is_to_be_shown(rig: &Rig, forge: &Forge) {
    let called = forge.called();
    let never_ran = Call::post("/api/v1/rollbacks", &json!({ "service": "web", "to": { "tag": "v0" } })).by(rig.key()).send(rig).await;
    assert_eq!((never_ran.status, never_ran.json()["code"].as_str()), (422, Some("no_target")), "{}", never_ran.text);
    rig.record_landed("web", "v0").await;
    let back = Call::post("/api/v1/rollbacks", &json!({ "service": "web", "to": { "tag": "v0" } })).by(rig.key()).send(rig).await;
    assert_eq!(back.status, 202, "{}", back.text);
    assert_ended(&rig.ended(back.json()["id"].as_str().unwrap()).await, Ok(()));
    let rows = rig.rows().await;
    // Forced by a key or not, which may only overrule who rolled back.
    for (field, value) in [("commit", Value::Null), ("ref", json!("main"))] {
        for force in [false, true] {
            let mut body = ask("web", COMMIT);
            (body[field], body["force"]) = (value.clone(), json!(force));
            let answer = Call::post("/api/v1/deployments", &body).by(rig.key()).send(rig).await;
            assert_refused(&answer, 422, "checks");
        }
    }
    assert_eq!((rig.rows().await, forge.called()), (rows, called));
}

/// It is refused where the order would be, waits for nothing, and says what the order would wait for.
async fn a_dry_run_is_told_what_the_checks_are(database: Database) {
    let forge = Forge::start("github").await;
    let rig = rig(database, &forge, "require_checks = [\"test\"], checks_wait_s = 600").await;
    let mut dry = ask("web", COMMIT);
    dry["dry_run"] = json!(true);
    let pending = format!("An order that is no dry run would wait now. It waits for the checks of commit {COMMIT}: test is pending.");
    let silent = "An order that is no dry run would wait now. It waits for the checks";
    for (runs, wanted, said) in [
        (vec![("test", 1, 1, "success")], Ok(()), "are green: test."),
        (vec![("test", 1, 1, "running")], Ok(()), pending.as_str()),
        (vec![], Ok(()), silent),
        (vec![("test", 1, 1, "failure")], Err("test is red"), "test is red"),
    ] {
        forge.has_runs(COMMIT, &runs);
        let answer = Call::post("/api/v1/deployments", &dry).by(rig.key()).send(&rig).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        assert_ended(&rig.ended(&id).await, wanted);
        let journal = journal(&rig, &id).await;
        assert!(journal.contains(said), "{said} is not in {journal}");
    }
    dry["commit"] = Value::Null;
    assert_refused(&Call::post("/api/v1/deployments", &dry).by(rig.key()).send(&rig).await, 422, "checks");
    forge.assert_well_asked();
    rig.finish().await;
}

async fn an_order_waits_for_its_checks_and_holds_up_nobody(database: Database) {
    let forge = Forge::start("github").await;
    let mut plan = plan(database, &forge, "require_checks = [\"test\"], checks_wait_s = 600");
    plan.server += "\nmax_running = 1";
    let mut rig = plan.start().await;
    forge.has_runs(COMMIT, &[("test", 1, 1, "running")]);
    forge.has_runs(OTHER, &[("test", 1, 1, "success")]);
    let id = order(&rig, "web", COMMIT).await;
    let why = waiting(&rig, &id).await;
    assert_eq!(why, format!("It waits for the checks of commit {COMMIT}: test is pending."));
    // Another service has the one place meanwhile.
    let other = order(&rig, "db", OTHER).await;
    assert_ended(&rig.ended(&other).await, Ok(()));
    let status = Call::get("/api/v1/services/web").by(rig.key()).send(&rig).await.json();
    assert_eq!(status["blocked"], json!(why), "{status:#}");
    rig.restart().await;
    assert_eq!(rig.show(&id).await["waits_for"], "checks");
    let asked = forge.asked();
    until("the checks are asked about again", async || (forge.asked() > asked).then_some(())).await;
    let said = rig.count("SELECT COUNT(*) FROM lines WHERE text LIKE 'It waits for%'").await;
    assert_eq!(said, 1, "what does not change is said once");
    forge.has_runs(COMMIT, &[("test", 1, 1, "success")]);
    assert_ended(&rig.ended(&id).await, Ok(()));
    forge.assert_well_asked();
    rig.finish().await;
}

async fn an_order_that_waits_for_its_checks_gives_way(database: Database) {
    let forge = Forge::start("github").await;
    let rig = rig(database, &forge, "require_checks = [\"test\"], checks_wait_s = 600").await;
    forge.has_runs(OTHER, &[("test", 1, 1, "success")]);
    let mut patience = vec![Manner::Well];
    // While the forge is asked as well.
    patience.push(Manner::Silent);
    for manner in patience {
        let outcome_of = async |id: &str| rig.ended(id).await["outcome"].clone();
        let begin = async || {
            forge.behaves(manner.clone());
            let called = forge.called();
            let id = order(&rig, "web", COMMIT).await;
            until("the forge is asked", async || (forge.called() > called).then_some(())).await;
            rig.until(&id, |shown| shown["waits_for"] == "checks").await;
            id
        };
        let id = begin().await;
        assert_eq!(rig.act(rig.key(), &format!("/api/v1/deployments/{id}/cancel")).await.status, 200);
        assert_eq!(outcome_of(&id).await, "cancelled");
        let id = begin().await;
        forge.behaves(Manner::Well);
        let newer = order(&rig, "web", OTHER).await;
        assert_eq!(outcome_of(&id).await, "superseded");
        assert_ended(&rig.ended(&newer).await, Ok(()));
        let id = begin().await;
        rig.record_landed("web", "v0").await;
        let back = Call::post("/api/v1/rollbacks", &json!({ "service": "web", "to": { "tag": "v0" } })).by(rig.key()).send(&rig).await;
        assert_eq!(back.json()["superseded"], json!(id), "{}", back.text);
        assert_ended(&rig.ended(back.json()["id"].as_str().unwrap()).await, Ok(()));
        assert_eq!(outcome_of(&id).await, "superseded");
    }
    rig.finish().await;
}

async fn a_forge_that_is_away_may_be_waited_for(database: Database) {
    let forge = Forge::start("forgejo").await;
    let rig = rig(database, &forge, "require_checks = [\"test\"], checks_wait_s = 20, checks_unreachable = \"wait\"").await;
    forge.has_statuses(COMMIT, &[("test", "success")]);
    for manner in [Manner::Status(503), Manner::Garbage, Manner::Limited(2)] {
        forge.behaves(manner);
        let id = order(&rig, "web", COMMIT).await;
        assert!(waiting(&rig, &id).await.starts_with("It waits for the forge hub"));
        forge.behaves(Manner::Well);
        assert_ended(&rig.ended(&id).await, Ok(()));
    }
    // One that says no is not waited for.
    forge.behaves(Manner::Status(403));
    let id = order(&rig, "web", COMMIT).await;
    assert_ended(&rig.ended(&id).await, Err("must be allowed to read"));
    forge.assert_well_asked();
    rig.finish().await;
}

/// Of two servers one asks at a time, and the other one goes on when that one has gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_servers_one_asks() {
    let forge = Forge::start("github").await;
    let rig = rig(Database::Postgres, &forge, "require_checks = [\"test\"], checks_wait_s = 600").await;
    let beside = rig.beside().await;
    forge.has_runs(COMMIT, &[("test", 1, 1, "running")]);
    let id = order(&rig, "web", COMMIT).await;
    until("it was asked about a few times", async || {
        (rig.count("SELECT COALESCE(MAX(asked), 0) FROM deployments").await >= 2).then_some(())
    })
    .await;
    let (asked, recorded) = (forge.asked() as i64, rig.count("SELECT COALESCE(MAX(asked), 0) FROM deployments").await);
    assert!((asked..=asked + 1).contains(&recorded) || (recorded..=recorded + 1).contains(&asked), "{asked} {recorded}");
    beside.stop().await;
    forge.has_runs(COMMIT, &[("test", 1, 1, "success")]);
    assert_ended(&rig.ended(&id).await, Ok(()));
    assert_eq!(journal(&rig, &id).await.matches("are green").count(), 1);
    rig.finish().await;
}

async fn only_refs_and_actors_that_are_allowed_get_in(database: Database) {
    let (forge, issuer) = (Forge::start("github").await, Issuer::start().await);
    let mut plan = plan(database, &forge, "refs = [\"refs/heads/main\"], actors = [\"Mona\"]");
    plan.tables += &issuer.policy(&["deploy:web"]);
    let rig = plan.start().await;
    let send = async |git_ref: Value, actor: Value| {
        let mut claims = issuer.claims_with("actor", actor);
        claims["ref"] = git_ref;
        let call = Call::post("/api/v1/deployments", &json!({ "service": "web", "tag": "v1" }));
        call.header("authorization", format!("Bearer {}", issuer.key.token(&claims))).send(&rig).await
    };
    let rows = rig.rows().await;
    for actor in [json!("bob"), json!(""), Value::Null, json!(7), json!("mona\n")] {
        assert_refused(&send(json!("refs/heads/main"), actor).await, 422, "actor");
    }
    // No forge has said who is behind the call of a key, and no body may.
    let by_key = Call::post("/api/v1/deployments", &ask("web", COMMIT)).by(rig.key()).send(&rig).await;
    assert_refused(&by_key, 422, "actor");
    let mut claimed = ask("web", COMMIT);
    claimed["actor"] = json!("mona");
    assert_refused(&Call::post("/api/v1/deployments", &claimed).by(rig.key()).send(&rig).await, 400, "bad_request");
    let mut elsewhere = ask("web", COMMIT);
    elsewhere["ref"] = json!("refs/heads/other");
    let answer = Call::post("/api/v1/deployments", &elsewhere).by(rig.key()).send(&rig).await;
    assert_refused(&answer, 422, "ref");
    assert!(answer.text.contains("only refs/heads/main may be deployed to web (source.refs)"), "{}", answer.text);
    assert_eq!(rig.rows().await[0], rows[0]);
    let answer = send(json!("refs/heads/main"), json!("mona")).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(rig.ended(&id).await["actor"], "mona");
    // A key that orders it once more is nobody whom the forge knows.
    assert_refused(&rig.act(rig.key(), &format!("/api/v1/deployments/{id}/retry")).await, 422, "actor");
    assert_eq!(forge.called(), 0);
    rig.finish().await;
}

/// What the forge says of the checks that `commit` must have, for `main`.
async fn told(forge: &Forge, commit: &str, git_ref: Option<&str>, which: &WhichChecks) -> Result<String, String> {
    // As a server does at its start.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = folder();
    std::fs::write(folder.path().join("forge.token"), TOKEN).unwrap();
    let file = folder.path().join("tagalong.toml");
    std::fs::write(&file, format!("version = 1\n[server]\n{}", forge.table())).unwrap();
    let config = config::Config::load(&file).unwrap();
    let client = forge::Forge::new(&config.forges[0]).unwrap();
    let (repository, commit) = (ForgeRepository::parse("acme/web").unwrap(), CommitName::parse(commit).unwrap());
    let question = forge::Question { repository: &repository, commit: &commit, git_ref, which };
    let told = client.checks(&question).await.map_err(|error| error.to_string())?;
    Ok(if told.checks.are_green() { forge::listed(&told.checks.green) } else { told.checks.in_the_way() })
}

const MAIN: Option<&str> = Some("refs/heads/main");

#[tokio::test]
async fn github_is_asked_for_what_protects_the_branch() {
    let forge = Forge::start("github").await;
    let statuses: Vec<(String, &str)> = (0..230).map(|number| (format!("filler {number}"), "failure")).collect();
    let statuses: Vec<(&str, &str)> = statuses.iter().map(|(name, state)| (name.as_str(), *state)).chain([("lint", "success")]).collect();
    forge.has_statuses(COMMIT, &statuses);
    let branch = |required: Value| json!({ "name": "main", "protected": true, "protection": { "enabled": true, "required_status_checks": required } });
    let rule = |context: &str, app: Option<u64>| {
        let mut check = json!({ "context": context });
        if let Some(app) = app {
            check["integration_id"] = json!(app);
        }
        json!({ "type": "required_status_checks", "parameters": { "required_status_checks": [check] } })
    };
    let other = json!({ "type": "deletion" });
    let none = json!({ "enforcement_level": "off", "contexts": [], "checks": [] });
    let of_app = |app: i64| json!({ "contexts": ["test"], "checks": [{ "context": "test", "app_id": app }] });
    for (required, rules, runs, wanted) in [
        (json!({ "contexts": ["lint"] }), vec![], vec![], "lint"),
        (none.clone(), vec![other.clone(), rule("lint", None)], vec![], "lint"),
        (none.clone(), vec![rule("tagalong/web", None), rule("lint", None)], vec![], "lint"),
        (of_app(-1), vec![rule("lint", None)], vec![("test", 1, 9, "success")], "lint, test"),
        (of_app(15368), vec![], vec![("test", 1, 9, "success")], "test is missing"),
        (of_app(15368), vec![], vec![("test", 1, 9, "failure"), ("test", 2, 15368, "success")], "test"),
        (none.clone(), vec![rule("test", Some(7))], vec![("test", 1, 7, "running")], "test is pending"),
        (none.clone(), vec![rule("lint", Some(7))], vec![], "lint is missing"),
        (Value::Null, vec![other], vec![], "requires no checks"),
        (none, vec![], vec![], "requires no checks"),
    ] {
        forge.protects(branch(required.clone()), rules.clone());
        forge.has_runs(COMMIT, &runs);
        let told = told(&forge, COMMIT, MAIN, &WhichChecks::Protected).await;
        let is_it = told.as_ref().map_or_else(|error| error.contains(wanted), |told| told == wanted);
        assert!(is_it, "{required} {rules:?} {runs:?}: {told:?}, not {wanted}");
    }
    // A branch that does not say how it is protected is none that requires nothing.
    forge.protects(json!({ "name": "main", "protected": true }), vec![rule("lint", None)]);
    assert!(told(&forge, COMMIT, MAIN, &WhichChecks::Protected).await.is_err());
    assert!(told(&forge, COMMIT, Some("refs/tags/v1"), &WhichChecks::Protected).await.is_err_and(|why| why.contains("is not a branch")));
    let named = WhichChecks::Named(vec!["lint".into()]);
    for git_ref in [None, MAIN, Some("refs/tags/v1")] {
        assert_eq!(told(&forge, &COMMIT[..8], git_ref, &named).await, Ok("lint".into()), "{git_ref:?}");
    }
    assert!(told(&forge, OF_A_FORK, None, &named).await.is_err_and(|why| why.contains("send the branch")));
    assert!(told(&forge, COMMIT, Some("refs/heads/gone"), &named).await.is_err());
    forge.assert_well_asked();
}

#[tokio::test]
async fn forgejo_and_gitea_are_asked_for_what_protects_the_branch() {
    for kind in ["forgejo", "gitea"] {
        let forge = Forge::start(kind).await;
        let many: Vec<String> = (0..120).map(|number| format!("ci / job {number} (push)")).collect();
        let green: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "success")).collect();
        let of = |last: &[(&'static str, &'static str)]| green.iter().copied().chain(last.iter().copied()).collect::<Vec<_>>();
        let branch = |is_on: bool, contexts: Value| json!({ "name": "main", "protected": is_on, "enable_status_check": is_on, "status_check_contexts": contexts });
        let test = [("ci / test (push)", "failure"), ("ci / test (push)", "pending"), ("ci / test (push)", "success")];
        for (protection, statuses, wanted) in [
            (branch(true, json!(["ci / test (*)"])), of(&test), "ci / test (push)"),
            (branch(true, json!(["ci / test (*)"])), of(&test[..2]), "ci / test (push) is pending"),
            (branch(true, json!(["ci / job 7 *", "e2e"])), of(&[]), "e2e is missing"),
            (branch(true, json!(["ci / *"])), of(&test[..1]), "ci / test (push) is red"),
            (branch(true, json!([])), vec![("a", "success"), ("tagalong/web", "pending")], "a"),
            (branch(true, Value::Null), vec![("a", "success"), ("b", "warning")], "b is red"),
            (branch(true, json!([])), vec![], "* is missing"),
            (branch(false, json!(["a"])), vec![("a", "success")], "requires no checks"),
        ] {
            forge.protects(protection.clone(), Vec::new());
            forge.has_statuses(COMMIT, &statuses);
            let told = told(&forge, COMMIT, MAIN, &WhichChecks::Protected).await;
            let is_it = told.as_ref().map_or_else(|error| error.contains(wanted), |told| told == wanted);
            assert!(is_it, "{kind} {protection}: {told:?}, not {wanted}");
        }
        let named = WhichChecks::Named(vec!["ci / test (push)".into()]);
        forge.has_statuses(COMMIT, &of(&test));
        assert_eq!(told(&forge, &COMMIT[..8], None, &named).await, Ok("ci / test (push)".into()));
        assert!(told(&forge, OF_A_FORK, MAIN, &named).await.is_err_and(|why| why.contains("is not on main")));
        forge.assert_well_asked();
    }
}
