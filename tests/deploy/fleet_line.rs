//! What can happen to the line between a control plane and its agent, at every frame of an order. Afterwards the order was carried out once,
//! or told as not; both sides have every line, in order; nothing is "running", and what runs is what both have recorded.

use std::time::Duration;
use std::time::Instant;

use serde_json::json;

use crate::fleet::Fleet;
use crate::support::until;

/// The frames of an order in their order: order → accepted → lines → outcome → acknowledgement.
const POINTS: [&str; 5] = ["down.order", "up.accepted", "up.lines", "up.ended", "down.ack"];

/// `tag` was landed once, and both sides say so.
async fn landed_once(fleet: &Fleet, id: &str, tag: &str, what: &str) {
    let ended = fleet.agreed(id).await;
    assert_eq!((&ended["outcome"], fleet.world.running().as_str()), (&json!("live"), tag), "{what}: {ended}");
    assert_eq!(fleet.world.env(), fleet.world.env_of(tag), "{what}");
    let (_, service) = fleet.control().get("/api/v1/services/web").await;
    assert_eq!((&service["live"]["id"], &service["drift"]), (&json!(id), &json!(null)), "{what}: {service}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_may_be_lost_cut_halved_doubled_or_come_late() {
    let fleet = Fleet::landed().await;
    let mut hits = 0;
    // What ends the line is the same to both sides but for the log, so halves and garbage are met at one point of each direction.
    let faults: [(&str, &[&str]); 5] = [
        ("cut", &POINTS),
        ("twice", &POINTS),
        ("late", &["up.accepted", "up.lines"]),
        ("half", &["down.order", "up.lines"]),
        ("garbage", &["up.ended", "down.ack"]),
    ];
    for (what, points) in faults {
        for point in points {
            let tag = format!("v{}", 2 + hits % 8);
            fleet.at_wire(point, what);
            let id = fleet.control().deploy(&tag).await;
            fleet.met(point).await;
            landed_once(&fleet, &id, &tag, &format!("{point} {what}")).await;
            fleet.leave_wire(point);
            hits += 1;
        }
    }
    println!("{hits} faults of frames were met");
    assert_eq!(hits, 16);
    fleet.finish().await;
}

/// Nobody says that it is lost, and the line goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_is_lost_is_said_again() {
    let fleet = Fleet::landed().await;
    for (point, tag) in POINTS.into_iter().zip(["v2", "v3", "v4", "v5", "v6"]) {
        fleet.at_wire(point, "drop");
        let id = fleet.control().deploy(tag).await;
        fleet.met(point).await;
        landed_once(&fleet, &id, tag, point).await;
        fleet.leave_wire(point);
    }
    fleet.finish().await;
}

/// At each frame, one of the two is killed or both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_may_be_killed_at_every_point_of_an_order() {
    let mut fleet = Fleet::landed().await;
    let mut hits = 0;
    for (place, point) in POINTS.into_iter().enumerate() {
        for (at, (control, agent)) in [(true, false), (false, true), (true, true)].into_iter().enumerate() {
            let tag = format!("v{}", 2 + (place * 3 + at) % 8);
            fleet.at_wire(point, "hold");
            let id = fleet.control().deploy(&tag).await;
            fleet.met(point).await;
            if control {
                fleet.kill_control();
            }
            if agent {
                fleet.kill_agent();
            }
            fleet.leave_wire(point);
            if agent {
                fleet.start_agent().await;
            }
            if control {
                fleet.start_control().await;
            }
            fleet.is_there_again().await;
            landed_once(&fleet, &id, &tag, &format!("{point}: control plane killed {control}, agent killed {agent}")).await;
            hits += 1;
        }
    }
    println!("{hits} kills were met");
    assert_eq!(hits, 15);
    fleet.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_goes_dark_is_noticed_and_one_that_is_slow_is_not_given_up() {
    let fleet = Fleet::landed().await;
    // 10 kbit/s, and two seconds until anything arrives.
    fleet.at_wire("slow", "1250 2");
    let began = Instant::now();
    let id = fleet.control().deploy("v2").await;
    let mut shown = fleet.control().show(&id).await;
    while shown["state"] != "done" {
        assert!(began.elapsed() < Duration::from_mins(3), "{shown}");
        tokio::time::sleep(Duration::from_millis(200)).await;
        shown = fleet.control().show(&id).await;
    }
    println!("over 10 kbit/s with a delay of 2 s it took {:?}", began.elapsed());
    assert_eq!(fleet.control().log().matches("an agent is away").count(), 0, "{}", fleet.control().log());
    fleet.leave_wire("slow");
    landed_once(&fleet, &id, "v2", "slow").await;
    // No byte passes from the middle of the next one.
    fleet.world.arm("up@v3", "hang");
    let id = fleet.control().deploy("v3").await;
    fleet.world.reached("up@v3").await;
    fleet.at_wire("dark", "x");
    fleet.world.disarm("up@v3");
    assert_eq!(fleet.world.server().outcome(&id).await["outcome"], "live");
    let began = Instant::now();
    while !fleet.control().log().contains("an agent is away") {
        assert!(began.elapsed() < Duration::from_mins(1), "{}", fleet.control().log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!("a line that is dark was noticed after {:?}", began.elapsed());
    assert_eq!(fleet.control().show(&id).await["state"], "running");
    fleet.leave_wire("dark");
    landed_once(&fleet, &id, "v3", "dark").await;
    fleet.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_and_newer_versions_work_together_and_another_major_version_is_refused() {
    let fleet = Fleet::landed().await;
    let again = async |fleet: &Fleet| {
        fleet.cut();
        fleet.mend();
        fleet.is_there_again().await;
    };
    // An agent of 1.0 names no datasets; one of 1.99 says more, and so does such a control plane.
    for (tag, point, fields) in [
        ("v2", "up.hello", json!({"version": {"major": 1, "minor": 0}, "datasets": null})),
        ("v3", "up.hello", json!({"version": {"major": 1, "minor": 99, "patch": 7}, "mood": {"good": [1]}})),
        ("v4", "down.welcome", json!({"version": {"major": 1, "minor": 0}})),
        ("v5", "down.welcome", json!({"version": {"major": 1, "minor": 99}, "weather": "fine"})),
        ("v6", "down.order", json!({"colour": "red"})),
        ("v7", "up.ended", json!({"colour": "red", "away": null})),
    ] {
        fleet.at_wire(point, &format!("edit {fields}"));
        again(&fleet).await;
        let id = fleet.control().deploy(tag).await;
        landed_once(&fleet, &id, tag, point).await;
        fleet.leave_wire(point);
    }
    // A known kind says something that is not known: the order is refused, or it is told, and the line goes on.
    fleet.at_wire("down.order", "edit {\"order\": \"teleport\"}");
    let id = fleet.control().deploy("v8").await;
    let ended = fleet.control().outcome(&id).await;
    assert!(ended["outcome"] == "failed" && ended["why"].to_string().contains("it cannot read the order"), "{ended}");
    fleet.leave_wire("down.order");
    fleet.at_wire("up.ended", "edit {\"outcome\": {\"outcome\": \"sublime\"}}");
    let id = fleet.control().deploy("v8").await;
    fleet.met("up.ended").await;
    until("both have it", || fleet.world.running() == "v8").await;
    let mut journal = String::new();
    while !journal.contains("cannot be read here") {
        tokio::time::sleep(Duration::from_millis(100)).await;
        journal = fleet.control().journal_so_far(&id).await;
    }
    fleet.leave_wire("up.ended");
    landed_once(&fleet, &id, "v8", "an outcome of another version").await;
    for (point, log) in [("up.hello", false), ("down.welcome", true)] {
        fleet.at_wire(point, "edit {\"version\": {\"major\": 2, \"minor\": 0}}");
        fleet.cut();
        fleet.mend();
        let log = || if log { fleet.world.server().log() } else { fleet.control().log() };
        until("the version is refused", || log().contains("speaks version 2.0 of the line and this side 1.1")).await;
        assert!(log().contains("; upgrade this side."), "{}", log());
        fleet.leave_wire(point);
    }
    again(&fleet).await;
    let id = fleet.control().deploy("v9").await;
    landed_once(&fleet, &id, "v9", "after").await;
    fleet.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_that_are_ten_minutes_apart_mix_nothing_up() {
    let fleet = Fleet::landed().await;
    for (clock, tag) in [("600000", "v2"), ("-600000", "v3")] {
        fleet.at_wire("clock", clock);
        fleet.cut();
        fleet.mend();
        fleet.is_there_again().await;
        let id = fleet.control().deploy(tag).await;
        landed_once(&fleet, &id, tag, clock).await;
        let own = fleet.world.land("v1").await;
        crate::fleet::until_known(&fleet, &own).await;
        landed_once(&fleet, &own, "v1", clock).await;
        let (_, all) = fleet.control().get("/api/v1/deployments?limit=2").await;
        assert_eq!((&all["deployments"][0]["id"], &all["deployments"][1]["id"]), (&json!(own), &json!(id)), "{all}");
    }
    fleet.finish().await;
}
