//! Who loses their state, or has no room for it: a control plane its store, an agent its data folder, a host its disk.

use serde_json::Value;
use serde_json::json;

use crate::disk::Disk;
use crate::fleet::Fleet;
use crate::fleet::until_known;
use crate::support::host;
use crate::support::until;
use crate::world::Settings;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_plane_that_lost_its_store_is_told_everything_again() {
    let mut fleet = Fleet::landed().await;
    let first = fleet.land("v2").await;
    fleet.world.arm("page@v3", "fail");
    let failed = fleet.control().deploy("v3").await;
    assert_eq!(fleet.agreed(&failed).await["outcome"], "rolled_back");
    fleet.world.arm("up@v4", "hang");
    let running = fleet.control().deploy("v4").await;
    fleet.world.reached("up@v4").await;
    fleet.kill_control();
    for name in ["tagalong.db", "tagalong.db-wal", "tagalong.db-shm"] {
        let _ = std::fs::remove_file(fleet.path("data").join(name));
    }
    fleet.world.disarm("up@v4");
    fleet.start_control().await;
    for id in [&running, &failed, &first] {
        until_known(&fleet, id).await;
        fleet.agreed(id).await;
    }
    let (_, service) = fleet.control().get("/api/v1/services/web").await;
    assert_eq!(service["live"]["id"], json!(running), "{service}");
    assert_eq!(fleet.control().show(&running).await["caller"], "control:local:0 on micro", "nothing proves who it was");
    fleet.land("v5").await;
    fleet.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_lost_its_data_folder_goes_on_from_what_runs() {
    let mut fleet = Fleet::landed().await;
    let before = fleet.land("v2").await;
    fleet.stop_agent();
    host("rm", &["-rf", &fleet.world.path("data").display().to_string()]);
    fleet.start_agent().await;
    fleet.is_there_again().await;
    // What the control plane knows of it stays, and what runs is not touched.
    assert_eq!((&fleet.control().show(&before).await["outcome"], fleet.world.running().as_str()), (&json!("live"), "v2"));
    // What runs there is not recorded there: a release that fails goes back to it, and it is said to be unverified there.
    fleet.world.arm("page@v3", "fail");
    let id = fleet.control().deploy("v3").await;
    let back = fleet.agreed(&id).await;
    assert_eq!((&back["outcome"], fleet.world.running().as_str()), (&json!("rolled_back"), "v2"), "{back}");
    fleet.land("v4").await;
    fleet.finish().await;
}

/// The disk is full when an order comes, and while lines and the outcome are to be stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_at_the_agent_loses_nothing_and_is_told() {
    let mut fleet = Fleet::landed().await;
    fleet.stop_agent();
    let disk = Disk::over(&fleet.world.path("data"), "16m");
    fleet.start_agent().await;
    fleet.is_there_again().await;
    disk.fill();
    let id = fleet.control().deploy("v2").await;
    let mut journal = String::new();
    until_async("it is told", async || {
        journal = fleet.control().journal_so_far(&id).await;
        journal.contains("does not take it yet: the disk of its database is full")
            || journal.contains("does not take it yet: The journal cannot be written")
    })
    .await;
    disk.empty();
    assert_eq!(fleet.agreed(&id).await["outcome"], "live");
    assert_eq!(fleet.world.running(), "v2");
    // In the middle of an order.
    fleet.world.arm("up@v3", "hang");
    let id = fleet.control().deploy("v3").await;
    fleet.world.reached("up@v3").await;
    disk.fill();
    fleet.world.disarm("up@v3");
    until("the new release is up", || fleet.world.running() == "v3").await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    disk.empty();
    let ended = fleet.agreed(&id).await;
    let runs = if ended["outcome"] == "live" { "v3" } else { "v2" };
    assert_eq!((fleet.world.running(), fleet.world.env()), (runs.to_owned(), fleet.world.env_of(runs)), "{ended}");
    fleet.finish().await;
    drop(disk);
}

async fn until_async(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..1200 {
        if holds().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("waited in vain: {what}");
}

/// The host has guards and limits of its own, and they hold whatever the control plane asks for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_plane_that_lies_gets_nothing_that_the_host_does_not_allow() {
    let settings = Settings { service: "tag_pattern = \"v[0-9]+\"\n".into(), ..Settings::default() };
    let fleet = Fleet::new(&settings, "").await;
    fleet.land("v1").await;
    let before = fleet.world.containers();
    let images = |image: &str| json!({ "order": "rollback", "images": [image] });
    let foreign = format!("registry.example.com/evil/web:v2@sha256:{}", "a".repeat(64));
    let lies: Vec<(&str, Value)> = vec![
        ("a tag of no pattern", json!({ "tag": "latest" })),
        ("a tag that is none", json!({ "tag": "../../etc" })),
        ("another service", json!({ "service": "other" })),
        ("a service that is none", json!({ "service": "../web" })),
        ("a foreign image", images(&foreign)),
        ("an image that is none", images("$(id)")),
        ("a caller of its own", json!({ "caller": "local:0 on micro\nroot" })),
        ("another kind of order", json!({ "order": "shell" })),
        ("a digest that the tag does not have", json!({ "digest": format!("sha256:{}", "b".repeat(64)) })),
    ];
    for (what, lie) in lies {
        fleet.at_wire("down.order", &format!("edit {lie}"));
        let id = fleet.control().deploy("v2").await;
        fleet.met("down.order").await;
        let mut said = String::new();
        // Some cannot be read, and others are refused by a guard of the host.
        until_async(what, async || {
            let shown = fleet.control().show(&id).await;
            said = shown.to_string();
            shown["state"] == "done"
        })
        .await;
        assert_eq!(fleet.world.containers(), before, "{what}: {said}");
        fleet.leave_wire("down.order");
        let ended = fleet.control().outcome(&id).await;
        println!("{what}: {} {}", ended["outcome"], ended["why"]);
        assert!(ended["outcome"] == "refused" || ended["outcome"] == "failed", "{what}: {ended}");
        assert_eq!(fleet.world.running(), "v1", "{what}");
    }
    fleet.finish().await;
}
