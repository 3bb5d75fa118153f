//! What is live is looked at again and again: a release that does not hold is gone back from, once, whatever becomes of the server
//! meanwhile; what could not be seen, or was there before, is no reason to; and a fault opens one incident.

use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;

use crate::cluster::Database;
use crate::pair::beside;
use crate::support::Server;
use crate::support::host;
use crate::world::Settings;
use crate::world::World;

/// Longer than anything takes here that will happen at all.
const PATIENCE: Duration = Duration::from_mins(2);

fn watched(watch: &str) -> Settings {
    Settings { service: format!("[service.web.watch]\n{watch}\n"), ..Settings::default() }
}

async fn web(server: &Server) -> Value {
    server.get("/api/v1/services/web").await.1
}

/// The state of the service when `holds` of it.
async fn when(server: &Server, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let shown = web(server).await;
        if holds(&shown) {
            return shown;
        }
        assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain: {what}; {shown:#}\n{}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Every deployment, newest first.
async fn all(server: &Server) -> Vec<Value> {
    let (_, all) = server.get("/api/v1/deployments?limit=100").await;
    all["deployments"].as_array().expect("a list").clone()
}

/// The rollback that the watch over `id` has ordered, when it has ended; there is one.
async fn went_back(server: &Server, id: &str) -> Value {
    let caller = json!(format!("watch:{id}"));
    let began = Instant::now();
    let placed = loop {
        let placed: Vec<Value> = all(server).await.into_iter().filter(|one| one["caller"] == caller).collect();
        assert!(placed.len() < 2, "{placed:#?}");
        if let Some(one) = placed.into_iter().next() {
            break one;
        }
        assert!(began.elapsed() < PATIENCE, "no order to go back from {id}: {:#}\n{}", web(server).await, server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    server.outcome(placed["id"].as_str().expect("an id")).await
}

/// How often the live release was looked at by now.
fn looks(shown: &Value) -> i64 {
    shown["watch"]["looks"].as_i64().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_does_not_hold_is_gone_back_from_once() {
    let mut world = World::landed(&watched("watch_s = 600\nevery_s = 0.3")).await;
    let second = world.land("v2").await;
    let shown = when(world.server(), "two looks", |shown| looks(shown) >= 2).await;
    assert_eq!((&shown["watch"]["state"], &shown["watch"]["last"]), (&json!("watching"), &json!("good")), "{shown:#}");
    let before = world.server().show(&second).await;
    world.arm("page@v2", "fail");
    let back = went_back(world.server(), &second).await;
    assert_eq!((&back["kind"], &back["outcome"], &back["tag"]), (&json!("rollback"), &json!("live"), &json!("v1")), "{back:#}");
    assert!(back["reason"].as_str().expect("a reason").contains("two looks in a row"), "{back:#}");
    assert!(world.server().journal(back["id"].as_str().unwrap()).await.contains(&format!("ordered by watch:{second}")));
    assert_eq!((world.running().as_str(), world.env()), ("v1", world.env_of("v1")));
    assert_eq!(world.server().show(&second).await, before, "an ended outcome never changes");
    assert!(world.hold().await.is_some_and(|(by, ..)| json!(by) == back["id"]), "a rollback holds the service");
    // What was gone back to is not watched, or one bad release after the other would be gone back from.
    assert_eq!(web(world.server()).await["watch"], Value::Null);
    assert_eq!(state(&world, &second).await, "went_back");

    // A person has to decide: an incident, and nothing is changed.
    world.disarm("page@v2");
    world.reconfigure("[service.web.watch]", "on_failure = \"leave\"\n[service.web.watch]").await;
    let (status, _) = world.server().post("/api/v1/services/web/resume", json!({})).await;
    assert_eq!(status, 200);
    let third = world.land("v3").await;
    let containers = world.containers();
    world.arm("page@v3", "fail");
    let shown = when(world.server(), "v3 is left", |shown| shown["watch"]["state"] == "left").await;
    let incidents = shown["incidents"].as_array().expect("a list").clone();
    assert_eq!((incidents.len(), &incidents[0]["kind"], &incidents[0]["mend"]), (1, &json!("watch"), &json!("tagalong rollback web")));
    assert!(incidents[0]["what"].as_str().unwrap().contains(&third), "{incidents:?}");
    assert_eq!(containers, world.containers());
    // It was decided about: the incident is over.
    world.disarm("page@v3");
    world.land("v4").await;
    assert_eq!(web(world.server()).await["incidents"], Value::Null);
    finish(world).await;
}

/// What Docker says of a container counts as much as the page does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_becomes_unhealthy_behind_a_good_page_is_gone_back_from() {
    let world = World::landed(&watched("watch_s = 600\nevery_s = 0.3")).await;
    let second = world.land("v2").await;
    when(world.server(), "two looks", |shown| looks(shown) >= 2).await;
    world.arm("health@v2", "fail");
    let back = went_back(world.server(), &second).await;
    assert_eq!((&back["outcome"], &back["tag"]), (&json!("live"), &json!("v1")), "{back:#}");
    let reason = back["reason"].as_str().expect("a reason");
    assert!(reason.contains("unhealthy") && !reason.contains("500"), "{reason}");
    assert!(!world.was_met("page@v2"), "the page was good");
    assert_eq!((world.running().as_str(), world.env()), ("v1", world.env_of("v1")));
    finish(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_the_releases_doing_is_no_reason_to_go_back() {
    let world = World::landed(&watched("watch_s = 600\nevery_s = 0.3")).await;
    world.land("v2").await;
    // Docker is away, and the page with it: nothing can be said.
    world.arm("page@v2", "fail");
    world.arm("daemon", "fail");
    let first = when(world.server(), "a look saw nothing", |shown| shown["watch"]["last"] == "blind").await;
    when(world.server(), "three more looks", |shown| looks(shown) > looks(&first) + 3).await;
    world.disarm("page@v2");
    world.disarm("daemon");
    when(world.server(), "a good look", |shown| shown["watch"]["last"] == "good").await;

    // The page had this fault before the release.
    world.arm("manifest@v3", "hang");
    let third = world.server().deploy("v3").await;
    world.reached("manifest@v3").await;
    world.arm("page@v2", "fail");
    world.disarm("manifest@v3");
    assert_eq!(world.server().outcome(&third).await["outcome"], "live");
    world.disarm("page@v2");
    world.arm("page@v3", "fail");
    let first = when(world.server(), "a look at v3", |shown| shown["live"]["tag"] == "v3" && looks(shown) > 0).await;
    let shown = when(world.server(), "three more looks", |shown| looks(shown) > looks(&first) + 3).await;
    assert_eq!((&shown["watch"]["last"], &shown["watch"]["bad"]), (&json!("good"), &json!(0)), "{shown:#}");
    world.disarm("page@v3");

    // A newer order ends it, whatever the release does meanwhile.
    world.arm("up@v4", "hang");
    let fourth = world.server().deploy("v4").await;
    world.reached("up@v4").await;
    world.disarm("up@v4");
    assert_eq!(world.server().outcome(&fourth).await["outcome"], "live");
    let shown = web(world.server()).await;
    assert_eq!((&shown["live"]["id"], &shown["watch"]["state"]), (&json!(fourth), &json!("watching")), "{shown:#}");

    // Somebody has put another image there by hand.
    std::fs::write(world.path("stack/.env"), world.env_of("v1")).expect("a file");
    world.by_hand(&["compose", "up", "-d"]);
    assert_eq!(world.running(), "v1");
    let shown = when(world.server(), "it is not watched any more", |shown| shown["watch"]["state"] == "overtaken").await;
    assert!(shown["watch"]["why"].as_str().unwrap().contains("v1"), "{shown:#}");
    assert!(all(world.server()).await.iter().all(|one| one["kind"] != "rollback"), "nothing was gone back from");
    finish(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_outlives_its_server() {
    let mut world = World::landed(&watched("watch_s = 600\nevery_s = 1")).await;
    let second = world.land("v2").await;
    world.arm("page@v2", "fail");
    until_bad(&world, &second).await;
    world.kill();
    world.start().await;
    let back = went_back(world.server(), &second).await;
    assert_eq!((&back["outcome"], world.running().as_str()), (&json!("live"), "v1"), "{back:#}");
    // As if the server had been killed between its order and the record of it.
    let sql = "UPDATE watches SET state = 'watching', placed = NULL, ended_ms = NULL, next_ms = 0 WHERE id = $1";
    sqlx::query(sql).bind(&second).execute(&mut world.database().await).await.expect("an answer");
    let began = Instant::now();
    while state(&world, &second).await != "went_back" {
        assert!(began.elapsed() < PATIENCE, "{}", world.server().log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    went_back(world.server(), &second).await;
    finish(world).await;
}

/// [`World::finish`], when nothing is watched any more.
async fn finish(mut world: World) {
    world.stop();
    sqlx::query("UPDATE watches SET state = 'held' WHERE state = 'watching'")
        .execute(&mut world.database().await)
        .await
        .expect("an answer");
    world.start().await;
    world.finish().await;
}

/// Waits until the release was seen bad. It may have been gone back from by then: that is asked of the record, which keeps it.
async fn until_bad(world: &World, id: &str) {
    use sqlx::Row as _;
    let began = Instant::now();
    let sql = "SELECT COUNT(*) FROM watches WHERE id = $1 AND (bad > 0 OR state <> 'watching')";
    loop {
        let row = sqlx::query(sql).bind(id).fetch_one(&mut world.database().await).await.expect("an answer");
        if row.get::<i64, _>(0) > 0 {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{}", world.server().log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn state(world: &World, id: &str) -> String {
    use sqlx::Row as _;
    let row = sqlx::query("SELECT state FROM watches WHERE id = $1").bind(id).fetch_one(&mut world.database().await).await;
    row.expect("an answer").get("state")
}

/// The server that looks is stopped in the middle of a look: the other one takes the watch over when its lease is over, and one order is
/// placed, also when the first one goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_servers_one_looks_and_one_order_is_placed() {
    let settings = Settings { database: Database::Postgres, ..watched("watch_s = 600\nevery_s = 0.3") };
    let mut world = World::landed(&settings).await;
    world.reconfigure("[store]\n", "[store]\nlease_s = 8\n").await;
    let second = world.land("v2").await;
    world.arm("page@v2", "hang");
    world.reached("page@v2").await;
    world.server().freeze();
    let began = Instant::now();
    let other = beside(&world).await;
    world.arm("page@v2", "fail");
    let back = went_back(&other, &second).await;
    println!("taken over and gone back from {:?} after the stop, with a lease of 8 s", began.elapsed());
    assert_eq!((&back["outcome"], world.running().as_str()), (&json!("live"), "v1"), "{back:#}");
    if let Some(pid) = world.server().stopped() {
        host("kill", &["-CONT", &pid.to_string()]);
    }
    // Both go on, and both are asked.
    world.disarm("page@v2");
    for server in [world.server(), &other] {
        went_back(server, &second).await;
        let (status, _) = server.post("/api/v1/services/web/resume", json!({})).await;
        assert_eq!(status, 200);
    }
    let third = world.server().deploy("v3").await;
    assert_eq!(other.outcome(&third).await["outcome"], "live");
    world.arm("page@v3", "fail");
    went_back(&other, &third).await;
    finish(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_opens_one_incident_and_its_end_closes_it() {
    let mut world = World::landed(&watched("[service.web.watch.looks]\nevery_s = 1")).await;
    let shown = when(world.server(), "a look", |shown| shown["schedule"]["last"] == "good").await;
    assert_eq!((&shown["watch"], &shown["incidents"]), (&Value::Null, &Value::Null), "{shown:#}");
    let open = |count: usize| move |shown: &Value| shown["incidents"].as_array().map_or(0, Vec::len) == count;
    world.arm("page@v1", "fail");
    let shown = when(world.server(), "an incident", open(1)).await;
    let first = shown["incidents"][0].clone();
    assert_eq!((&first["kind"], &first["service"]), (&json!("page"), &json!("web")), "{first:#}");
    let again = when(world.server(), "it is found again", |shown| shown["incidents"][0]["seen"].as_i64() > Some(2)).await;
    assert_eq!((&again["incidents"][0]["id"], again["incidents"].as_array().map(Vec::len)), (&first["id"], Some(1)));
    world.disarm("page@v1");
    when(world.server(), "it is closed", open(0)).await;

    // A container that was stopped by hand, and a pin that was changed by hand.
    world.end_web();
    let shown = when(world.server(), "another incident", |shown| shown["incidents"].to_string().contains("container")).await;
    assert!(shown["incidents"].as_array().unwrap().iter().any(|one| one["what"].as_str().unwrap().contains("site-web-1")), "{shown:#}");
    world.by_hand(&["compose", "up", "-d"]);
    when(world.server(), "it is closed", open(0)).await;
    std::fs::write(world.path("stack/.env"), world.env_of("v3")).expect("a file");
    let shown = when(world.server(), "an incident of the pin", open(1)).await;
    assert_eq!((&shown["incidents"][0]["kind"], &shown["incidents"][0]["mend"]), (&json!("drift"), &json!("tagalong repair web")));
    std::fs::write(world.path("stack/.env"), world.env_of("v1")).expect("a file");
    when(world.server(), "it is closed", open(0)).await;

    let (_, open) = world.server().get("/api/v1/incidents").await;
    let (_, closed) = world.server().get("/api/v1/incidents?all=true&service=web").await;
    assert_eq!(open["incidents"], json!([]));
    assert!(closed["incidents"].as_array().unwrap().iter().all(|one| one["closed_ms"].is_i64()), "{closed:#}");
    assert!(closed["incidents"].as_array().unwrap().iter().any(|one| one["id"] == first["id"]), "{closed:#}");
    let (_, seen) = world.server().get("/api/v1/services/web/looks").await;
    let [looks, hours] = ["looks", "hours"].map(|name| seen[name].as_array().unwrap().clone());
    assert!(looks.iter().any(|look| look["bad"] == 1 && look["status"] == 500 && look["rules"] == json!(["status"])), "{seen:#}");
    assert!(looks.iter().any(|look| look["bad"] == 0 && look["latency_ms"].is_i64()), "{seen:#}");
    let sum = |rows: &[Value]| rows.iter().map(|row| row["looks"].as_i64().unwrap()).sum::<i64>();
    assert_eq!(sum(&looks), sum(&hours), "the hours add up");
    let metrics = world.server().text("/metrics").await;
    assert!(metrics.contains("tagalong_looks_total{service=\"web\",result=\"bad\"}"), "{metrics}");
    assert!(metrics.contains("tagalong_incidents_open{service=\"web\"} 0"), "{metrics}");
    world.reconfigure("[service.web.watch]\n[service.web.watch.looks]\nevery_s = 1\n", "").await;
    world.finish().await;
}
