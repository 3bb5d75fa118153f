//! A full disk under the database, and callers that go away: what was answered 202 is there after a restart, and what was not
//! answered holds nobody up.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use futures_util::future::join_all;
use serde_json::json;
use tagalong::clock;
use tagalong::config::Admission;
use tagalong::model::Caller;
use tagalong::model::Commit;
use tagalong::model::DatasetName;
use tagalong::model::DeploymentId;
use tagalong::model::Lane;
use tagalong::model::Message;
use tagalong::model::Order;
use tagalong::model::OrderKind;
use tagalong::model::Outcome;
use tagalong::model::Refusal;
use tagalong::model::ServiceName;
use tagalong::orders;
use tagalong::store::Delivery;
use tagalong::store::LastReload;
use tagalong::store::OrderError;
use tagalong::store::Owe;
use tagalong::store::Store;
use tagalong::store::StoreError;
use tagalong::store::Terms;
use tagalong::store::Wait;
use tagalong::store::Wanted;

use crate::cluster::Cluster;
use crate::support::Call;
use crate::support::Database;
use crate::support::Plan;
use crate::support::Rig;
use crate::support::folder;
use crate::support::until;

on_both!(
    what_was_answered_202_is_there_whatever_the_disk_does,
    a_call_that_is_given_up_leaves_no_transaction_open,
    orders_that_come_together_are_each_decided_by_themselves
);

/// A small file system in memory, unmounted when dropped.
struct Small(PathBuf);

#[allow(clippy::disallowed_methods, reason = "a test may start what it needs")]
impl Small {
    fn mount(at: PathBuf, options: &str) -> Self {
        std::fs::create_dir(&at).unwrap();
        let mounted = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&at).status().unwrap();
        assert!(mounted.success(), "this test needs root");
        Self(at)
    }

    /// Leaves room for `pages` of 4 KiB.
    fn fill(&self, pages: u64) {
        let free = rustix::fs::statvfs(&self.0).unwrap();
        let mut filler = std::fs::File::create(self.0.join("filler")).unwrap();
        for _ in 0..free.f_bavail.saturating_sub(pages) {
            // Written, for a hole would take no room. Who else writes meanwhile may have taken some of it.
            if filler.write_all(&[1; 4096]).is_err() {
                break;
            }
        }
    }

    fn empty(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

#[allow(clippy::disallowed_methods, reason = "a test may start what it needs")]
impl Drop for Small {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// The number of a user of this machine.
fn user_id(name: &str) -> u32 {
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let mut lines = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    lines.find(|fields| fields[0] == name).map_or(0, |fields| fields[2].parse().unwrap())
}

/// A server whose database lies on a small disk.
async fn on_a_small_disk(database: Database, mut plan: Plan) -> (Small, Rig) {
    plan.services = vec!["web", "db", "old"];
    let dir = folder();
    if database == Database::Sqlite {
        let small = Small::mount(dir.path().join("server"), "size=12m");
        return (small, plan.start_in(dir, None).await);
    }
    // The server of the database is another user.
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let small = Small::mount(dir.path().join("tables"), &format!("size=32m,mode=700,uid={}", user_id("postgres")));
    let url = Cluster::new_database_in(&small.0).await;
    (small, plan.start_in(dir, Some(url)).await)
}

/// Text that no database packs into less.
fn noise(bytes: usize) -> String {
    let mut text = String::new();
    while text.len() < bytes {
        let _ = write!(text, "{:02x}", u64::from_le_bytes(clock::random_bytes()));
    }
    text
}

/// What is written beside orders.
const SITES: [&str; 10] = ["audit", "named value", "reload", "debts", "settle", "put off", "forgive", "attempts", "resume", "cancel"];

fn dataset(round: usize) -> DatasetName {
    DatasetName::parse(&format!("d{round}")).unwrap()
}

fn lane(round: usize) -> Lane {
    Lane::Peers { executor: "full".into(), dataset: dataset(round) }
}

fn owe(receiver: String) -> Owe {
    Owe { receiver, key: "newest".into(), message: Message::Commit(Commit::parse(&"a".repeat(40)).unwrap()) }
}

fn delivery(round: usize) -> Delivery {
    Delivery { caller: "key:full".into(), id: format!("resume{round}"), body_sha256: noise(64) }
}

/// What must be there before the disk is full.
async fn prepare(site: &str, rig: &Rig, round: usize) -> Option<DeploymentId> {
    let store = &rig.app().shared().store;
    if matches!(site, "settle" | "put off" | "forgive") {
        store.owe(&lane(round), &[owe("http://a/".into())], 1, 1).await.unwrap();
    }
    if site != "cancel" {
        return None;
    }
    // Nobody carries out what is of no service here, so it waits.
    let terms = terms(100_000);
    Some(store.enqueue(&order(&format!("nobody{round}"), "1", ""), &Wanted::Ordered, None, &terms).await.unwrap().id)
}

async fn write(site: &str, store: &Store, round: usize, waiting: Option<&DeploymentId>) -> Result<(), StoreError> {
    let (name, service) = (dataset(round), ServiceName::parse("web").unwrap());
    let debt = || async { store.owed(&lane(round)).await.map(|debts| debts[0].clone()) };
    match site {
        "audit" => store.audit("tagalong", "full", &format!("t{round}"), &noise(9000)).await,
        "named value" => store.named_value(&format!("n{round}"), || noise(9000)).await.map(|_| ()),
        "reload" => {
            let last = LastReload { outcome: "in-sync".into(), why: Some(noise(9000)), load_fault: None, at_ms: 1, loaded_ms: None };
            store.reloaded("full", &name, &last).await
        }
        "debts" => {
            let peers: Vec<Owe> = (0..40).map(|n| owe(format!("http://{n}.{}/", noise(200)))).collect();
            store.owe(&lane(round), &peers, 1, 1).await.map(|_| ())
        }
        "settle" => store.settle(&lane(round), &debt().await?).await,
        "put off" => {
            let wait = Wait { next_ms: 2, quiet_ms: None, why: noise(9000) };
            store.put_off(&lane(round), &debt().await?, "full", &wait).await
        }
        "forgive" => store.forgive(&lane(round), "http://a/").await,
        "attempts" => {
            for _ in 0..300 {
                store.count_failed(&format!("{round}.{}", noise(40)));
            }
            store.settle_attempts().await
        }
        "resume" => match store.resume(&service, "tagalong", Some(&delivery(round))).await {
            Ok(_) => Ok(()),
            Err(OrderError::Store(error)) => Err(error),
            Err(other) => panic!("{other}"),
        },
        "cancel" => {
            let outcome = Outcome::Failed { why: noise(9000) };
            store.finish_waiting(waiting.unwrap(), &outcome).await.map(|still_waited| assert!(still_waited))
        }
        other => panic!("{other}"),
    }
}

/// How to see from outside that a write was kept: a query and the number that it gives.
fn seen(site: &str, round: usize, waiting: Option<&DeploymentId>) -> Option<(String, i64)> {
    let debts = format!("SELECT COUNT(*) FROM outbox WHERE lane = 'peers/full/d{round}'");
    Some(match site {
        "audit" => (format!("SELECT COUNT(*) FROM audit WHERE target = 't{round}'"), 1),
        "named value" => (format!("SELECT COUNT(*) FROM meta WHERE name = 'n{round}'"), 1),
        "reload" => (format!("SELECT COUNT(*) FROM datasets WHERE dataset = 'd{round}'"), 1),
        "debts" => (debts, 40),
        "settle" | "forgive" => (debts, 0),
        "put off" => (format!("{debts} AND why IS NOT NULL"), 1),
        "resume" => (format!("SELECT COUNT(*) FROM deliveries WHERE id = 'resume{round}'"), 1),
        "cancel" => {
            let lines = "(SELECT COUNT(*) FROM lines WHERE kind = 'outcome' AND lines.deployment = deployments.id)";
            (format!("SELECT {lines} FROM deployments WHERE outcome_name = 'failed' AND id = '{}'", waiting?), 1)
        }
        _ => return None,
    })
}

/// Orders that come at once; returns the ids that were answered with 202, and how many were not taken.
async fn burst(rig: &Rig, round: usize) -> (Vec<String>, usize) {
    let reason = noise(1900);
    let deploy = |n: usize| {
        let body = json!({ "service": "web", "tag": format!("{round}-{n}"), "reason": reason, "force": true });
        Call::post("/api/v1/deployments", &body).by(rig.key())
    };
    let back = json!({ "service": "old", "to": { "tag": format!("{round}") }, "reason": reason });
    let calls = (0..6).map(deploy).chain([Call::post("/api/v1/rollbacks", &back).by(rig.key())]);
    let (mut taken, mut refused) = (Vec::new(), 0);
    for answer in join_all(calls.map(|call| call.send(rig))).await {
        if answer.status == 202 {
            taken.push(answer.json()["id"].as_str().unwrap().to_owned());
        } else {
            assert_eq!(answer.status, 503, "{}", answer.text);
            refused += 1;
        }
    }
    (taken, refused)
}

/// What the database has, seen by a program of its own.
async fn number(rig: &Rig, query: &str) -> i64 {
    let query: &'static str = Box::leak(query.to_owned().into_boxed_str());
    rig.count(query).await
}

async fn missing(rig: &Rig, taken: &[String]) -> Vec<String> {
    let mut missing = Vec::new();
    for part in taken.chunks(100) {
        let list = part.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(", ");
        if number(rig, &format!("SELECT COUNT(*) FROM deployments WHERE id IN ({list})")).await != part.len() as i64 {
            missing.extend_from_slice(part);
        }
    }
    missing
}

/// A run that is at its steps when the disk is full: it goes on when there is room again.
async fn run_through(rig: &Rig, small: &Small, round: usize) -> bool {
    let id = rig.order("db", &format!("r{round}")).await;
    empty_log(rig).await;
    small.fill(0);
    let (hub, filled) = (&rig.app().shared().hub, Instant::now());
    let hit = until("the run meets the full disk, or ends", async || {
        let is_done = rig.show(&id).await["state"] == "done";
        // Or it could not even begin.
        (is_done || hub.is_unwritable() || filled.elapsed() > Duration::from_millis(500)).then_some(!is_done)
    });
    let hit = hit.await;
    small.empty();
    rig.ended(&id).await;
    hit
}

/// SQLite writes over its log as long as that has room: nothing would meet a full disk.
async fn empty_log(rig: &Rig) {
    if rig.url.is_none() {
        rig.execute("PRAGMA wal_checkpoint(TRUNCATE)").await;
    }
}

async fn what_was_answered_202_is_there_whatever_the_disk_does(database: Database) {
    const ROUNDS: usize = 100;
    let (small, mut rig) = on_a_small_disk(database, Plan::new(database)).await;
    let (mut taken, mut kept, mut hits) = (Vec::new(), Vec::new(), BTreeMap::<&str, usize>::new());
    let (mut slowest, mut refused) = (Duration::ZERO, 0);
    for round in 0..ROUNDS {
        let site = SITES[round % SITES.len()];
        if round % 10 == 3 && run_through(&rig, &small, round).await {
            *hits.entry("run").or_default() += 1;
        }
        let waiting = prepare(site, &rig, round).await;
        empty_log(&rig).await;
        // From nothing to enough for one, so that it ends at another page each time.
        small.fill([0, 1, 2, 3, 5, 8, 12, 16, 24, 32][(round / SITES.len() + round) % 10]);
        match write(site, &rig.app().shared().store, round, waiting.as_ref()).await {
            Ok(()) => kept.extend(seen(site, round, waiting.as_ref())),
            Err(error) => {
                assert!(matches!(error, StoreError::Query(_) | StoreError::Shared(_)), "{site}: {error}");
                *hits.entry(site).or_default() += 1;
            }
        }
        let (ids, not) = burst(&rig, round).await;
        taken.extend(ids);
        refused += not;
        small.empty();
        // With room again it takes orders at once.
        let freed = Instant::now();
        let (ids, _) =
            until("orders are taken again", async || Some(burst(&rig, round).await).filter(|(ids, not)| !ids.is_empty() && *not == 0))
                .await;
        slowest = slowest.max(freed.elapsed());
        taken.extend(ids);
    }
    println!("{database:?}: {} taken, {refused} refused, again after at most {slowest:?}; met by {hits:?}", taken.len());
    // Sooner than the next look at the disk, which comes every 5 s.
    assert!(slowest < Duration::from_secs(4), "{slowest:?}");
    assert!(refused > 50, "the disk was hardly ever full");
    // PostgreSQL writes over the room of old rows, so not every write meets the end of the disk there.
    let every = SITES.iter().filter(|site| **site != "cancel" || database == Database::Sqlite);
    let must: Vec<&&str> = if database == Database::Sqlite { every.collect() } else { vec![&"audit", &"named value", &"reload", &"debts"] };
    assert!(must.iter().all(|site| hits.contains_key(**site)), "{hits:?}");
    assert_eq!(missing(&rig, &taken).await, Vec::<String>::new(), "before the restart");
    rig.restart().await;
    assert_eq!(missing(&rig, &taken).await, Vec::<String>::new(), "after the restart");
    for (query, expected) in kept {
        assert_eq!(number(&rig, &query).await, expected, "{query}");
    }
    rig.app().shared().store.verify_audit(None).await.unwrap().unwrap();
    // What nobody carries out would wait for ever.
    rig.execute("DELETE FROM deployments WHERE service LIKE 'nobody%'").await;
    rig.finish().await;
}

/// Anybody who goes away in the middle of a write takes it along or not, and the next one is kept.
async fn a_call_that_is_given_up_leaves_no_transaction_open(database: Database) {
    const ROUNDS: usize = 150;
    let rig = Plan::new(database).start().await;
    let gate = rig.gate("web");
    rig.order_running("web", "first").await;
    let store = &rig.app().shared().store;
    let mut given_up = 0;
    for round in 0..ROUNDS {
        let mut write = Box::pin(store.audit("tagalong", "given up", "x", "y"));
        // Looked after a little longer with each round, so given up at every place of the transaction.
        let mut is_done = false;
        for _ in 0..round * round / 4 {
            is_done = is_done || futures_util::poll!(&mut write).is_ready();
            tokio::task::yield_now().await;
        }
        drop(write);
        given_up += usize::from(!is_done);
        if round % 10 == 0 {
            let id = rig.order("web", &format!("{round}")).await;
            assert_eq!(missing(&rig, &[id]).await, Vec::<String>::new(), "after {round}");
        }
    }
    println!("{database:?}: {given_up} of {ROUNDS} were given up");
    assert!(given_up > 5, "only {given_up}");
    store.verify_audit(None).await.unwrap().unwrap();
    drop(gate);
    rig.finish().await;
}

fn terms(max_waiting: i64) -> Terms {
    let door = orders::at_the_door;
    Terms {
        given: None,
        approved: None,
        max_waiting,
        hold_ms: None,
        tag_pattern: None,
        pins: 1,
        admission: Admission::default(),
        objection: None,
        awaits_approval: false,
        is_guarded: false,
        door,
    }
}

fn order(service: &str, tag: &str, reason: &str) -> Order {
    Order {
        kind: OrderKind::Deploy,
        service: ServiceName::parse(service).unwrap(),
        tag: Some(tag.parse().unwrap()),
        digest: None,
        commit: None,
        git_ref: None,
        run_url: None,
        run_number: None,
        actor: None,
        reason: Some(reason.to_owned()),
        cause: None,
        force: true,
        dry_run: false,
        caller: Caller::Tagalong,
    }
}

async fn orders_that_come_together_are_each_decided_by_themselves(database: Database) {
    let rig = Plan::new(database).start().await;
    let gate = rig.gate("web");
    let running = rig.order_running("web", "first").await;
    let store = &rig.app().shared().store;
    let terms = terms(100);
    let ask = async |tag: &str, reason: &str, id: &str, body: &str| {
        let delivery = Delivery { caller: "tagalong".into(), id: id.into(), body_sha256: body.into() };
        store.enqueue(&order("web", tag, reason), &Wanted::Ordered, Some(&delivery), &terms).await
    };
    let mut asked = Vec::new();
    for n in 0..60 {
        asked.push(match n % 20 {
            // The same call twice, its id for another body, and a text that PostgreSQL does not take.
            7 => ("again".to_owned(), String::new(), format!("id{}", n - 1), format!("body{}", n - 1)),
            11 => ("other".to_owned(), String::new(), format!("id{}", n - 1), "other".to_owned()),
            13 => ("nul".to_owned(), "a\0b".to_owned(), format!("id{n}"), format!("body{n}")),
            _ => (format!("t{n}"), String::new(), format!("id{n}"), format!("body{n}")),
        });
    }
    let answers = join_all(asked.iter().map(|(tag, reason, id, body)| ask(tag, reason, id, body))).await;
    let mut ids = Vec::new();
    for (n, answer) in answers.iter().enumerate() {
        match (n % 20, answer) {
            (7, Ok(again)) => assert!(again.repeated && Some(&again.id) == ids.last(), "{n}"),
            (11, Err(OrderError::Refused(Refusal::IdReused))) => {}
            (13, Err(OrderError::Store(_))) if database == Database::Postgres => {}
            (_, Ok(accepted)) if !accepted.repeated => {
                // Each took the place of the one before it.
                assert_eq!(accepted.superseded.as_ref(), ids.last(), "{n}");
                ids.push(accepted.id.clone());
            }
            _ => panic!("{n}: {answer:?}"),
        }
    }
    assert!(ids.is_sorted(), "{ids:?}");
    assert_eq!(number(&rig, "SELECT COUNT(*) FROM deployments WHERE state = 'waiting'").await, 1);
    assert_eq!(number(&rig, "SELECT COUNT(*) FROM lines WHERE kind = 'outcome'").await, ids.len() as i64 - 1);
    assert_eq!(number(&rig, "SELECT COUNT(*) FROM audit WHERE action = 'order'").await, ids.len() as i64 + 1);
    store.verify_audit(None).await.unwrap().unwrap();
    drop(gate);
    rig.ended(&running).await;
    rig.finish().await;
}

/// `/readyz` tells of a full disk by itself, and of room again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_not_ready() {
    let (small, rig) = on_a_small_disk(Database::Sqlite, Plan::new(Database::Sqlite)).await;
    let ready = async || Call::get("/readyz").send(&rig).await.status;
    assert_eq!(ready().await, 200);
    empty_log(&rig).await;
    small.fill(0);
    // The answer from before holds for five seconds.
    until("it is not ready", async || (ready().await == 503).then_some(())).await;
    let asked = Instant::now();
    assert_eq!(join_all((0..50).map(|_| ready())).await, [503; 50]);
    assert!(asked.elapsed() < Duration::from_secs(4), "each asked the disk by itself");
    small.empty();
    until("it is ready", async || (ready().await == 200).then_some(())).await;
    rig.finish().await;
}

/// Somebody takes the database's file away beneath the server, or puts another one in its place.
#[tokio::test]
async fn what_the_next_start_would_not_find_is_not_answered_202() {
    let mut rig = Plan::new(Database::Sqlite).start().await;
    let mut accepted = vec![rig.order("web", "first").await];
    let (file, aside) = (rig.data_dir().join("tagalong.db"), rig.data_dir().join("aside.db"));
    for is_replaced in [false, true] {
        std::fs::rename(&file, &aside).unwrap();
        if is_replaced {
            std::fs::copy(&aside, &file).unwrap();
        }
        let order = Call::post("/api/v1/deployments", &json!({"service": "web", "tag": "lost", "force": true}));
        let answer = order.by(rig.key()).send(&rig).await;
        assert_eq!(answer.code(), (503, "busy".to_owned()), "replaced: {is_replaced}");
        assert_eq!(file.exists(), is_replaced, "another database was made");
        std::fs::rename(&aside, &file).unwrap();
        accepted.push(rig.order("web", &format!("after-{is_replaced}")).await);
    }
    rig.restart().await;
    for id in accepted {
        rig.ended(&id).await;
    }
    rig.finish().await;
}

#[tokio::test]
async fn a_file_that_is_no_database_any_more_is_named_with_what_to_do() {
    let dir = folder();
    std::fs::write(dir.path().join("tagalong.db"), [7; 8192]).unwrap();
    let error = Store::open(dir.path(), None).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged(..)) && error.to_string().contains("tagalong restore"), "{error}");
}
