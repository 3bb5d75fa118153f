//! A rollback stops a deployment half-way and then changes nothing: what was verified last serves again, and is pinned.

use serde_json::Value;
use serde_json::json;

use crate::cluster::Database;
use crate::world::ENV;
use crate::world::Settings;
use crate::world::World;

fn settings(service: &str, database: Database) -> Settings {
    Settings { service: service.to_owned(), database, ..Settings::default() }
}

/// v2 is verified, and v3 is up and looked at without end. Gives the deployment of v3.
async fn half_way(settings: &Settings) -> (World, String) {
    let world = World::landed(settings).await;
    world.land("v2").await;
    let id = looked_at(&world).await;
    (world, id)
}

/// The deployment of v3, which is up and looked at without end.
async fn looked_at(world: &World) -> String {
    world.arm("page@v3", "hang");
    let id = world.server().deploy("v3").await;
    world.reached("page@v3").await;
    assert_eq!((world.running(), world.env()), ("v3".into(), world.env_of("v3")));
    id
}

async fn cancel(world: &World, id: &str) {
    let (status, answer) = world.server().post(&format!("/api/v1/deployments/{id}/cancel"), json!({})).await;
    assert_eq!(status, 200, "{answer}");
}

fn is_cancelled(ended: &Value, changed: bool, brought_back: bool) {
    let seen = (&ended["outcome"], &ended["changed"], &ended["brought_back"]);
    assert_eq!(seen, (&json!("cancelled"), &json!(changed), &json!(brought_back)), "{ended}");
}

/// v3 made room for the rollback, which brought v2 back, says so, and holds the service.
async fn v2_is_back(world: &World, stopped: &str, rollback: &str, outcome: &str) {
    let ended = world.server().outcome(rollback).await;
    assert_eq!(ended["outcome"], outcome, "{ended}\n{}", world.server().journal(rollback).await);
    is_cancelled(&world.server().outcome(stopped).await, true, false);
    assert_eq!((world.running(), world.env()), ("v2".into(), world.env_of("v2")));
    assert!(
        world
            .server()
            .journal(rollback)
            .await
            .contains(&format!("{stopped} was stopped for this rollback while it was changing the stack"))
    );
    assert_eq!(world.hold().await.map(|(by, ..)| by).as_deref(), Some(rollback));
}

/// A rollback to a tag that nobody pushed.
async fn is_refused(database: Database) {
    let (world, stopped) = half_way(&settings("", database)).await;
    let rollback = world.server().roll_back(json!({"tag": "never-pushed"})).await;
    v2_is_back(&world, &stopped, &rollback, "rolled_back").await;
    let ended = world.server().show(&rollback).await;
    assert!(ended["why"].as_str().is_some_and(|why| why.contains("never-pushed")), "{ended}");
    // What serves is the last verified release, so the one before it is the previous one.
    let again = world.server().roll_back(json!("previous")).await;
    assert_eq!(world.server().outcome(&again).await["outcome"], "live");
    assert_eq!((world.running(), world.env()), ("v1".into(), world.env_of("v1")));
    world.finish().await;
}

/// A rollback that is cancelled at once: whether it still waits for the deployment to stop, waits for its turn, or runs.
async fn is_cancelled_at_once(database: Database) {
    let (world, stopped) = half_way(&settings("", database)).await;
    let rollback = world.server().roll_back(json!("previous")).await;
    cancel(&world, &rollback).await;
    v2_is_back(&world, &stopped, &rollback, "cancelled").await;
    is_cancelled(&world.server().show(&rollback).await, true, true);
    world.finish().await;
}

mod on {
    use crate::cluster::Database;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn sqlite_it_is_refused() {
        super::is_refused(Database::Sqlite).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn postgres_it_is_refused() {
        super::is_refused(Database::Postgres).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn sqlite_it_is_cancelled_at_once() {
        super::is_cancelled_at_once(Database::Sqlite).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn postgres_it_is_cancelled_at_once() {
        super::is_cancelled_at_once(Database::Postgres).await;
    }
}

/// A rollback whose pull hangs is followed by one that is refused: the first changed nothing, the second one brings v2 back.
/// v3 is not left for an operator either: nobody asked whether it would have held.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_rollback_takes_over() {
    let (world, stopped) = half_way(&settings("on_failure = \"leave\"", Database::Sqlite)).await;
    world.arm("pull@v5", "hang");
    let first = world.server().roll_back(json!({"tag": "v5"})).await;
    is_cancelled(&world.server().outcome(&stopped).await, true, false);
    world.arm("page@v3", "fail");
    world.reached("pull@v5").await;
    let second = world.server().roll_back(json!({"tag": "never-pushed"})).await;
    is_cancelled(&world.server().outcome(&first).await, false, false);
    v2_is_back(&world, &stopped, &second, "rolled_back").await;
    world.finish().await;
}

/// Tagalong is killed while the rollback pulls, and again while it brings v2 back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_killed() {
    let (mut world, stopped) = half_way(&settings("", Database::Sqlite)).await;
    world.arm("pull@v5", "hang");
    let rollback = world.server().roll_back(json!({"tag": "v5"})).await;
    is_cancelled(&world.server().outcome(&stopped).await, true, false);
    world.arm("page@v3", "fail");
    world.reached("pull@v5").await;
    world.kill();
    world.arm("pull@v5", "fail");
    world.arm("up@v2", "hang");
    world.start().await;
    world.reached("up@v2").await;
    world.kill();
    world.disarm("up@v2");
    world.start().await;
    v2_is_back(&world, &stopped, &rollback, "rolled_back").await;
    world.finish().await;
}

/// Nothing was ever verified: what a person had brought up before v3 comes back with the pin's old bytes, killed or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_was_verified_before() {
    let mut world = World::new(&Settings::default()).await;
    world.by_hand(&["pull", &world.image("v1")]);
    world.by_hand(&["compose", "up", "-d"]);
    assert_eq!(world.running(), "v1");
    let stopped = looked_at(&world).await;
    world.arm("up@v1", "hang");
    let rollback = world.server().roll_back(json!({"tag": "never-pushed"})).await;
    world.reached("up@v1").await;
    world.kill();
    world.disarm("up@v1");
    world.start().await;
    let ended = world.server().outcome(&rollback).await;
    assert_eq!((&ended["outcome"], &ended["verified_before"]), (&json!("rolled_back"), &json!(false)), "{ended}");
    is_cancelled(&world.server().outcome(&stopped).await, true, false);
    assert_eq!((world.running().as_str(), world.env().as_str()), ("v1", ENV));
    world.finish().await;
}

/// v3 must not be rolled back past, so it stays for an operator, and the outcome says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_has_a_barrier() {
    let mut world = World::landed(&Settings::default()).await;
    world.push("v3", &[("tagalong.no-rollback-past", "true")]);
    looked_at(&world).await;
    let rollback = world.server().roll_back(json!({"tag": "never-pushed"})).await;
    let ended = world.server().outcome(&rollback).await;
    assert_eq!(ended["outcome"], "needs_operator", "{ended}");
    assert_eq!((world.running(), world.env()), ("v3".into(), world.env_of("v3")));
    world.finish().await;
}

/// A rollback that is cancelled while v3 is still being pinned, which nothing interrupts: it keeps its turn for what v3 leaves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_cancelled_while_it_waits() {
    let world = World::landed(&Settings::default()).await;
    world.land("v2").await;
    world.arm("pull@v3", "hang");
    let stopped = world.server().deploy("v3").await;
    world.reached("pull@v3").await;
    world.block_files();
    world.disarm("pull@v3");
    let pipe = world.files_are_read().await;
    let rollback = world.server().roll_back(json!({"tag": "v5"})).await;
    let (status, answer) = world.server().post(&format!("/api/v1/deployments/{rollback}/cancel"), json!({})).await;
    assert!(status == 200 && answer.to_string().contains("when its turn comes"), "{answer}");
    assert_eq!(world.server().show(&rollback).await["state"], "waiting");
    world.unblock_files(Some(pipe));
    v2_is_back(&world, &stopped, &rollback, "cancelled").await;
    is_cancelled(&world.server().show(&rollback).await, true, true);
    world.finish().await;
}
