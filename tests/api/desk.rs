//! Orders that come together are committed together, each is answered after its own commit, and what an order costs does not
//! grow with how many there were.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use serde_json::json;
use sqlx::Connection as _;

use crate::support::Call;
use crate::support::Database;
use crate::support::Plan;
use crate::support::Rig;

on_both!(orders_that_come_together_share_a_commit);

/// How many transactions have written: SQLite's log marks the last page of each, and PostgreSQL each row with its own.
async fn commits(rig: &Rig) -> i64 {
    if rig.plan.database == Database::Postgres {
        return rig.count("SELECT COUNT(DISTINCT CAST(xmin AS TEXT)) FROM audit").await;
    }
    let log = std::fs::read(rig.data_dir().join("tagalong.db-wal")).unwrap();
    let number = |at: usize| u32::from_be_bytes(log[at..at + 4].try_into().unwrap());
    let (page, salt) = (number(8) as usize, number(16));
    let frames = (32..).step_by(24 + page).take_while(|at| at + 24 <= log.len() && number(at + 8) == salt);
    frames.filter(|at| number(at + 4) != 0).count() as i64
}

fn order(rig: &Rig, tag: &str) -> Call {
    Call::post("/api/v1/deployments", &json!({ "service": "web", "tag": tag, "reason": "x".repeat(200) })).by(rig.key())
}

/// While nobody can write, none is answered; then all are, after a few commits, and each is there for everybody by then.
async fn orders_that_come_together_share_a_commit(database: Database) {
    const ORDERS: usize = 40;
    let rig = Plan::new(database).start().await;
    let gate = rig.gate("web");
    let running = rig.order_running("web", "first").await;
    let before = commits(&rig).await;
    let mut other = sqlx::AnyConnection::connect(&rig.database_url()).await.unwrap();
    let lock: &[&str] =
        if database == Database::Sqlite { &["BEGIN IMMEDIATE"] } else { &["BEGIN", "LOCK TABLE deployments IN EXCLUSIVE MODE"] };
    for statement in lock {
        sqlx::query(*statement).execute(&mut other).await.unwrap();
    }
    let mut orders = Box::pin(join_all((0..ORDERS).map(async |number| {
        let answer = order(&rig, &format!("t{number}")).send(&rig).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        let shown = rig.show(answer.json()["id"].as_str().unwrap()).await;
        assert_eq!(shown["tag"], format!("t{number}"), "{shown}");
    })));
    let early = tokio::time::timeout(Duration::from_secs(1), &mut orders).await;
    assert!(early.is_err(), "nothing can have been stored");
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    orders.await;
    let taken = commits(&rig).await - before;
    // The first, then 32, then the rest; beside them a lease is renewed now and then.
    assert!((1..=6).contains(&taken), "{ORDERS} orders took {taken} commits");
    assert_eq!(rig.count("SELECT COUNT(*) FROM audit WHERE action = 'order'").await, ORDERS as i64 + 1);
    drop(gate);
    rig.ended(&running).await;
    rig.finish().await;
}

/// What this process has read of files, bytes.
fn read_bytes() -> u64 {
    let counters = std::fs::read_to_string("/proc/self/io").unwrap();
    counters.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse().ok()).unwrap()
}

/// Each order is decided by indexes, and so is what is to be carried out next: nothing goes through all that there was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_costs_no_more_when_there_were_many() {
    const MANY: usize = 4000;
    const FEW: u64 = 40;
    let rig = Plan::new(Database::Sqlite).start().await;
    let gate = rig.gate("web");
    let running = rig.order_running("web", "first").await;
    let filled = futures_util::stream::iter(0..MANY).map(async |number| {
        let id = format!("{number}-{}", "i".repeat(100));
        assert_eq!(order(&rig, &format!("t{number}")).id(&id).send(&rig).await.status, 202);
    });
    filled.buffer_unordered(32).collect::<Vec<_>>().await;
    let size = std::fs::metadata(rig.data_dir().join("tagalong.db")).unwrap().len();
    let before = read_bytes();
    for number in 0..FEW {
        assert_eq!(order(&rig, &format!("after{number}")).send(&rig).await.status, 202);
    }
    let each = (read_bytes() - before) / FEW;
    println!("with {MANY} orders in {} KiB, one more reads {} KiB", size >> 10, each >> 10);
    assert!(each < 250 << 10, "each order reads {each} bytes");
    drop(gate);
    rig.ended(&running).await;
    rig.finish().await;
}
