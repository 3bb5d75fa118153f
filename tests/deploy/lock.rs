//! The lock of a stack's folder, while somebody else has it: who waits for it, for how long, and what is said.

use std::fs::File;
use std::process::Child;
use std::time::Duration;
use std::time::Instant;

use serde_json::json;

use crate::support::until;
use crate::world::Immutable;
use crate::world::Settings;
use crate::world::World;

/// A program that has nothing to do with tagalong and holds the lock.
struct Stranger {
    child: Child,
    lock: File,
}

impl Stranger {
    fn hold(world: &World) -> Self {
        let lock = File::open(world.path("stack/.tagalong.lock")).expect("a file");
        let child = std::process::Command::new("sleep").arg("600").stdin(lock.try_clone().expect("a file")).spawn().expect("it starts");
        lock.lock().expect("the lock");
        Self { child, lock }
    }

    fn let_go(mut self) {
        drop(self.lock);
        self.child.kill().expect("it lives");
        self.child.wait().expect("a child");
    }
}

/// Waits until a line of the journal of `id`, which has not ended, has all of `words`.
async fn says(world: &World, id: &str, words: &[&str]) {
    let began = Instant::now();
    loop {
        let sql = "SELECT text FROM lines WHERE deployment = $1";
        let lines: Vec<(String,)> = sqlx::query_as(sql).bind(id).fetch_all(&mut world.database().await).await.expect("an answer");
        if lines.iter().any(|(line,)| words.iter().all(|word| line.contains(word))) {
            return;
        }
        assert!(began.elapsed() < Duration::from_mins(2), "{words:?} is not said: {lines:?}\n{}", world.server().log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The journal names him and he is waited for, until the order is cancelled or he lets go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_named_and_waited_for() {
    let world = World::landed(&Settings::default()).await;
    world.land("v2").await;
    let before = world.containers();
    let stranger = Stranger::hold(&world);
    let named = format!("process {} (sleep 600)", stranger.child.id());
    let words = ["is locked by", &named, "Waiting for the lock, for at most 3600 s (max_wait_s)"];
    let given_up = world.server().deploy("v3").await;
    says(&world, &given_up, &words).await;
    let (status, answer) = world.server().post(&format!("/api/v1/deployments/{given_up}/cancel"), json!({})).await;
    assert_eq!(status, 200, "{answer}");
    let ended = world.server().outcome(&given_up).await;
    assert_eq!((&ended["outcome"], &ended["changed"]), (&json!("cancelled"), &json!(false)), "{ended}");
    let rollback = world.server().roll_back(json!("previous")).await;
    says(&world, &rollback, &words).await;
    assert_eq!(world.server().show(&rollback).await["state"], "running");
    assert_eq!(before, world.containers());
    stranger.let_go();
    let ended = world.server().outcome(&rollback).await;
    assert_eq!((ended["outcome"].as_str(), world.running().as_str()), (Some("live"), "v1"), "{ended}");
    world.finish().await;
}

/// A tagalong still holds the lock for an order that has ended, and longer than anybody waits for a stranger.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_of_its_own_is_waited_for_without_end() {
    const WAIT: Duration = Duration::from_secs(8);
    let service = format!("keep = 2\nmax_wait_s = {}", WAIT.as_secs());
    let world = World::landed(&Settings { service, ..Settings::default() }).await;
    world.land("v2").await;
    let id = world.server().deploy("v3").await;
    assert_eq!(world.server().outcome(&id).await["outcome"], "live");
    let lock = process::HostLock::take(&world.path("stack"), &id, Duration::from_secs(10)).await.expect("the lock");
    let (began, rollback) = (Instant::now(), world.server().roll_back(json!("previous")).await);
    says(&world, &rollback, &["is still locked by another order"]).await;
    until("a stranger would not be waited for any more", || began.elapsed() > WAIT * 2).await;
    let shown = world.server().show(&rollback).await;
    assert_eq!(shown["state"], "running", "{shown}");
    drop(lock);
    let ended = world.server().outcome(&rollback).await;
    assert_eq!((ended["outcome"].as_str(), world.running().as_str()), (Some("live"), "v2"), "{ended}");
    world.finish().await;
}

/// Old images are removed for as long as Docker likes, and the next order of the same service is carried out meanwhile. What it
/// names by then stays, though it was to go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_removes_old_images_stands_in_no_orders_way() {
    let world = World::landed(&Settings { service: "keep = 2".into(), ..Settings::default() }).await;
    world.land("v2").await;
    // The first one stays, since it cannot be removed yet.
    world.arm("rmi", "fail");
    world.land("v3").await;
    world.reached("rmi").await;
    world.arm("rmi", "hang");
    world.forget("rmi");
    world.land("v4").await;
    // v2 is being removed, and v1 would be next.
    world.reached("rmi").await;
    world.arm("up@v1", "hang");
    let rollback = world.server().roll_back(json!({"tag": "v1"})).await;
    world.reached("up@v1").await;
    world.disarm("rmi");
    let digest = world.digest("v2");
    until("v2 is gone", || !world.state()["images"].to_string().contains(&digest)).await;
    world.disarm("up@v1");
    let ended = world.server().outcome(&rollback).await;
    assert_eq!((ended["outcome"].as_str(), world.running().as_str()), (Some("live"), "v1"), "{ended}");
    world.finish().await;
}

/// v2 was half-way up when tagalong was killed, and its start finds a lock file that it may not open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovery_waits_for_a_lock_file_that_cannot_be_opened() {
    let mut world = World::landed(&Settings::default()).await;
    world.arm("up@v2", "hang");
    let id = world.server().deploy("v2").await;
    world.reached("up@v2").await;
    world.kill();
    world.disarm("up@v2");
    let immutable = Immutable::make(world.path("stack/.tagalong.lock"));
    world.start().await;
    says(&world, &id, &["cannot be opened", "The rollback of what was changed waits for the lock"]).await;
    drop(immutable);
    let ended = world.server().outcome(&id).await;
    assert_eq!((ended["outcome"].as_str(), world.running().as_str()), (Some("live"), "v2"), "{ended}");
    world.finish().await;
}
