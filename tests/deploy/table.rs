//! Every step, and everything that can happen while it is carried out: it fails, it hangs until its deadline, tagalong is
//! killed and started again, somebody cancels, an operator's rollback takes over. Each time the outcome is looked at, and
//! what is up, and `.env`, and what is left behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;

use serde_json::Value;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::cluster::Database;
use crate::control::Over;
use crate::support::until;
use crate::world::ENV;
use crate::world::Immutable;
use crate::world::Settings;
use crate::world::World;

/// How many worlds are there at a time.
const AT_A_TIME: usize = 5;

/// A step of landing v2 over v1, and the point of the stand-ins at which it is met.
#[derive(Clone, Copy, Debug)]
struct Place {
    step: &'static str,
    point: &'static str,
    /// Which deadline of the configuration is the step's.
    deadline: &'static str,
}

const fn place(step: &'static str, point: &'static str, deadline: &'static str) -> Place {
    Place { step, point, deadline }
}

/// The point of steps that read and write files only.
const FILES: &str = "";

const PLACES: [Place; 13] = [
    place("resolve", "manifest@v2", "resolve"),
    place("preflight", "config", "preflight"),
    place("before_hook", "before", "before"),
    place("pull", "pull@v2", "pull"),
    place("pin", FILES, ""),
    place("up", "up@v2", "up"),
    place("health", "health@v2", "health"),
    place("smoke", "page@v2", "smoke"),
    place("after_hook", "after", "after"),
    place("undo_pin", FILES, ""),
    place("undo_up", "up@v1", "up"),
    place("undo_health", "health@v1", "health"),
    place("undo_smoke", "page@v1", "smoke"),
];

impl Place {
    fn is_undo(self) -> bool {
        self.step.starts_with("undo")
    }

    fn is_before_the_pin(self) -> bool {
        ["resolve", "preflight", "before_hook", "pull"].contains(&self.step)
    }
}

/// What a case must end with.
struct Expected {
    outcome: &'static str,
    /// Whose content runs.
    runs: &'static str,
    /// Which tag is pinned.
    pinned: &'static str,
}

fn ends(outcome: &'static str, runs: &'static str, pinned: &'static str) -> Expected {
    Expected { outcome, runs, pinned }
}

fn when_it_fails(place: Place) -> Expected {
    match place.step {
        "resolve" | "pull" | "pin" => ends("failed", "v1", "v1"),
        "preflight" | "before_hook" => ends("refused", "v1", "v1"),
        "up" | "health" | "smoke" => ends("rolled_back", "v1", "v1"),
        "after_hook" => ends("live", "v2", "v2"),
        "undo_pin" => ends("rollback_failed", "v2", "v2"),
        "undo_up" => ends("rollback_failed", "v2", "v1"),
        _ => ends("rollback_failed", "v1", "v1"),
    }
}

fn when_it_hangs(place: Place) -> Expected {
    match place.step {
        "resolve" | "preflight" | "pull" => ends("failed", "v1", "v1"),
        // The database is what can hang at a pin, and the next round takes up what it could not store.
        "pin" => ends("live", "v2", "v2"),
        "undo_pin" => ends("rolled_back", "v1", "v1"),
        // The stand-in takes the old container away before it hangs.
        "undo_up" => ends("rollback_failed", "nothing", "v1"),
        _ => when_it_fails(place),
    }
}

fn when_it_is_killed(place: Place) -> Expected {
    if place.is_undo() { ends("rolled_back", "v1", "v1") } else { ends("live", "v2", "v2") }
}

fn when_it_is_cancelled(place: Place) -> Expected {
    match place.step {
        "after_hook" => ends("live", "v2", "v2"),
        // What is being brought back is brought back nevertheless.
        step if step.starts_with("undo") => ends("rolled_back", "v1", "v1"),
        _ => ends("cancelled", "v1", "v1"),
    }
}

/// Brings a world to where `place` begins: v1 is live and v2 is under way. For a step of the undo, v2's page is held back, and
/// [`let_go`] lets it fail.
async fn under_way(world: &World, place: Place) -> String {
    if place.is_undo() {
        world.arm("page@v2", "hang");
    }
    let id = world.desk().deploy("v2").await;
    if place.is_undo() {
        world.reached("page@v2").await;
    }
    id
}

fn let_go(world: &World, place: Place) {
    if place.is_undo() {
        // What was met so far was not met by the undo.
        world.forget(place.point);
        world.arm("page@v2", "fail");
    }
}

/// Stops v2 at `place` and confirms it from outside. What is returned is the waiting reader of the compose file.
async fn stopped_at(world: &World, place: Place) -> (String, Option<std::fs::File>) {
    if place.point != FILES {
        if place.point != "page@v1" {
            world.arm(place.point, "hang");
        }
        let id = under_way(world, place).await;
        world.arm(place.point, "hang");
        let_go(world, place);
        world.reached(place.point).await;
        is_at(world, &id, place).await;
        return (id, None);
    }
    if place.step == "pin" {
        world.arm("pull@v2", "hang");
    }
    let id = under_way(world, place).await;
    if place.step == "pin" {
        world.reached("pull@v2").await;
    }
    world.block_files();
    world.disarm("pull@v2");
    let_go(world, place);
    let pipe = world.files_are_read().await;
    is_at(world, &id, place).await;
    (id, Some(pipe))
}

async fn is_at(world: &World, id: &str, place: Place) {
    let here = world.server().show(id).await;
    assert_eq!(here["step"], place.step, "{here:#}\n{}", world.server().journal(id).await);
    // A control plane hears of it in a moment.
    let mut shown = world.desk().show(id).await;
    for _ in 0..6000 {
        if shown["step"] == place.step {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        shown = world.desk().show(id).await;
    }
    panic!("{shown:#}\n{}", world.desk().journal_so_far(id).await);
}

/// Everything goes on from where [`stopped_at`] stopped it.
fn goes_on(world: &World, place: Place, pipe: Option<std::fs::File>) {
    if place.point == FILES {
        world.unblock_files(pipe);
    } else {
        world.disarm(place.point);
    }
}

/// What was up before, and what it has become.
async fn judge(world: &World, before: &BTreeMap<String, Value>, id: &str, expected: &Expected) -> Value {
    let ended = world.desk().outcome(id).await;
    let after = world.containers();
    assert_eq!(world.server().outcome(id).await["outcome"], ended["outcome"], "both sides tell the same: {ended}");
    let seen = (ended["outcome"].as_str().unwrap_or_default(), world.running(), world.env());
    let wanted = (expected.outcome, expected.runs.to_owned(), world.env_of(expected.pinned));
    assert_eq!(seen, wanted, "{ended}\n{}\n{}", world.server().journal(id).await, world.server().log());
    for neighbour in ["db", "worker"] {
        assert_eq!(before[neighbour], after[neighbour]);
    }
    if ["failed", "refused"].contains(&expected.outcome) || (expected.outcome == "cancelled" && ended["changed"] == false) {
        assert_eq!(before, &after, "{ended}");
    }
    ended
}

async fn fails(place: Place) {
    fails_over(place, Over::Nothing).await;
}

async fn fails_over(place: Place, over: Over) {
    let world = World::landed(&Settings { over, ..Settings::default() }).await;
    let before = world.containers();
    let immutable = || Immutable::make(world.path("stack/.env"));
    let early = (place.step == "pin").then(immutable);
    if place.point != FILES && place.point != "page@v1" {
        world.arm(place.point, "fail");
    }
    let id = under_way(&world, place).await;
    let late = (place.step == "undo_pin").then(immutable);
    if place.point == "page@v1" {
        world.arm(place.point, "fail");
    }
    let_go(&world, place);
    let ended = judge(&world, &before, &id, &when_it_fails(place)).await;
    let was_met = if place.point == FILES { ended.to_string().contains("stack/.env failed") } else { world.was_met(place.point) };
    assert!(was_met, "{ended}");
    if place.step == "after_hook" {
        assert!(ended["warnings"].to_string().contains("the after-hook exited with code 1"), "{ended}");
    }
    drop((early, late));
    world.finish().await;
}

async fn hangs(place: Place) {
    hangs_over(place, Over::Nothing).await;
}

async fn hangs_over(place: Place, over: Over) {
    if place.point == FILES {
        return hangs_at_the_database(place, over).await;
    }
    let world = World::landed(&Settings { hurried: place.deadline, over, ..Settings::default() }).await;
    let before = world.containers();
    let (id, _) = stopped_at(&world, place).await;
    let ended = judge(&world, &before, &id, &when_it_hangs(place)).await;
    let said = [" within 6 s", "6 seconds", "not answer"];
    assert!(said.iter().any(|words| ended.to_string().contains(words)), "{ended}");
    world.disarm(place.point);
    world.finish().await;
}

/// Nothing else than the database can hold a pin up: somebody else writes to it for longer than we wait.
async fn hangs_at_the_database(place: Place, over: Over) {
    let world = World::landed(&Settings { over, ..Settings::default() }).await;
    let before = world.containers();
    let stop = if place.is_undo() { "page@v2" } else { "pull@v2" };
    world.arm(stop, "hang");
    let id = world.desk().deploy("v2").await;
    world.reached(stop).await;
    let lock = world.lock_database().await;
    if place.is_undo() {
        world.arm(stop, "fail");
    } else {
        world.disarm(stop);
    }
    until("the run gives up", || world.server().log().contains("this run ended without an outcome")).await;
    drop(lock);
    judge(&world, &before, &id, &when_it_hangs(place)).await;
    world.finish().await;
}

async fn is_killed(place: Place, database: Database) {
    is_killed_over(place, &Settings { database, ..Settings::default() }).await;
}

async fn is_killed_over(place: Place, settings: &Settings) {
    let mut world = World::landed(settings).await;
    let before = world.containers();
    let (id, pipe) = stopped_at(&world, place).await;
    world.kill();
    drop(pipe);
    goes_on(&world, place, None);
    world.start().await;
    let ended = judge(&world, &before, &id, &when_it_is_killed(place)).await;
    assert_eq!(ended["warnings"].as_array().is_some_and(|all| !all.is_empty()), place.step == "after_hook", "{ended}");
    world.finish().await;
}

/// The narrowest place: the pin is written, and that it is written is not stored yet.
async fn is_killed_behind_the_pin(place: Place, database: Database) {
    let mut world = World::landed(&Settings { database, ..Settings::default() }).await;
    let before = world.containers();
    let (id, pipe) = stopped_at(&world, place).await;
    let lock = world.lock_database().await;
    goes_on(&world, place, pipe);
    let expected = when_it_is_killed(place);
    until("the pin is written", || world.env() == world.env_of(expected.pinned)).await;
    assert_eq!(world.server().show(&id).await["step"], place.step);
    world.kill();
    drop(lock);
    world.start().await;
    judge(&world, &before, &id, &expected).await;
    world.finish().await;
}

async fn is_cancelled(place: Place) {
    let world = World::landed(&Settings::default()).await;
    let before = world.containers();
    let (id, pipe) = stopped_at(&world, place).await;
    let (status, answer) = world.server().post(&format!("/api/v1/deployments/{id}/cancel"), json!({})).await;
    assert_eq!(status, 200, "{answer}");
    if place.point == FILES || place.is_undo() {
        goes_on(&world, place, pipe);
    }
    let ended = judge(&world, &before, &id, &when_it_is_cancelled(place)).await;
    if ended["outcome"] == "cancelled" {
        assert_eq!((&ended["changed"], &ended["brought_back"]), (&json!(!place.is_before_the_pin()), &json!(!place.is_before_the_pin())));
        assert_eq!(ended["by"], "local:0");
    }
    world.disarm(place.point);
    world.finish().await;
}

/// A rollback comes while v2 is at `place`: v2 makes room, v1 is brought up once more, and CI has to wait.
async fn is_preempted(place: Place, database: Database) {
    let world = World::landed(&Settings { database, ..Settings::default() }).await;
    let before = world.containers();
    let (id, pipe) = stopped_at(&world, place).await;
    let rollback = world.server().roll_back(json!("previous")).await;
    if place.point == FILES || place.is_undo() {
        goes_on(&world, place, pipe);
    }
    let preempted = world.server().outcome(&id).await;
    world.disarm(place.point);
    let expected = when_it_is_cancelled(place).outcome;
    assert_eq!(preempted["outcome"], expected, "{preempted}");
    if expected == "cancelled" {
        assert_eq!((&preempted["changed"], &preempted["brought_back"]), (&json!(!place.is_before_the_pin()), &json!(false)));
        assert_eq!(preempted["by"], format!("rollback {rollback}"));
    }
    judge(&world, &before, &rollback, &ends("live", "v1", "v1")).await;
    let (status, refusal) = world.server().post("/api/v1/deployments", json!({"service": "web", "tag": "v3"})).await;
    assert_eq!((status, &refusal["code"]), (422, &json!("held")), "{refusal}");
    world.finish().await;
}

/// The steps at and behind which Docker is asked: all but the after-hook, whose failure is a warning.
static ASKING: [Place; 12] =
    [PLACES[0], PLACES[1], PLACES[2], PLACES[3], PLACES[4], PLACES[5], PLACES[6], PLACES[7], PLACES[9], PLACES[10], PLACES[11], PLACES[12]];

/// Docker is ended in the middle of a step, and with it what has no restart policy; it comes back after a while.
async fn docker_goes_away(place: Place) {
    let world = World::landed(&Settings::default()).await;
    let before = world.containers();
    let (id, pipe) = stopped_at(&world, place).await;
    world.forget("daemon");
    world.loses_docker().await;
    if place.point == FILES || matches!(place.step, "preflight" | "resolve") {
        goes_on(&world, place, pipe);
    }
    world.reached("daemon").await;
    let said = world.server().get("/api/v1/services/web").await.1["blocked"].to_string();
    assert!(said.contains(&format!("{id} has been at")) && said.contains("the Docker daemon does not answer"), "{said}");
    world.end_web();
    if place.point != FILES {
        world.disarm(place.point);
    }
    world.disarm("daemon");
    judge(&world, &before, &id, &when_it_is_killed(place)).await;
    let journal = world.server().journal(&id).await;
    let said = ["Docker was unavailable", "Docker answers again"];
    assert!(said.iter().any(|words| journal.contains(words)), "{journal}");
    assert_eq!(world.containers()["web"]["state"], "running");
    world.finish().await;
}

/// Runs `case` for every one of `places`, some at a time, and says how often each was met.
async fn at<F: Future<Output = ()> + Send + 'static>(
    places: &'static [Place],
    what: &str,
    case: impl Fn(Place) -> F + Copy + Send + 'static,
) {
    let (hits, room) = (Arc::new(Mutex::new(BTreeMap::<&str, usize>::new())), Arc::new(Semaphore::new(AT_A_TIME)));
    let mut cases = JoinSet::new();
    for place in places.iter().copied() {
        let (hits, room) = (Arc::clone(&hits), Arc::clone(&room));
        cases.spawn(async move {
            let _room = room.acquire_owned().await;
            let ended = tokio::spawn(case(place)).await;
            if ended.is_ok() {
                *hits.lock().unwrap().entry(place.step).or_default() += 1;
            }
            ended.err().map(|error| format!("{}: {error}", place.step))
        });
    }
    let faults: Vec<String> = cases.join_all().await.into_iter().flatten().collect();
    let hits = hits.lock().unwrap().clone();
    let shown: Vec<String> = places.iter().map(|place| format!("{} {}", place.step, hits.get(place.step).unwrap_or(&0))).collect();
    println!("{what}: {}", shown.join(", "));
    assert!(faults.is_empty(), "{what}: {faults:#?}");
    assert!(places.iter().all(|place| hits.get(place.step).is_some_and(|count| *count > 0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_may_fail() {
    assert_eq!(ENV.matches("WEB_TAG=v1").count(), 1);
    at(&PLACES, "fails", fails).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_may_hang() {
    at(&PLACES, "hangs", hangs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_may_be_cancelled() {
    at(&PLACES, "is cancelled", is_cancelled).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_may_go_away_at_every_step() {
    at(&ASKING, "Docker goes away", docker_goes_away).await;
}

async fn is_killed_at(place: Place, over: Over) {
    is_killed_over(place, &Settings { over, ..Settings::default() }).await;
}

/// One place of each kind: before the pin, the pin, behind it, and of the undo.
static SOME: [Place; 5] = [PLACES[0], PLACES[4], PLACES[5], PLACES[7], PLACES[10]];

/// The same where a control plane orders, and the host carries out: it is reached by `ssh`, or dials.
macro_rules! by_an_agent {
    ($($name:ident: $places:expr, $what:literal, $case:ident, $over:expr;)+) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() { at($places, $what, |place| $case(place, $over)).await }
    )+ };
}

by_an_agent! {
    every_step_may_fail_over_ssh: &PLACES, "fails over ssh", fails_over, Over::Stdio;
    every_step_may_hang_over_ssh: &PLACES, "hangs over ssh", hangs_over, Over::Stdio;
    the_host_may_be_killed_at_every_step_over_ssh: &PLACES, "the host is killed over ssh", is_killed_at, Over::Stdio;
    steps_may_fail_at_an_agent: &SOME, "fails at an agent", fails_over, Over::Dialled;
    steps_may_hang_at_an_agent: &SOME, "hangs at an agent", hangs_over, Over::Dialled;
    an_agent_may_be_killed_at_steps: &SOME, "an agent is killed", is_killed_at, Over::Dialled;
}

/// What hangs on the record alone, on each database.
macro_rules! on_both {
    ($($name:ident: $places:expr, $what:literal, $case:ident;)+) => { $(
        mod $name {
            use super::*;
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() { at($places, $what, |place| $case(place, Database::Sqlite)).await }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() { at($places, concat!($what, " (PostgreSQL)"), |place| $case(place, Database::Postgres)).await }
        }
    )+ };
}

static PINS: [Place; 2] = [PLACES[4], PLACES[9]];

on_both! {
    tagalong_may_be_killed_at_every_step: &PLACES, "is killed", is_killed;
    tagalong_may_be_killed_just_behind_a_pin: &PINS, "is killed behind the pin", is_killed_behind_the_pin;
    a_rollback_takes_over_at_every_step: &PLACES, "is pre-empted", is_preempted;
}
