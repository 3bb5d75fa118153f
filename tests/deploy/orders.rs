//! What callers do to each other, and where the story ends when there is nothing to go back to, or nothing that may be.

use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use crate::cluster::Database;
use crate::support::Server;
use crate::support::host;
use crate::support::until;
use crate::world::ENV;
use crate::world::Settings;
use crate::world::World;

async fn world_with(service: &str) -> World {
    World::new(&Settings { service: service.to_owned(), ..Settings::default() }).await
}

/// Orders a tag and gives what became of it.
async fn deploy(world: &World, tag: &str) -> Value {
    let id = world.server().deploy(tag).await;
    world.server().outcome(&id).await
}

async fn roll_back(world: &World, to: Value) -> Value {
    let id = world.server().roll_back(to).await;
    world.server().outcome(&id).await
}

fn is_outcome(ended: &Value, name: &str) {
    assert_eq!(ended["outcome"], name, "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_those_who_wait_the_newest_is_carried_out() {
    let world = World::landed(&Settings::default()).await;
    world.arm("pull@v2", "hang");
    let running = world.server().deploy("v2").await;
    world.reached("pull@v2").await;
    let waits = world.server().deploy("v3").await;
    let newest = world.server().deploy("v4").await;
    let superseded = world.server().outcome(&waits).await;
    is_outcome(&superseded, "superseded");
    assert_eq!(superseded["by"], newest);
    assert!(world.server().journal(&waits).await.contains(&format!("superseded by {newest}")));
    world.disarm("pull@v2");
    is_outcome(&world.server().outcome(&running).await, "live");
    is_outcome(&world.server().outcome(&newest).await, "live");
    assert_eq!((world.running(), world.env()), ("v4".into(), world.env_of("v4")));
    world.finish().await;
}

/// It is measured how long the page is away while compose replaces the container, and told beside the last times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_long_the_page_was_away_is_told_and_decides_nothing() {
    let world = World::landed(&Settings::default()).await;
    for (tag, outcome) in [("v2", "live"), ("v3", "rolled_back")] {
        world.arm(&format!("up@{tag}"), "hang");
        world.arm(&format!("health@{tag}"), "hang");
        if outcome == "rolled_back" {
            world.arm(&format!("page@{tag}"), "fail");
        }
        let id = world.server().deploy(tag).await;
        world.reached(&format!("up@{tag}")).await;
        // The old container is gone, and that is noticed; then that the new one is there.
        for (seen, then) in [("away", "up"), ("back", "health")] {
            world.forget(seen);
            world.reached(seen).await;
            world.disarm(&format!("{then}@{tag}"));
        }
        is_outcome(&world.server().outcome(&id).await, outcome);
        let shown = world.server().show(&id).await;
        let number = |name: &str| shown["away"][name].as_u64().unwrap_or_else(|| panic!("{name}: {shown}"));
        let (requests, failed) = (number("requests"), number("failed"));
        assert!(failed >= 1 && requests > failed && number("away_ms") > 0 && shown["away"]["is_away"] == false, "{shown}");
        let journal = world.server().journal(&id).await;
        let told = journal.lines().find(|line| line.contains("the page answered again after")).expect(&journal);
        assert!(told.contains(&format!(": {failed} of {requests} requests failed")), "{told}");
        assert!(outcome == "live" || told.contains("(away in the deployments before: "), "{told}");
    }
    let metrics = world.server().text("/metrics").await;
    assert!(metrics.contains("tagalong_page_away_seconds{service=\"web\"}"), "{metrics}");
    the_command_line_shows_it(&world).await;
    world.finish().await;
}

/// The last deployment's measurement stands in `status` beside those before, and each one in `history`.
async fn the_command_line_shows_it(world: &World) {
    let (_, service) = world.server().get("/api/v1/services/web").await;
    let (_, page) = world.server().get("/api/v1/deployments?service=web").await;
    let measured: Vec<&serde_json::Value> = page["deployments"].as_array().unwrap().iter().filter(|one| one["away"].is_object()).collect();
    let shown = service["away"].as_array().unwrap_or_else(|| panic!("{service}"));
    assert_eq!(shown.len(), measured.len(), "{service}");
    assert!(shown.len() >= 2, "{service}");
    for (shown, stored) in shown.iter().zip(&measured) {
        assert_eq!(shown["deployment"], stored["id"]);
        for key in ["requests", "failed", "away_ms", "is_away"] {
            assert_eq!(shown[key], stored["away"][key], "{key}");
        }
    }
    let sentence = |one: &serde_json::Value| format!(": {} of {} requests failed", one["failed"], one["requests"]);
    let status = cli(world, "status");
    let line = status.lines().find(|line| line.starts_with("  page ")).unwrap_or_else(|| panic!("{status}"));
    let id = shown[0]["deployment"].as_str().unwrap();
    assert!(line.contains(&format!("during {id} the page answered again after ")), "{line}");
    assert!(line.contains(&format!("{}; away in the deployments before: ", sentence(&shown[0]))), "{line}");
    let history = cli(world, "history");
    for one in shown.iter().filter(|one| one["failed"] != 0) {
        assert!(
            history.lines().any(|line| line.starts_with("    the page answered again after ") && line.ends_with(&sentence(one))),
            "{history}"
        );
    }
}

/// What `tagalong COMMAND web` prints.
fn cli(world: &World, command: &str) -> String {
    let program =
        std::process::Command::new(env!("CARGO_BIN_EXE_tagalong")).args([command, "web", "--socket"]).arg(world.path("s")).output();
    let ran = program.expect("it runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).expect("text")
}

/// v2 is being undone, which nothing interrupts; a rollback waits behind it. A question must not take its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_or_an_adoption_takes_nobodys_place() {
    let world = World::landed(&Settings::default()).await;
    world.arm("page@v2", "hang");
    let running = world.server().deploy("v2").await;
    world.reached("page@v2").await;
    world.arm("up@v1", "hang");
    world.arm("page@v2", "fail");
    world.reached("up@v1").await;
    let rollback = world.server().roll_back(json!("previous")).await;
    let (status, answer) =
        world.server().post("/api/v1/deployments", json!({"service": "web", "tag": "v3", "dry_run": true, "force": true})).await;
    assert_eq!(status, 503, "{answer}");
    let adopt = "/api/v1/services/web/adopt";
    let (status, answer) = world.server().post(adopt, json!({"call": format!("POST {adopt}")})).await;
    assert_eq!(status, 503, "{answer}");
    world.disarm("up@v1");
    is_outcome(&world.server().outcome(&running).await, "rolled_back");
    is_outcome(&world.server().outcome(&rollback).await, "live");
    assert_eq!((world.running(), world.env()), ("v1".into(), world.env_of("v1")));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_takes_the_place_of_what_waits() {
    let world = World::landed(&Settings::default()).await;
    world.arm("pull@v2", "hang");
    let running = world.server().deploy("v2").await;
    world.reached("pull@v2").await;
    let waits = world.server().deploy("v3").await;
    let rollback = world.server().roll_back(json!("previous")).await;
    let superseded = world.server().outcome(&waits).await;
    assert_eq!((&superseded["outcome"], &superseded["by"]), (&json!("superseded"), &json!(rollback)), "{superseded}");
    is_outcome(&world.server().outcome(&running).await, "cancelled");
    is_outcome(&world.server().outcome(&rollback).await, "live");
    assert_eq!((world.running(), world.env()), ("v1".into(), world.env_of("v1")));
    world.disarm("pull@v2");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_waits_is_cancelled_at_once() {
    let world = World::landed(&Settings::default()).await;
    world.arm("pull@v2", "hang");
    let running = world.server().deploy("v2").await;
    world.reached("pull@v2").await;
    let waits = world.server().deploy("v3").await;
    let call = format!("/api/v1/deployments/{waits}/cancel");
    let (status, _) = world.server().post(&call, json!({"call": format!("POST {call}")})).await;
    let cancelled = world.server().show(&waits).await;
    assert_eq!((status, &cancelled["outcome"], &cancelled["changed"]), (200, &json!("cancelled"), &json!(false)), "{cancelled}");
    assert!(world.server().journal(&waits).await.contains("cancelled by local:0"), "whoever follows it is told");
    world.disarm("pull@v2");
    is_outcome(&world.server().outcome(&running).await, "live");
    world.finish().await;
}

/// What the undo hook restores must be there before the old release starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undo_hook_that_fails_stops_the_undo() {
    let world = World::landed(&Settings::default()).await;
    world.arm("page@v2", "fail");
    world.arm("undo", "fail");
    let failed = deploy(&world, "v2").await;
    is_outcome(&failed, "rollback_failed");
    assert!(failed["and"].as_str().unwrap().contains("the undo-hook exited with code 1"), "{failed}");
    assert_eq!((world.running(), world.env()), ("v2".into(), world.env_of("v1")));
    world.disarm("undo");
    is_outcome(&roll_back(&world, json!("previous")).await, "live");
    assert_eq!((world.running(), world.env()), ("v1".into(), world.env_of("v1")));
    world.finish().await;
}

/// A rollback that fails is undone as well: what served before it serves again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_that_does_not_hold_brings_the_newer_release_back() {
    let world = World::landed(&Settings::default()).await;
    world.land("v2").await;
    world.arm("health@v1", "fail");
    is_outcome(&roll_back(&world, json!("previous")).await, "rolled_back");
    assert_eq!((world.running(), world.env()), ("v2".into(), world.env_of("v2")));
    world.finish().await;
}

/// A rollback, killed in the middle, is finished by the next start without a registry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_may_be_killed() {
    let mut world = World::landed(&Settings::default()).await;
    world.land("v2").await;
    world.close_registry();
    world.arm("up@v1", "hang");
    let id = world.server().roll_back(json!("previous")).await;
    world.reached("up@v1").await;
    world.kill();
    world.disarm("up@v1");
    world.start().await;
    is_outcome(&world.server().outcome(&id).await, "live");
    assert_eq!((world.running(), world.env()), ("v1".into(), world.env_of("v1")));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_waited_too_long_is_refused() {
    let world = world_with("max_wait_s = 10").await;
    world.land("v1").await;
    world.arm("pull@v2", "hang");
    let running = world.server().deploy("v2").await;
    world.reached("pull@v2").await;
    let waits = world.server().deploy("v3").await;
    let accepted = world.server().show(&waits).await["created_ms"].as_u64().expect("a time");
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    until("its time is over", || now() > Duration::from_millis(accepted + 10_100)).await;
    world.disarm("pull@v2");
    is_outcome(&world.server().outcome(&running).await, "live");
    let refused = world.server().outcome(&waits).await;
    assert_eq!((&refused["outcome"], &refused["guard"]), (&json!("refused"), &json!("age")), "{refused}");
    assert_eq!(world.running(), "v2");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_failure_leave_leaves_the_release_for_a_person() {
    let world = world_with("on_failure = \"leave\"").await;
    world.land("v1").await;
    world.arm("health@v2", "fail");
    let left = deploy(&world, "v2").await;
    is_outcome(&left, "needs_operator");
    assert!(left["why"].as_str().unwrap().contains("is unhealthy: the check says unhealthy"), "{left}");
    assert_eq!((world.running(), world.env()), ("v2".into(), world.env_of("v2")));
    is_outcome(&roll_back(&world, json!("previous")).await, "live");
    assert_eq!((world.running(), world.env()), ("v1".into(), world.env_of("v1")));
    world.finish().await;
}

async fn take_orders_again(world: &World) {
    let (status, _) = world.server().post("/api/v1/services/web/resume", json!({"call": "POST /api/v1/services/web/resume"})).await;
    assert_eq!(status, 200);
}

/// Whether CI's orders are refused, and with which code.
async fn refusal(world: &World) -> Value {
    let (status, answer) = world.server().post("/api/v1/deployments", json!({"service": "web", "tag": "v9"})).await;
    assert_eq!(status, 422, "{answer}");
    answer["code"].clone()
}

/// What is left for an operator keeps CI away: at the door, at the turn, after a restart, and behind a rollback that changed nothing.
/// A person ends it, or a forced order that lands.
async fn after_needs_operator_ci_waits_for_a_person(database: Database) {
    let mut world = World::landed(&Settings { service: "on_failure = \"leave\"".into(), database, ..Settings::default() }).await;
    world.arm("page@v2", "hang");
    let left = world.server().deploy("v2").await;
    world.reached("page@v2").await;
    let waits = world.server().deploy("v3").await;
    world.arm("page@v2", "fail");
    is_outcome(&world.server().outcome(&left).await, "needs_operator");
    let refused = world.server().outcome(&waits).await;
    assert_eq!((&refused["outcome"], &refused["guard"]), (&json!("refused"), &json!("needs_operator")), "{refused}");
    assert!(refused["why"].as_str().unwrap().contains(&left), "{refused}");
    world.kill();
    world.start().await;
    assert_eq!(refusal(&world).await, "needs_operator");
    let (_, shown) = world.server().get("/api/v1/services/web").await;
    assert!(shown["held"].as_str().unwrap().contains(&left), "{shown}");
    is_outcome(&roll_back(&world, json!({"tag": "never-pushed"})).await, "refused");
    assert_eq!(refusal(&world).await, "needs_operator");

    // A forced order that does not land leaves it as it is; one that does ends it.
    let forced = json!({"service": "web", "tag": "v2", "force": true});
    let again = world.server().order("/api/v1/deployments", forced.clone()).await;
    is_outcome(&world.server().outcome(&again).await, "needs_operator");
    assert_eq!(refusal(&world).await, "needs_operator");
    world.disarm("page@v2");
    let lands = world.server().order("/api/v1/deployments", forced).await;
    is_outcome(&world.server().outcome(&lands).await, "live");
    world.land("v3").await;

    world.arm("health@v4", "fail");
    is_outcome(&deploy(&world, "v4").await, "needs_operator");
    take_orders_again(&world).await;
    world.land("v5").await;
    // A rollback takes the service over, and holds it by itself.
    world.arm("health@v6", "fail");
    is_outcome(&deploy(&world, "v6").await, "needs_operator");
    is_outcome(&roll_back(&world, json!("previous")).await, "live");
    assert_eq!(refusal(&world).await, "held");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_after_needs_operator_ci_waits_for_a_person() {
    after_needs_operator_ci_waits_for_a_person(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_after_needs_operator_ci_waits_for_a_person() {
    after_needs_operator_ci_waits_for_a_person(Database::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_with_a_barrier_is_left_and_not_rolled_back_past() {
    let mut world = World::landed(&Settings::default()).await;
    world.push("migrates", &[("tagalong.no-rollback-past", "true")]);
    world.arm("page@migrates", "fail");
    is_outcome(&deploy(&world, "migrates").await, "needs_operator");
    assert_eq!(world.running(), "migrates");
    world.disarm("page@migrates");
    take_orders_again(&world).await;
    world.land("migrates").await;
    let (status, refusal) = world.server().post("/api/v1/rollbacks", json!({"service": "web"})).await;
    assert_eq!((status, &refusal["code"]), (422, &json!("barrier")), "{refusal}");
    let forced = world.server().order("/api/v1/rollbacks", json!({"service": "web", "force": true})).await;
    is_outcome(&world.server().outcome(&forced).await, "live");
    assert_eq!(world.running(), "v1");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_release_that_does_not_hold_is_broken() {
    let world = World::new(&Settings::default()).await;
    world.arm("health@v2", "fail");
    let broken = deploy(&world, "v2").await;
    is_outcome(&broken, "broken");
    let runs = broken["runs"].as_str().unwrap();
    assert!(runs.contains("the pin was restored to its previous content") && runs.contains("site-web-1"), "{broken}");
    assert_eq!((world.running(), world.env()), ("v2".into(), ENV.into()));
    world.land("v3").await;
    assert_eq!(world.running(), "v3");
    world.finish().await;
}

/// A stack that ran before tagalong came, as a person brought it up.
async fn by_hand(settings: &Settings) -> World {
    let world = World::new(settings).await;
    world.by_hand(&["pull", &world.image("v1")]);
    world.by_hand(&["compose", "up", "-d"]);
    assert_eq!(world.running(), "v1");
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unadopted_stack_comes_back_and_is_said_to_be_unverified() {
    let world = by_hand(&Settings::default()).await;
    let before = world.containers();
    world.arm("page@v2", "fail");
    let back = deploy(&world, "v2").await;
    assert_eq!((&back["outcome"], &back["verified_before"]), (&json!("rolled_back"), &json!(false)), "{back}");
    assert!(back["summary"].as_str().unwrap().contains("never been verified"), "{back}");
    assert_eq!((world.running(), world.env()), ("v1".into(), ENV.into()));
    let after = world.containers();
    assert_eq!((&before["db"], &before["worker"]), (&after["db"], &after["worker"]));
    world.finish().await;
}

/// Nobody can say what the record of the last verified release said, and no older one comes up in its place: what ran does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undo_brings_back_what_ran_where_the_record_of_it_does_not_read() {
    let mut world = World::new(&Settings::default()).await;
    world.land("v1").await;
    world.push("v0", &[]);
    world.land("v0").await;
    let spoilt = "UPDATE deployments SET kind = 'promote' WHERE id = (SELECT MAX(deployment) FROM runs WHERE verified = 1)";
    sqlx::query(spoilt).execute(&mut world.database().await).await.expect("it is spoilt");
    world.arm("page@v2", "fail");
    let back = deploy(&world, "v2").await;
    assert_eq!((&back["outcome"], &back["verified_before"]), (&json!("rolled_back"), &json!(false)), "{back}");
    assert_eq!((world.running(), world.env()), ("v0".into(), world.env_of("v0")));
    let mended = "UPDATE deployments SET kind = 'deploy' WHERE kind = 'promote'";
    sqlx::query(mended).execute(&mut world.database().await).await.expect("it is mended");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adopted_stack_is_what_a_deployment_goes_back_to() {
    let world = by_hand(&Settings::default()).await;
    let before = world.containers();
    let id = world.server().order("/api/v1/services/web/adopt", json!({"call": "POST /api/v1/services/web/adopt"})).await;
    let adopted = world.server().outcome(&id).await;
    is_outcome(&adopted, "live");
    assert_eq!((world.containers(), world.env()), (before, ENV.into()), "an adoption changes nothing");
    assert_eq!(adopted["images"], json!([format!("{}@{}", world.image("v1"), world.digest("v1"))]));
    world.arm("page@v2", "fail");
    let back = deploy(&world, "v2").await;
    assert_eq!((&back["outcome"], &back["verified_before"]), (&json!("rolled_back"), &json!(true)), "{back}");
    assert_eq!((world.running(), world.env()), ("v1".into(), world.env_of("v1")));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_runs_can_be_adopted_where_nothing_runs() {
    let world = World::new(&Settings::default()).await;
    let id = world.server().order("/api/v1/services/web/adopt", json!({"call": "POST /api/v1/services/web/adopt"})).await;
    let refused = world.server().outcome(&id).await;
    assert_eq!((&refused["outcome"], &refused["guard"]), (&json!("refused"), &json!("nothing_runs")), "{refused}");
    assert!(world.containers().is_empty());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_that_the_page_had_before_undoes_nothing() {
    let world = World::landed(&Settings::default()).await;
    world.arm("page@v1", "fail");
    world.arm("page@v2", "fail");
    let left = deploy(&world, "v2").await;
    is_outcome(&left, "needs_operator");
    assert!(left["why"].as_str().unwrap().contains("The page had this fault before the deployment"), "{left}");
    assert_eq!(world.running(), "v2");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rollbacks_need_no_registry() {
    let mut world = World::landed(&Settings::default()).await;
    let second = world.land("v2").await;
    world.land("v3").await;
    let neighbours = |world: &World| world.containers().into_iter().filter(|(name, _)| name != "web").collect::<Vec<_>>();
    let before = neighbours(&world);
    world.close_registry();
    for (to, tag) in [(json!("previous"), "v2"), (json!({"tag": "v1"}), "v1"), (json!({"deployment": second}), "v2")] {
        is_outcome(&roll_back(&world, to).await, "live");
        assert_eq!((world.running(), world.env()), (tag.into(), world.env_of(tag)));
    }
    let unknown =
        world.server().post("/api/v1/rollbacks", json!({"service": "web", "to": {"deployment": "01M7YA7QR39BVFQ23R0Q3NBCHT"}})).await;
    assert_eq!((unknown.0, &unknown.1["code"]), (422, &json!("no_target")), "{}", unknown.1);
    assert_eq!(before, neighbours(&world));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_holds_the_service_until_it_is_released() {
    let world = World::landed(&Settings::default()).await;
    world.land("v2").await;
    is_outcome(&roll_back(&world, json!("previous")).await, "live");
    let order = json!({"service": "web", "tag": "v3"});
    let (status, refusal) = world.server().post("/api/v1/deployments", order.clone()).await;
    assert_eq!((status, &refusal["code"]), (422, &json!("held")), "{refusal}");
    let (_, shown) = world.server().get("/api/v1/services/web").await;
    assert!(shown["held"].as_str().unwrap().contains("tagalong resume web"), "{shown}");
    let (status, _) = world.server().post("/api/v1/services/web/resume", json!({"call": "POST /api/v1/services/web/resume"})).await;
    assert_eq!(status, 200);
    world.land("v3").await;
    world.finish().await;
}

/// A rollback that changed nothing leaves the hold as it was: none, another one's, and one that somebody ended meanwhile stays
/// ended. However it changed nothing, and also when tagalong was ended meanwhile.
async fn a_rollback_to_nothing_holds_nothing(database: Database) {
    let settings = Settings { service: "hold_s = 3600".into(), database, ..Settings::default() };
    let mut world = World::landed(&settings).await;
    world.land("v2").await;
    let nowhere = json!({"tag": "never-pushed"});
    assert_eq!(world.hold().await, None);
    is_outcome(&roll_back(&world, nowhere).await, "refused");
    assert_eq!(world.hold().await, None);
    let (status, _) = world.server().post("/api/v1/deployments", json!({"service": "web", "tag": "v3", "dry_run": true})).await;
    assert_eq!(status, 202);
    until_done(&world).await;

    let first = world.server().roll_back(json!("previous")).await;
    is_outcome(&world.server().outcome(&first).await, "live");
    let held = world.hold().await;
    assert!(held.as_ref().is_some_and(|(by, since, until)| *by == first && *until == Some(since + 3_600_000)), "{held:?}");
    come_to_nothing_while_they_run(&mut world, &held).await;
    come_to_nothing_while_they_wait(&world, &held).await;

    // What a person has ended stays ended.
    world.arm("pull@v5", "hang");
    world.forget("pull@v5");
    let running = world.server().roll_back(json!({"tag": "v5"})).await;
    world.reached("pull@v5").await;
    let (status, _) = world.server().post("/api/v1/services/web/resume", json!({"call": "POST /api/v1/services/web/resume"})).await;
    assert_eq!(status, 200);
    world.arm("pull@v5", "fail");
    is_outcome(&world.server().outcome(&running).await, "failed");
    assert_eq!(world.hold().await, None);
    world.finish().await;
}

type Held = Option<(String, i64, Option<i64>)>;

/// Refused, failed, cancelled by another one that is refused, and failed after a restart: each time the hold is as it was.
async fn come_to_nothing_while_they_run(world: &mut World, held: &Held) {
    let nowhere = json!({"tag": "never-pushed"});
    is_outcome(&roll_back(world, nowhere.clone()).await, "refused");
    assert_eq!(world.hold().await, *held);
    world.arm("pull@v5", "fail");
    is_outcome(&roll_back(world, json!({"tag": "v5"})).await, "failed");
    assert_eq!(world.hold().await, *held);
    world.arm("pull@v5", "hang");
    world.forget("pull@v5");
    let running = world.server().roll_back(json!({"tag": "v5"})).await;
    world.reached("pull@v5").await;
    assert_ne!(world.hold().await, *held);
    let pre_empting = world.server().roll_back(nowhere.clone()).await;
    is_outcome(&world.server().outcome(&running).await, "cancelled");
    is_outcome(&world.server().outcome(&pre_empting).await, "refused");
    assert_eq!(world.hold().await, *held, "neither of the two changed anything");

    world.forget("pull@v5");
    let running = world.server().roll_back(json!({"tag": "v5"})).await;
    world.reached("pull@v5").await;
    world.kill();
    world.arm("pull@v5", "fail");
    world.start().await;
    is_outcome(&world.server().outcome(&running).await, "failed");
    assert_eq!(world.hold().await, *held, "a restart forgets nothing of it");
}

/// One that another takes the place of, and that one cancelled. v6 is being undone, which nothing interrupts: they wait behind it.
async fn come_to_nothing_while_they_wait(world: &World, held: &Held) {
    world.arm("page@v6", "hang");
    let id = world.server().order("/api/v1/deployments", json!({"service": "web", "tag": "v6", "force": true})).await;
    world.reached("page@v6").await;
    world.arm("up@v1", "hang");
    world.arm("page@v6", "fail");
    world.reached("up@v1").await;
    let superseded = world.server().roll_back(json!({"tag": "v7"})).await;
    let waits = world.server().roll_back(json!({"tag": "v8"})).await;
    is_outcome(&world.server().outcome(&superseded).await, "superseded");
    assert_eq!(world.hold().await.map(|(by, ..)| by).as_ref(), Some(&waits));
    let (status, _) = world.server().post(&format!("/api/v1/deployments/{waits}/cancel"), json!({})).await;
    assert_eq!(status, 200);
    is_outcome(&world.server().outcome(&waits).await, "cancelled");
    assert_eq!(world.hold().await, *held);
    world.disarm("up@v1");
    is_outcome(&world.server().outcome(&id).await, "rolled_back");
}

async fn until_done(world: &World) {
    let (_, all) = world.server().get("/api/v1/deployments?limit=100").await;
    for one in all["deployments"].as_array().expect("a list") {
        world.server().outcome(one["id"].as_str().expect("an id")).await;
    }
}

mod a_rollback_to_nothing_holds_nothing_on {
    use crate::cluster::Database;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn sqlite() {
        super::a_rollback_to_nothing_holds_nothing(Database::Sqlite).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn postgres() {
        super::a_rollback_to_nothing_holds_nothing(Database::Postgres).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_releases_stay_on_the_host_and_older_ones_go() {
    let world = world_with("keep = 2").await;
    for tag in ["v1", "v2", "v3", "v4"] {
        world.land(tag).await;
    }
    let images = |world: &World| {
        let state = world.state();
        let all = state["images"].as_array().expect("a list").clone();
        let ours = all.into_iter().filter(|image| image["digests"].to_string().contains("acme/web"));
        ours.map(|image| image["digests"][0].as_str().unwrap_or_default().rsplit('@').next().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    let kept = vec![world.digest("v3"), world.digest("v4")];
    until("the older images are gone", || images(&world) == kept).await;
    assert!(world.state().to_string().contains("tagalong.keep/web"), "{}", world.state());
    world.finish().await;
}

/// Two hundred releases of the record whose images left this host long ago.
async fn record_old_releases(world: &World, like: &str) {
    let mut connection = world.database().await;
    let digest = world.digest("v1");
    for table in ["deployments", "runs"] {
        let id = if table == "runs" { "deployment" } else { "id" };
        let columns = format!("SELECT name FROM pragma_table_info('{table}')");
        let columns = sqlx::query(sqlx::AssertSqlSafe(columns)).fetch_all(&mut connection).await.expect("the columns");
        let columns: Vec<String> = columns.iter().map(|row| sqlx::Row::get(row, 0)).collect();
        let value = |name: &String| match name.as_str() {
            name if name == id => "printf('01%024d', n)".to_owned(),
            "images" => format!("replace(images, '{digest}', 'sha256:' || printf('%064d', n))"),
            name => name.to_owned(),
        };
        let values: Vec<String> = columns.iter().map(value).collect();
        let insert = format!(
            "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 200)
             INSERT INTO {table} ({}) SELECT {} FROM {table}, numbers WHERE {id} = '{like}'",
            columns.join(", "),
            values.join(", ")
        );
        let done = sqlx::query(sqlx::AssertSqlSafe(insert)).execute(&mut connection).await.expect("the rows");
        assert_eq!(done.rows_affected(), 200);
    }
}

/// However many releases the record has, Docker is asked once for what there is, and never for each of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_is_not_asked_for_each_release_of_the_record() {
    let world = world_with("keep = 2").await;
    let first = world.land("v1").await;
    record_old_releases(&world, &first).await;
    world.land("v2").await;
    std::fs::write(world.path("world/calls"), "").expect("a file");
    for (tag, gone) in [("v3", "v1"), ("v4", "v2")] {
        world.land(tag).await;
        let digest = world.digest(gone);
        until(&format!("{gone} is gone"), || !world.state()["images"].to_string().contains(&digest)).await;
    }
    let calls = std::fs::read_to_string(world.path("world/calls")).expect("the record");
    let about_images = calls.lines().filter_map(|call| call.split(' ').nth(1)).filter(|verb| ["image", "images"].contains(verb)).count();
    println!("{about_images} questions about images for two releases");
    assert!(about_images > 0, "{calls}");
    assert!(!calls.contains(&"0".repeat(61)), "an image of the record that is not here was asked for: {calls}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_changes_nothing() {
    let world = World::landed(&Settings::default()).await;
    let before = (world.containers(), world.env(), world.state()["images"].clone());
    let id = world.server().order("/api/v1/deployments", json!({"service": "web", "tag": "v2", "dry_run": true})).await;
    let ended = world.server().outcome(&id).await;
    is_outcome(&ended, "dry_run");
    assert!(ended["would_pin"].as_str().unwrap().contains(&world.digest("v2")), "{ended}");
    assert_eq!(before, (world.containers(), world.env(), world.state()["images"].clone()));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_order_is_tried_again_by_a_person() {
    let world = World::landed(&Settings::default()).await;
    world.arm("pull@v2", "fail");
    let id = world.server().deploy("v2").await;
    is_outcome(&world.server().outcome(&id).await, "failed");
    world.disarm("pull@v2");
    let call = format!("/api/v1/deployments/{id}/retry");
    let again = world.server().order(&call, json!({"call": format!("POST {call}")})).await;
    is_outcome(&world.server().outcome(&again).await, "live");
    assert_eq!(world.running(), "v2");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_that_was_moved_is_refused_with_its_digest() {
    let mut world = World::landed(&Settings::default()).await;
    let expected = world.digest("v2");
    world.push("v2", &[("built", "again")]);
    let before = world.containers();
    let id = world.server().order("/api/v1/deployments", json!({"service": "web", "tag": "v2", "digest": expected})).await;
    let refused = world.server().outcome(&id).await;
    assert_eq!((&refused["outcome"], &refused["guard"]), (&json!("refused"), &json!("digest_mismatch")), "{refused}");
    assert_eq!((before, world.env()), (world.containers(), world.env_of("v1")));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_ends_tagalong_again_and_again_is_not_worn_out() {
    let mut world = World::landed(&Settings::default()).await;
    let before = world.containers();
    world.arm("pull@v2", "hang");
    let id = world.server().deploy("v2").await;
    for _ in 0..3 {
        world.reached("pull@v2").await;
        world.kill();
        world.forget("pull@v2");
        world.start().await;
    }
    let failed = world.server().outcome(&id).await;
    is_outcome(&failed, "failed");
    assert!(failed["why"].as_str().unwrap().contains("stopped 3 times"), "{failed}");
    assert_eq!((before, world.env()), (world.containers(), world.env_of("v1")));
    world.disarm("pull@v2");
    world.finish().await;
}

/// SIGTERM, as an update of tagalong sends it, in the middle of an up: the next start goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orderly_stop_leaves_the_order_to_the_next_start() {
    let mut world = World::landed(&Settings::default()).await;
    world.arm("up@v2", "hang");
    let running = world.server().deploy("v2").await;
    world.reached("up@v2").await;
    let waits = world.server().deploy("v3").await;
    world.stop();
    world.disarm("up@v2");
    world.start().await;
    is_outcome(&world.server().outcome(&running).await, "live");
    is_outcome(&world.server().outcome(&waits).await, "live");
    assert_eq!((world.running(), world.env()), ("v3".into(), world.env_of("v3")));
    world.finish().await;
}

/// Recovery asks Docker first, so a host that reboots is given time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_reboot_docker_is_waited_for() {
    let mut world = World::landed(&Settings::default()).await;
    world.arm("health@v2", "hang");
    let id = world.server().deploy("v2").await;
    world.reached("health@v2").await;
    world.kill();
    world.disarm("health@v2");
    world.arm("daemon", "fail");
    world.start().await;
    world.reached("daemon").await;
    assert_eq!(world.server().show(&id).await["state"], "running");
    world.disarm("daemon");
    is_outcome(&world.server().outcome(&id).await, "live");
    world.finish().await;
}

/// Somebody copied the data folder and started a second server over the copy: what the first one is at stays its own. Nor is
/// anybody ended who only reads the lock file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recovery_ends_nothing_that_belongs_to_a_living_server() {
    sqlx::any::install_default_drivers();
    let world = World::landed(&Settings::default()).await;
    world.arm("up@v2", "hang");
    let id = world.server().deploy("v2").await;
    world.reached("up@v2").await;
    let working = std::fs::read_to_string(world.path("world/reached/up@v2")).expect("a process id");
    let mut reader = std::process::Command::new("tail")
        .args(["-f", &world.path("stack/.tagalong.lock").display().to_string()])
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("it starts");

    let copy = tempfile::tempdir().expect("a folder");
    let config = std::fs::read_to_string(world.path("tagalong.toml")).expect("a file");
    let stack = world.path("stack").display().to_string();
    let config = config.replace("dir = \"stack\"", &format!("dir = \"{stack}\""));
    std::fs::write(copy.path().join("tagalong.toml"), config).expect("a file");
    let (from, to) = (world.path(""), copy.path().display().to_string());
    host("sh", &["-c", &format!("cd {} && cp -r data page.password {to}", from.display())]);
    let second = Server::start(copy.path()).await;
    // The line is written when it has looked for what it may end; from then on it waits for the lock.
    let file = format!("sqlite://{}", copy.path().join("data/tagalong.db").display());
    let said = "SELECT text FROM lines WHERE text LIKE '%tagalong was stopped during this deployment%'";
    let mut record = <sqlx::AnyConnection as sqlx::Connection>::connect(&file).await.expect("the copy");
    while sqlx::query(said).fetch_optional(&mut record).await.expect("an answer").is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for pid in [working.trim(), &reader.id().to_string()] {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(!state.is_empty() && !state.contains(") Z"), "process {pid} was ended: {}", second.log());
    }
    second.kill();
    world.disarm("up@v2");
    is_outcome(&world.server().outcome(&id).await, "live");
    assert_eq!(world.running(), "v2");
    reader.kill().expect("it lives");
    reader.wait().expect("a child");
    world.finish().await;
}

/// A Docker that stays away is waited for no longer than the configuration says, and the pin says then what comes up with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_is_not_waited_for_without_end() {
    let mut world = World::landed(&Settings::default()).await;
    world.reconfigure("wait_s = 25", "wait_s = 2").await;
    world.arm("up@v2", "hang");
    let id = world.server().deploy("v2").await;
    world.reached("up@v2").await;
    world.arm("daemon", "fail");
    let ended = world.server().outcome(&id).await;
    is_outcome(&ended, "rollback_failed");
    assert!(ended["and"].as_str().unwrap().contains("tagalong waited for it since 20"), "{ended}");
    assert_eq!(world.env(), world.env_of("v1"));
    world.disarm("daemon");
    world.disarm("up@v2");
    world.land("v3").await;
    world.finish().await;
}

/// Docker is away while the order is cancelled: nothing waits for it that has nothing to bring back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_docker_is_cancelled() {
    let world = World::landed(&Settings::default()).await;
    for (point, changed) in [("pull@v2", false), ("up@v2", true)] {
        world.arm(point, "hang");
        let id = world.server().deploy("v2").await;
        world.reached(point).await;
        world.loses_docker().await;
        let (status, answer) = world.server().post(&format!("/api/v1/deployments/{id}/cancel"), json!({})).await;
        assert_eq!(status, 200, "{answer}");
        if changed {
            // What was changed is brought back, for which Docker is needed.
            world.disarm(point);
            world.disarm("daemon");
        }
        let ended = world.server().outcome(&id).await;
        is_outcome(&ended, "cancelled");
        assert_eq!((&ended["changed"], &ended["brought_back"]), (&json!(changed), &json!(changed)), "{ended}");
        assert_eq!((world.running(), world.env()), ("v1".into(), world.env_of("v1")));
        world.disarm(point);
        world.disarm("daemon");
        world.forget(point);
    }
    world.finish().await;
}

/// A routine clean-up comes between the pull and `up`: nothing uses the image yet, so it goes, and is pulled again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_is_pruned_before_it_is_used_is_pulled_again() {
    let world = World::landed(&Settings::default()).await;
    world.arm("up@v2", "hang");
    let id = world.server().deploy("v2").await;
    world.reached("up@v2").await;
    world.prune("v2");
    world.disarm("up@v2");
    let ended = world.server().outcome(&id).await;
    is_outcome(&ended, "live");
    let journal = world.server().journal(&id).await;
    assert!(journal.contains("is not on this host any more; pulling it"), "{journal}");
    assert_eq!(world.running(), "v2");
    // Where it cannot be pulled again, that is the reason, and the release before serves on.
    world.arm("up@v3", "hang");
    let id = world.server().deploy("v3").await;
    world.reached("up@v3").await;
    world.prune("v3");
    world.arm("pull@v3", "fail");
    world.disarm("up@v3");
    let ended = world.server().outcome(&id).await;
    is_outcome(&ended, "rolled_back");
    assert!(ended["why"].as_str().unwrap().contains("pull@v3 was told to fail"), "{ended}");
    assert_eq!(world.running(), "v2");
    world.finish().await;
}

/// Docker was ended while compose replaced a container: the old one is dead, the new one has compose's first name, and a removal
/// is still under way. The new one stays, and gets its name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_container_makes_room_for_the_new_one() {
    for state in ["dead", "removing"] {
        let world = World::landed(&Settings::default()).await;
        world.arm("up@v2", "hang");
        let id = world.server().deploy("v2").await;
        world.reached("up@v2").await;
        until("the stand-in has taken the old one away", || world.running() == "nothing").await;
        world.arm("removal", "2");
        world.change(|half_way| {
            let all = half_way["containers"].as_array_mut().expect("a list");
            let like = all[0].clone();
            let made = |state: &str, id: &str, name: &str| {
                let mut one = like.clone();
                for (key, value) in [("state", state), ("id", id), ("name", name), ("service", "web")] {
                    one[key] = json!(value);
                }
                one
            };
            all.extend([made(state, "old", "site-web-1"), made("created", "new", "0123456789ab_site-web-1")]);
        });
        world.loses_docker().await;
        world.disarm("up@v2");
        world.disarm("daemon");
        is_outcome(&world.server().outcome(&id).await, "live");
        let journal = world.server().journal(&id).await;
        assert!(
            journal.contains("removing site-web-1 by force") && journal.contains("renaming a container back to site-web-1"),
            "{journal}"
        );
        assert!(!journal.contains("removing 0123456789ab_site-web-1"), "{journal}");
        assert!(!world.state().to_string().contains("0123456789ab"), "{}", world.state());
        assert_eq!(world.running(), "v2");
        world.finish().await;
    }
}

/// Somebody edits the stack while images are pulled. What was looked at is what is landed, or nothing: nothing is touched, the pin
/// is taken back, and the edit stays where it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_between_preflight_and_up_is_refused() {
    type Edit = (&'static str, &'static str, &'static str, &'static str);
    let edits: [Edit; 4] = [
        ("stack/compose.yaml", "\"COLOUR\":", "\"SHADE\":", "environment.SHADE"),
        ("stack/compose.yaml", "\"db\":", "\"cache\":", "services.cache"),
        ("stack/.env", "COLOUR=red", "COLOUR=black", "environment.COLOUR"),
        ("stack/compose.yaml", "}", "", "compose"),
    ];
    for (file, from, to, said) in edits {
        let world = World::landed(&Settings::default()).await;
        let before = world.containers();
        world.arm("pull@v2", "hang");
        let id = world.server().deploy("v2").await;
        world.reached("pull@v2").await;
        let text = std::fs::read_to_string(world.path(file)).expect("a file");
        let edited = text.replacen(from, to, 1);
        assert_ne!(text, edited);
        std::fs::write(world.path(file), &edited).expect("a file");
        world.disarm("pull@v2");
        let ended = world.server().outcome(&id).await;
        assert_eq!((&ended["outcome"], &ended["guard"]), (&json!("refused"), &json!("stack")), "{ended}");
        let why = ended["why"].as_str().unwrap();
        assert!(why.contains(said), "{why}");
        assert_eq!(world.containers(), before);
        assert_eq!(std::fs::read_to_string(world.path(file)).expect("a file"), edited);
        assert!(world.env().contains(&format!("WEB_TAG=v1@{}", world.digest("v1"))), "{}", world.env());
        std::fs::write(world.path(file), text).expect("a file");
        world.land("v3").await;
        world.finish().await;
    }
}

/// An undo is not stopped by an edit: it would leave the page broken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_does_not_stop_an_undo() {
    let world = World::landed(&Settings::default()).await;
    world.arm("page@v2", "hang");
    let id = world.server().deploy("v2").await;
    world.reached("page@v2").await;
    let edited = world.env().replace("COLOUR=red", "COLOUR=black");
    std::fs::write(world.path("stack/.env"), edited).expect("a file");
    world.arm("page@v2", "fail");
    is_outcome(&world.server().outcome(&id).await, "rolled_back");
    assert_eq!((world.running(), world.env()), ("v1".into(), world.env_of("v1").replace("COLOUR=red", "COLOUR=black")));
    let journal = world.server().journal(&id).await;
    assert!(
        journal.contains("was edited meanwhile (services.") && journal.contains("are started with the stack as it is now"),
        "{journal}"
    );
    world.disarm("page@v2");
    world.finish().await;
}

/// The stack was edited while tagalong was away: before anything was replaced the order is refused, later it is undone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_while_tagalong_was_away_is_noticed() {
    for (point, outcome) in [("pin", "refused"), ("up@v2", "rolled_back")] {
        let mut world = World::landed(&Settings::default()).await;
        let before = world.containers();
        world.arm(if point == "pin" { "pull@v2" } else { point }, "hang");
        let id = world.server().deploy("v2").await;
        let mut lock = None;
        if point == "pin" {
            world.reached("pull@v2").await;
            world.block_files();
            world.disarm("pull@v2");
            let pipe = world.files_are_read().await;
            lock = Some(world.lock_database().await);
            world.unblock_files(Some(pipe));
            until("the pin is written", || world.env() == world.env_of("v2")).await;
        } else {
            world.reached(point).await;
        }
        world.kill();
        drop(lock);
        let edited = world.env().replace("COLOUR=red", "COLOUR=black");
        std::fs::write(world.path("stack/.env"), edited).expect("a file");
        world.disarm(point);
        world.start().await;
        let ended = world.server().outcome(&id).await;
        is_outcome(&ended, outcome);
        assert!(ended["why"].as_str().unwrap().contains("environment.COLOUR"), "{ended}");
        assert_eq!((world.running(), world.env()), ("v1".into(), world.env_of("v1").replace("COLOUR=red", "COLOUR=black")));
        assert!(outcome != "refused" || before == world.containers());
        world.finish().await;
    }
}

/// `docker image prune -a` takes keep-tags that no container uses: status and doctor say so before somebody needs the image, and
/// the rollback pulls it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_candidate_that_was_pruned_is_named() {
    let world = World::landed(&Settings::default()).await;
    world.land("v2").await;
    let cli = |verb: &str| {
        let ran = std::process::Command::new(env!("CARGO_BIN_EXE_tagalong"))
            .args([verb, "--socket"])
            .arg(world.path("s"))
            .arg("--config")
            .arg(world.path("tagalong.toml"))
            .output()
            .expect("the program runs");
        String::from_utf8_lossy(&ran.stdout).into_owned()
    };
    assert!(!cli("status").contains("gone from this host"), "{}", cli("status"));
    assert!(cli("doctor").contains("web: rollback: the images of 1 earlier releases are on this host"), "{}", cli("doctor"));
    let digest = world.digest("v1");
    world.change(|state| state["images"].as_array_mut().expect("a list").retain(|image| !image.to_string().contains(&digest)));
    // A listing of images is remembered for a moment.
    until("the gone image to be named", || cli("status").contains("gone from this host")).await;
    let (_, shown) = world.server().get("/api/v1/services/web").await;
    assert_eq!(shown["rollback_candidates"][0]["gone"], shown["rollback_candidates"][0]["images"], "{shown}");
    assert!(cli("status").contains("its image is gone from this host, so going back pulls it again"), "{}", cli("status"));
    let said = cli("doctor");
    assert!(said.contains("web: rollback: not on this host any more") && said.contains("without -a"), "{said}");
    is_outcome(&roll_back(&world, json!("previous")).await, "live");
    assert_eq!(world.running(), "v1");
    world.finish().await;
}

/// Tagalong is killed when the outcome is stored and old images are still being removed: the removal that it leaves behind holds no
/// lock, and the next deployment goes ahead beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_ended_deployment_left_behind_is_no_obstacle() {
    let mut world = World::new(&Settings { service: "keep = 2".into(), ..Settings::default() }).await;
    for tag in ["v1", "v2"] {
        world.land(tag).await;
    }
    world.arm("rmi", "hang");
    let id = world.server().deploy("v3").await;
    is_outcome(&world.server().outcome(&id).await, "live");
    world.reached("rmi").await;
    world.kill();
    world.disarm("rmi");
    assert!(tagalong::landing::holders(&world.path("stack")).is_empty(), "nothing of an ended deployment holds the stack's lock");
    world.start().await;
    world.land("v4").await;
    world.finish().await;
}

/// Nobody but one tagalong writes in a data folder.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_over_the_same_data_is_refused() {
    let world = World::landed(&Settings::default()).await;
    let said = Server::refuses_to_start(&world.path("tagalong.toml"));
    assert!(said.contains("is in use by another tagalong"), "{said}");
    world.finish().await;
}

/// Every page is longer than the plan reads, which is a warning; v3 breaks as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_release_before_had_is_told_from_what_is_new() {
    let mut world = World::new(&Settings::default()).await;
    world.reconfigure("within_s = 0.2", "within_s = 0.2\nmax_body_kib = 1").await;
    is_outcome(&deploy(&world, "v1").await, "live");
    let second = deploy(&world, "v2").await;
    is_outcome(&second, "live");
    let (report, finding) = (&second["report"], &second["report"]["findings"][0]);
    assert_eq!((&report["release"], &report["since"]), (&json!("v2"), &json!("v1")), "{report}");
    assert_eq!((&finding["rule"], &finding["known"]), (&json!("truncated"), &json!(true)), "{report}");
    let said = world.server().journal(second["id"].as_str().unwrap_or_default()).await;
    assert!(said.contains("(known: v1 had it too)"), "{said}");
    let shown = std::process::Command::new(env!("CARGO_BIN_EXE_tagalong"))
        .args(["status", "web", "--socket"])
        .arg(world.path("s"))
        .arg("--config")
        .arg(world.path("tagalong.toml"))
        .output()
        .expect("the program runs");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("smoke      1 finding, 0 of them new since v1: truncated"), "{shown}");
    world.arm("page@v3", "fail");
    let third = deploy(&world, "v3").await;
    is_outcome(&third, "rolled_back");
    let said = world.server().journal(third["id"].as_str().unwrap_or_default()).await;
    assert!(said.contains("(new since v2)") && said.contains("(known: v2 had it too)"), "{said}");
    world.disarm("page@v3");
    world.finish().await;
}

/// The page never shows what the plan asks for, and is longer than the plan reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_are_as_bad_as_the_service_says() {
    let mut world = World::new(&Settings::default()).await;
    let lax = "within_s = 0.2\nmax_body_kib = 1\nbody = \"never there\"\nrules = { body = \"warning\", truncated = \"off\" }";
    world.reconfigure("within_s = 0.2", lax).await;
    let first = deploy(&world, "v1").await;
    is_outcome(&first, "live");
    let findings = first["report"]["findings"].as_array().expect("findings");
    assert_eq!((findings.len(), &findings[0]["rule"], &findings[0]["severity"]), (1, &json!("body"), &json!("warning")), "{first}");
    assert_eq!(first["report"]["attempts"], 1, "a warning is not waited for: {first}");
    world.finish().await;
}

/// Nothing of its journal was shown yet when the server goes away: it waits behind another.
#[tokio::test]
async fn the_command_line_follows_a_waiting_order_beyond_a_restart() {
    let mut world = World::landed(&Settings::default()).await;
    world.arm("pull@v2", "hang");
    world.server().deploy("v2").await;
    world.reached("pull@v2").await;
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tagalong"));
    command.args(["deploy", "web", "v3", "--socket"]).arg(world.path("s")).stdin(std::process::Stdio::null());
    let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().expect("it starts");
    loop {
        let (_, shown) = world.server().get("/api/v1/services/web").await;
        if shown["waiting"]["tag"] == "v3" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.kill();
    world.disarm("pull@v2");
    world.start().await;
    let ran = child.wait_with_output().expect("it ends");
    assert_eq!(ran.status.code(), Some(0), "{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert_eq!(world.running(), "v3");
    world.finish().await;
}

#[tokio::test]
async fn a_name_that_docker_keeps_for_a_container_that_is_gone_is_freed() {
    let world = World::landed(&Settings::default()).await;
    world.leave_endpoint("site-web-1");
    world.land("v2").await;
    assert_eq!((world.running(), world.containers()["web"]["name"].clone()), ("v2".to_owned(), json!("site-web-1")));
    world.finish().await;
}

/// What a policy refuses is refused before anything changes, also for a dry run. Whoever may overrules it with a reason, and a rollback
/// does not meet it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_refuses_before_anything_changes() {
    let world = world_with("policy = { rules = { capabilities = \"refuse\", memory_limit = \"warn\", published_port = \"off\" } }").await;
    let order = async |tag: &str, more: Value| {
        let mut body = json!({ "service": "web", "tag": tag });
        more.as_object().expect("fields").iter().for_each(|(key, value)| body[key] = value.clone());
        let id = world.server().order("/api/v1/deployments", body).await;
        let ended = world.server().outcome(&id).await;
        (ended, world.server().journal(&id).await)
    };
    let (landed, said) = order("v1", json!({})).await;
    is_outcome(&landed, "live");
    assert!(
        said.contains("policy memory_limit: db has no memory limit. web has no memory limit. worker has no memory limit. Set"),
        "{said}"
    );
    assert!(said.contains("policy unpinned_image: db has the image acme/db:1, which has no digest."), "{said}");
    let file = world.path("stack/compose.yaml");
    let mut compose: Value = serde_json::from_str(&std::fs::read_to_string(&file).expect("a file")).expect("JSON");
    compose["services"]["web"]["cap_add"] = json!(["SYS_ADMIN"]);
    std::fs::write(&file, compose.to_string()).expect("a file");
    let before = world.containers();
    let env = world.env();
    for more in [json!({}), json!({ "dry_run": true }), json!({ "force": true }), json!({ "force": true, "reason": "" })] {
        let (refused, said) = order("v2", more.clone()).await;
        is_outcome(&refused, "refused");
        assert_eq!(refused["guard"], "policy", "{refused}");
        assert!(
            said.contains("The stack of web breaks its policy. policy capabilities: web has the capability SYS_ADMIN. Remove it"),
            "{more}: {said}"
        );
        assert_eq!((&world.containers(), &world.env()), (&before, &env), "{more}: {said}");
    }
    let (forced, said) = order("v2", json!({ "force": true, "reason": "the debugger needs it" })).await;
    is_outcome(&forced, "live");
    assert!(said.contains("policy capabilities: web has the capability SYS_ADMIN."), "{said}");
    is_outcome(&roll_back(&world, json!("previous")).await, "live");
    assert_eq!(world.running(), "v1");
    world.finish().await;
}
