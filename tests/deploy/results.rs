//! What a forge shows of an order, and that nothing a forge does changes an outcome.

use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use crate::cluster::Database;
use crate::forge::Fault;
use crate::forge::Forge;
use crate::receiver::Receiver;
use crate::support::host;
use crate::support::until;
use crate::world::Settings;
use crate::world::World;

async fn world_of(forge: &Forge, database: Database) -> World {
    World::new(&Settings { service: forge.config(), database, ..Settings::default() }).await
}

/// The commit of a tag.
fn sha(tag: &str) -> String {
    format!("{:0>40}", tag.trim_start_matches('v'))
}

async fn order(world: &World, tag: &str) -> String {
    let run_url = "https://git.example.com/acme/web/actions/runs/7";
    let body = json!({"service": "web", "tag": tag, "commit": sha(tag), "run_url": run_url});
    world.server().order("/api/v1/deployments", body).await
}

async fn becomes(world: &World, id: &str, outcome: &str) {
    let ended = world.server().outcome(id).await;
    assert_eq!(ended["outcome"], outcome, "{ended}\n{}", world.server().journal(id).await);
}

/// Waits until the commit of `tag` has `state` as its newest status.
async fn has_status(forge: &Forge, tag: &str, state: &str) {
    until(&format!("{tag} is {state}"), || forge.statuses_of(&sha(tag)).last().is_some_and(|last| last == state)).await;
}

/// Waits until the newest deployment of the commit of `tag` is in `state`.
async fn has_deployment(forge: &Forge, tag: &str, state: &str) {
    let newest = || forge.deployments_of(&sha(tag)).pop().and_then(|(_, states)| states.last().cloned());
    until(&format!("the deployment of {tag} is {state}"), || newest().is_some_and(|last| last == state)).await;
}

async fn what_becomes_of_orders_stands_at_github(database: Database) {
    let forge = Forge::github();
    let world = world_of(&forge, database).await;
    world.arm("pull@v1", "hang");
    let first = order(&world, "v1").await;
    world.reached("pull@v1").await;
    has_deployment(&forge, "v1", "in_progress").await;
    world.arm("pull@v2", "hang");
    let second = order(&world, "v2").await;
    has_deployment(&forge, "v2", "queued").await;
    has_status(&forge, "v2", "pending").await;
    world.disarm("pull@v1");
    becomes(&world, &first, "live").await;
    has_deployment(&forge, "v2", "in_progress").await;
    has_deployment(&forge, "v1", "success").await;
    world.disarm("pull@v2");
    becomes(&world, &second, "live").await;
    has_deployment(&forge, "v2", "success").await;
    // The one before is inactive, and its commit keeps what became of it.
    has_deployment(&forge, "v1", "inactive").await;
    has_status(&forge, "v1", "success").await;
    world.arm("page@v3", "fail");
    becomes(&world, &order(&world, "v3").await, "rolled_back").await;
    has_deployment(&forge, "v3", "failure").await;
    has_status(&forge, "v3", "failure").await;
    let states = |tag: &str| forge.deployments_of(&sha(tag)).pop().map(|(_, states)| states).unwrap_or_default();
    assert_eq!(states("v2"), ["queued", "in_progress", "success"]);
    assert_eq!(forge.statuses_of(&sha("v2")), ["pending", "pending", "success"]);
    // An operator goes back: a deployment of its own, and the commit that was left says so.
    let back = world.server().roll_back(json!("previous")).await;
    becomes(&world, &back, "live").await;
    has_deployment(&forge, "v2", "inactive").await;
    has_status(&forge, "v2", "failure").await;
    until("the rollback succeeded", || {
        let all = forge.deployments_of(&sha("v1"));
        all.len() == 2 && all[1].0 == "rollback" && all[1].1.last().is_some_and(|last| last == "success")
    })
    .await;
    has_status(&forge, "v1", "success").await;
    is_settled(&world).await;
    forge.is_in_order();
    world.finish().await;
}

/// Nothing is owed to the forge any more.
async fn is_settled(world: &World) {
    for _ in 0..6000 {
        if world.server().get("/api/v1/services/web").await.1["owed"].is_null() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{}", world.server().get("/api/v1/services/web").await.1["owed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_becomes_of_orders_stands_at_github_on_sqlite() {
    what_becomes_of_orders_stands_at_github(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_becomes_of_orders_stands_at_github_on_postgresql() {
    what_becomes_of_orders_stands_at_github(Database::Postgres).await;
}

/// While a forge fails in every way, orders end as they would; when it is back, what became of them arrives, each once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forge_that_fails_changes_no_outcome_and_misses_nothing() {
    let forge = Forge::github();
    let world = world_of(&forge, Database::Sqlite).await;
    let away = "upstream is away";
    for (tag, fault) in [
        ("v1", Fault::Says(500, "x-fault: 1", away)),
        ("v2", Fault::Hangs),
        ("v3", Fault::Says(403, "retry-after: 2", "You have exceeded a secondary rate limit")),
    ] {
        forge.set(fault);
        becomes(&world, &order(&world, tag).await, "live").await;
        until("the fault is met", || forge.shown().met > 0).await;
        if tag == "v3" {
            // Nobody calls before the time that the forge has named.
            until("it is called again", || forge.shown().met > 1).await;
            let calls = forge.shown().calls.clone();
            assert!(calls.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_secs(2)), "{calls:?}");
        }
        forge.set(Fault::Nothing);
        has_status(&forge, tag, "success").await;
        has_deployment(&forge, tag, "success").await;
        is_settled(&world).await;
    }
    // The token may not see the repository any more: that is said, and tried again when the configuration is read again.
    forge.set(Fault::Says(404, "x-fault: 1", "Not Found"));
    let id = order(&world, "v4").await;
    becomes(&world, &id, "live").await;
    let status = refused(&world, &id).await;
    let why = status["why"].as_str().unwrap_or_default();
    assert!(why.contains("has no such thing, or the token may not see it (404): Not Found."), "{status}");
    assert!(cli_status(&world).contains(&format!("ended of {id}, but refused it")), "{}", cli_status(&world));
    forge.set(Fault::Nothing);
    host("kill", &["-HUP", &world.server().pid().to_string()]);
    has_status(&forge, "v4", "success").await;
    has_deployment(&forge, "v4", "success").await;
    is_settled(&world).await;
    forge.is_in_order();
    world.finish().await;
}

/// A forge is away while one order ends, tagalong is killed, and another order ends: what became of both arrives, each once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forge_that_is_away_over_a_restart_hears_of_every_order() {
    let forge = Forge::github();
    let mut world = world_of(&forge, Database::Sqlite).await;
    forge.set(Fault::Says(503, "x-fault: 1", "upstream is away"));
    becomes(&world, &order(&world, "v1").await, "live").await;
    until("the forge is tried", || forge.shown().met > 0).await;
    world.kill();
    forge.shown().met = 0;
    world.start().await;
    until("it is tried again by the next life", || forge.shown().met > 0).await;
    world.arm("page@v2", "fail");
    becomes(&world, &order(&world, "v2").await, "rolled_back").await;
    becomes(&world, &order(&world, "v3").await, "live").await;
    forge.set(Fault::Nothing);
    for (tag, state) in [("v1", "success"), ("v2", "failure"), ("v3", "success")] {
        has_status(&forge, tag, state).await;
        let said = forge.statuses_of(&sha(tag)).iter().filter(|one| *one == state).count();
        assert_eq!(said, 1, "{tag}: {:?}", forge.statuses_of(&sha(tag)));
    }
    has_deployment(&forge, "v3", "success").await;
    is_settled(&world).await;
    // The first release does not serve any more, and nothing says that it does.
    let first = forge.deployments_of(&sha("v1")).pop().and_then(|(_, states)| states.last().cloned());
    assert!(first.as_deref().is_none_or(|last| last == "inactive"), "{first:?}");
    forge.is_in_order();
    world.finish().await;
}

/// `tagalong doctor` asks each forge, shows nothing there, and says what the token lacks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_asks_the_forge_whether_results_can_be_shown() {
    for forge in [Forge::github(), Forge::github_for_an_app(), Forge::forgejo()] {
        let world = world_of(&forge, Database::Sqlite).await;
        let row = || {
            let ran = std::process::Command::new(env!("CARGO_BIN_EXE_tagalong"))
                .args(["doctor", "--socket"])
                .arg(world.path("s"))
                .arg("--config")
                .arg(world.path("tagalong.toml"))
                .output()
                .expect("it runs");
            let said = String::from_utf8_lossy(&ran.stdout).into_owned();
            let at = said.find("web: forge mine").unwrap_or_else(|| panic!("no row of the forge: {said}"));
            let mark = said[..at].trim_end().chars().last().expect("a mark");
            (mark, said[at..].split_whitespace().collect::<Vec<_>>().join(" "))
        };
        let (mark, said) = row();
        assert!(mark == '✓' && said.contains("results can be shown on commits of acme/web at"), "{mark} {said}");
        for (status, part) in [(404, "the token may not see it (404)"), (403, "(403)"), (500, "500")] {
            forge.set(Fault::Says(status, "x-fault: 1", "Resource not accessible"));
            let (mark, said) = row();
            assert!(mark == '✗' && said.contains("results cannot be shown on commits of acme/web"), "{mark} {said}");
            assert!(said.contains(part) || said.contains("The App 4711 is not installed on acme/web"), "{said}");
        }
        forge.set(Fault::Nothing);
        if forge.config().contains("forgejo") {
            forge.shown().may_push = false;
            let (mark, said) = row();
            assert!(mark == '✗' && said.contains("may not write to acme/web, which a status of a commit needs"), "{mark} {said}");
        }
        assert!(forge.shown().statuses.is_empty() && forge.shown().deployments.is_empty(), "it has shown something");
        forge.is_in_order();
        world.finish().await;
    }
}

/// A token that is given its permission back needs nobody who tells the server so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_forge_has_refused_arrives_when_it_is_allowed_again() {
    let forge = Forge::github();
    let service = forge.config().replace("[[forge]]\n", "[[forge]]\nrefused_retry_s = 1\n");
    assert!(service.contains("refused_retry_s"));
    let world = World::new(&Settings { service, ..Settings::default() }).await;
    forge.set(Fault::Says(403, "x-fault: 1", "Resource not accessible by personal access token"));
    let id = order(&world, "v1").await;
    becomes(&world, &id, "live").await;
    let owed = refused(&world, &id).await;
    assert!(owed["retry_ms"].as_i64() == owed["refused_ms"].as_i64().map(|at_ms| at_ms + 1000), "{owed}");
    assert!(cli_status(&world).contains("It is tried again by itself at"), "{}", cli_status(&world));
    let tries = owed["tries"].as_i64();
    until_some_try(&world, &id, tries).await;
    forge.set(Fault::Nothing);
    has_status(&forge, "v1", "success").await;
    has_deployment(&forge, "v1", "success").await;
    is_settled(&world).await;
    forge.is_in_order();
    world.finish().await;
}

/// Waits until the forge has refused it once more.
async fn until_some_try(world: &World, id: &str, tries: Option<i64>) {
    for _ in 0..6000 {
        if refused(world, id).await["tries"].as_i64() > tries {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("what the forge refused is not tried again");
}

/// What is owed of the end of a deployment, when the forge has refused it.
async fn refused(world: &World, id: &str) -> Value {
    for _ in 0..6000 {
        let (_, service) = world.server().get("/api/v1/services/web").await;
        let is_it = |one: &&Value| one["deployment"] == id && one["what"] == "status ended" && one["refused_ms"].is_i64();
        if let Some(one) = service["owed"].as_array().into_iter().flatten().find(is_it) {
            return one.clone();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the forge has not refused {id}");
}

fn cli_status(world: &World) -> String {
    let ran = std::process::Command::new(env!("CARGO_BIN_EXE_tagalong"))
        .args(["status", "web", "--socket"])
        .arg(world.path("s"))
        .env("COLUMNS", "1000")
        .output()
        .expect("it runs");
    String::from_utf8_lossy(&ran.stdout).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// An App; the server dies after a call was carried out and before its answer came. Then its token is withdrawn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_between_a_call_and_its_answer_shows_nothing_twice() {
    let forge = Forge::github_for_an_app();
    let mut world = world_of(&forge, Database::Sqlite).await;
    for (tag, call) in [("v1", "/deployments"), ("v2", "/statuses")] {
        forge.set(Fault::Swallows(call));
        becomes(&world, &order(&world, tag).await, "live").await;
        until("the call is carried out", || forge.shown().met > 0).await;
        world.kill();
        forge.set(Fault::Nothing);
        world.start().await;
        has_status(&forge, tag, "success").await;
        has_deployment(&forge, tag, "success").await;
    }
    is_settled(&world).await;
    forge.shown().tokens.withdraw();
    becomes(&world, &order(&world, "v3").await, "live").await;
    has_status(&forge, "v3", "success").await;
    assert_eq!(forge.shown().tokens.refused, 1, "a token that was withdrawn is not shown again");
    is_settled(&world).await;
    forge.is_in_order();
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_of_forgejo_get_statuses() {
    let forge = Forge::forgejo();
    let world = world_of(&forge, Database::Sqlite).await;
    becomes(&world, &order(&world, "v1").await, "live").await;
    has_status(&forge, "v1", "success").await;
    world.arm("page@v2", "fail");
    becomes(&world, &order(&world, "v2").await, "rolled_back").await;
    has_status(&forge, "v2", "failure").await;
    // Without a commit there is nothing to show.
    world.land("v3").await;
    is_settled(&world).await;
    assert!(forge.shown().statuses.iter().all(|one| one["context"] == "tagalong/web"));
    forge.is_in_order();
    world.finish().await;
}

/// People hear of what failed, of the first release that is live after it, and of a rollback that somebody orders; in between tagalong is
/// killed, and what it had not told by then is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_hear_of_failures_recoveries_and_rollbacks() {
    let phone = Receiver::start().await;
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("token"), "gotifytoken").expect("a file");
    let table = format!(
        "[[notify]]\nid = \"phone\"\nkind = \"gotify\"\nservices = [\"web\"]\nurl = \"{}\"\ntoken_file = \"{}/token\"\n",
        phone.url("/gotify"),
        dir.path().display()
    );
    let mut world = World::new(&Settings { service: table, ..Settings::default() }).await;
    world.land("v1").await;
    phone.set_fault(503, "x: y", "it is away");
    world.arm("page@v2", "fail");
    becomes(&world, &order(&world, "v2").await, "rolled_back").await;
    until("the phone was tried", || phone.seen().met > 0).await;
    world.kill();
    phone.seen().fault = None;
    world.start().await;
    world.land("v3").await;
    let back = world.server().roll_back(json!("previous")).await;
    becomes(&world, &back, "live").await;
    let wanted =
        ["v2 of web failed and was rolled back; ", "web has recovered: v3 of web is live.", "web was rolled back; v1 of web serves again."];
    let heard = || {
        phone.calls().iter().map(|called| format!("{}\n{}\n", called.body["title"], called.body["message"])).collect::<Vec<_>>().concat()
    };
    until("all of it is heard", || wanted.iter().all(|part| heard().contains(part))).await;
    for part in wanted {
        assert_eq!(heard().matches(part).count(), 1, "{part} in {}", heard());
    }
    assert!(heard().contains("tagalong resume web") && !heard().contains("v1 of web is live"), "{}", heard());
    world.finish().await;
}
