//! A storm on a control plane and its agent: orders at both, and meanwhile either is killed, their line is cut or goes dark, frames are lost,
//! halved and doubled, and the host's database is held. After each round both are calm again, and what holds then is looked at: everything
//! has ended once, on both sides alike and with all its lines, and what runs is what is recorded.
//!
//! A few rounds in CI, by hand `ROUNDS=500 SEED=7 make storm`. The seed is printed.

use std::collections::BTreeMap;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;

use crate::dice::Dice;
use crate::dice::number;
use crate::fleet::Fleet;
use crate::fleet::until_known;
use crate::support::Server;

/// How many rounds there are unless `ROUNDS` says otherwise.
const ROUNDS: u64 = 4;
/// Everything has ended so long after a round at the latest, or it never will.
const CALM: Duration = Duration::from_mins(4);
/// The points of a line, as `wire.py` knows them.
const POINTS: [&str; 6] = ["down.order", "down.ack", "down.cancel", "up.accepted", "up.lines", "up.ended"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Blow {
    Nothing,
    KillControl,
    KillAgent,
    KillBoth,
    Cut,
    Dark,
    Frames,
    Database,
    PageFails,
}

const BLOWS: [Blow; 9] = [
    Blow::Nothing,
    Blow::KillControl,
    Blow::KillAgent,
    Blow::KillBoth,
    Blow::Cut,
    Blow::Dark,
    Blow::Frames,
    Blow::Database,
    Blow::PageFails,
];

struct Storm {
    fleet: Fleet,
    dice: Dice,
    /// What was accepted at the control plane, and on the host.
    accepted: Vec<String>,
    blows: BTreeMap<Blow, u32>,
}

impl Storm {
    /// Orders something at the control plane, or now and then on the host itself.
    async fn order(&mut self) {
        let tag = format!("v{}", 1 + self.dice.roll(9));
        let is_on_the_host = self.dice.roll(4) == 0;
        let at: &Server = if is_on_the_host { self.fleet.world.server() } else { self.fleet.control() };
        let answer = match self.dice.roll(6) {
            0 => at.try_post("/api/v1/rollbacks", json!({ "service": "web" })).await,
            1 if !self.accepted.is_empty() => {
                let id = self.dice.one_of(&self.accepted.iter().map(String::as_str).collect::<Vec<_>>()).to_owned();
                return drop(at.try_post(&format!("/api/v1/deployments/{id}/cancel"), json!({})).await);
            }
            _ => at.try_post("/api/v1/deployments", json!({ "service": "web", "tag": tag, "force": true })).await,
        };
        if let Some((202, answer)) = answer {
            self.accepted.push(answer["id"].as_str().expect("an id").to_owned());
        }
    }

    async fn strike(&mut self, blow: Blow) {
        *self.blows.entry(blow).or_default() += 1;
        match blow {
            Blow::Nothing => {}
            Blow::KillControl => self.fleet.kill_control(),
            Blow::KillAgent => self.fleet.kill_agent(),
            Blow::KillBoth => {
                self.fleet.kill_control();
                self.fleet.kill_agent();
            }
            Blow::Cut => self.fleet.cut(),
            Blow::Dark => self.fleet.at_wire("dark", "x"),
            Blow::Frames => {
                for _ in 0..2 {
                    let point = self.dice.one_of(&POINTS);
                    let what = self.dice.one_of(&["cut", "half", "garbage", "twice", "drop"]);
                    self.fleet.at_wire(point, what);
                }
            }
            Blow::Database => {
                let lock = self.fleet.world.lock_database().await;
                self.dice.pause(3000).await;
                drop(lock);
            }
            Blow::PageFails => (1..=9).for_each(|tag| self.fleet.world.arm(&format!("page@v{tag}"), "fail")),
        }
        self.dice.pause(2500).await;
    }

    /// Everything is there again.
    async fn calm(&mut self, blow: Blow) {
        POINTS.into_iter().chain(["dark"]).for_each(|point| self.fleet.leave_wire(point));
        (1..=9).for_each(|tag| self.fleet.world.disarm(&format!("page@v{tag}")));
        if blow == Blow::Cut {
            self.fleet.mend();
        }
        if matches!(blow, Blow::KillAgent | Blow::KillBoth) {
            self.fleet.start_agent().await;
        }
        if matches!(blow, Blow::KillControl | Blow::KillBoth) {
            self.fleet.start_control().await;
        }
    }

    async fn round(&mut self, round: u64) {
        self.order().await;
        self.dice.pause(2500).await;
        let blow = self.dice.one_of(&BLOWS);
        println!("round {round}: {blow:?}");
        self.strike(blow).await;
        if !matches!(blow, Blow::KillControl | Blow::KillAgent | Blow::KillBoth) {
            self.order().await;
        }
        self.calm(blow).await;
        let there = all_have_ended(self.fleet.control()).await;
        let here = all_have_ended(self.fleet.world.server()).await;
        for (id, own) in &here {
            until_known(&self.fleet, id).await;
            let copied = self.fleet.agreed(id).await;
            assert_eq!(copied["outcome"], own["outcome"], "{id}");
        }
        for id in &self.accepted {
            let told = there.get(id).or_else(|| here.get(id)).unwrap_or_else(|| panic!("{id} was accepted and is lost"));
            let is_unknown_there = !here.contains_key(id);
            let changed_nothing = ["refused", "failed", "cancelled", "superseded"].iter().any(|word| told["outcome"] == *word);
            assert!(!is_unknown_there || changed_nothing, "the host knows nothing of it: {told}");
        }
        self.what_runs_is_told().await;
    }

    /// Where the last change ended well, what runs is what both have recorded.
    async fn what_runs_is_told(&self) {
        for server in [self.fleet.control(), self.fleet.world.server()] {
            let (_, service) = server.get("/api/v1/services/web").await;
            assert_eq!(service["running"], Value::Null, "{service}");
            if service["last"].is_null() || service["last"]["outcome"] == "live" {
                assert_eq!(service["drift"], Value::Null, "{service}");
            }
        }
        let here = seen(self.fleet.world.server()).await;
        let there = seen(self.fleet.control()).await;
        assert_eq!((&here["live"]["id"], &here["pinned"]), (&there["live"]["id"], &there["pinned"]));
    }
}

/// The service, once `server` sees what runs.
async fn seen(server: &Server) -> Value {
    let began = Instant::now();
    loop {
        let (_, service) = server.get("/api/v1/services/web").await;
        if service["standing"]["word"] != "unknown" {
            return service;
        }
        assert!(began.elapsed() < CALM, "what runs is not seen: {service}\n{}", server.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Everything that `server` knows, once nothing of it runs or waits.
async fn all_have_ended(server: &Server) -> BTreeMap<String, Value> {
    let began = Instant::now();
    loop {
        let (_, all) = server.get("/api/v1/deployments?limit=100").await;
        let all = all["deployments"].as_array().expect("a list").clone();
        if all.iter().all(|one| one["state"] == "done") {
            return all.into_iter().map(|one| (one["id"].as_str().expect("an id").to_owned(), one)).collect();
        }
        assert!(began.elapsed() < CALM, "these do not end: {all:#?}\n{}", server.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_plane_and_its_agent_keep_their_promises() {
    let (dice, seed) = Dice::seeded_by("SEED");
    println!("SEED={seed}");
    let mut storm = Storm { fleet: Fleet::landed().await, dice, accepted: Vec::new(), blows: BTreeMap::new() };
    for round in 0..number("ROUNDS").unwrap_or(ROUNDS) {
        storm.round(round).await;
    }
    println!("SEED={seed}: {} accepted, {:?}", storm.accepted.len(), storm.blows);
    assert!(!storm.accepted.is_empty(), "nothing was accepted");
    storm.fleet.finish().await;
}
