//! A rollback is decided by the record as it stands in the transaction that takes it, whatever else happens at that moment.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use serde_json::json;
use sqlx::AnyConnection;
use sqlx::AssertSqlSafe;
use sqlx::Connection as _;

use crate::support::Answer;
use crate::support::Call;
use crate::support::Database;
use crate::support::Plan;
use crate::support::Rig;

on_both!(what_ends_while_a_rollback_comes_counts, rollbacks_at_once_are_each_decided_by_what_runs_then);

async fn roll_back(rig: &Rig) -> Answer {
    Call::post("/api/v1/rollbacks", &json!({ "service": "web", "to": "previous" })).by(rig.key()).send(rig).await
}

/// How a deployment ends: its kind, its outcome, and whether it is verified from then on; and the tag that a rollback which comes
/// afterwards goes back to. One that came before would go back to the tag 3, which was live.
const ENDS: [(&str, &str, i64, &str); 2] = [
    // It was undone, so the last verified release serves and the one before it is wanted.
    ("deploy", r#"{"outcome":"rolled_back","why":"w","to":"t","verified_before":true}"#, 0, "2"),
    // It was a rollback itself, and landed the tag 2.
    ("rollback", r#"{"outcome":"live","warnings":[]}"#, 1, "1"),
];

/// What stands in front of the queue as another server does, and then ends `running` as that one would.
async fn end_under_lock(rig: &Rig, running: &str, kind: &str, outcome: &str, verified: i64) -> AnyConnection {
    let mut other = AnyConnection::connect(&rig.database_url()).await.unwrap();
    let alone = match rig.plan.database {
        Database::Sqlite => "BEGIN IMMEDIATE",
        Database::Postgres => "BEGIN; SELECT pg_advisory_xact_lock(hashtext('tagalong'), hashtext('queue'))",
    };
    let name = serde_json::from_str::<Value>(outcome).unwrap()["outcome"].as_str().unwrap().to_owned();
    for statement in [
        alone.to_owned(),
        format!(
            "UPDATE runs SET state = 'done', outcome = '{outcome}', ended_ms = 1, verified = {verified}, changed = 1, lease_ms = NULL,
               images = (SELECT MIN(b.images) FROM runs AS b WHERE b.images LIKE '%web:2@%') WHERE deployment = '{running}'"
        ),
        format!(
            "UPDATE deployments SET state = 'done', kind = '{kind}', outcome = '{outcome}', outcome_name = '{name}', ended_ms = 1
             WHERE id = '{running}'"
        ),
    ] {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut other).await.unwrap();
    }
    other
}

async fn what_ends_while_a_rollback_comes_counts(database: Database) {
    for (kind, outcome, verified, wanted) in ENDS {
        let rig = Plan::new(database).start().await;
        rig.record_releases(3).await;
        let gate = rig.gate("web");
        let running = rig.order_running("web", "4").await;
        let mut other = end_under_lock(&rig, &running, kind, outcome, verified).await;
        let mut rollback = Box::pin(roll_back(&rig));
        let early = tokio::time::timeout(Duration::from_secs(1), &mut rollback).await;
        assert!(early.is_err(), "nothing can have been decided: {}", early.unwrap().text);
        sqlx::query("COMMIT").execute(&mut other).await.unwrap();
        other.close().await.unwrap();
        let accepted = rollback.await.json();
        let shown = rig.show(accepted["id"].as_str().unwrap()).await;
        assert_eq!((&shown["tag"], &accepted["preempted"]), (&json!(wanted), &Value::Null), "after {outcome}: {shown}");
        drop(gate);
        rig.finish().await;
    }
}

/// What a rollback goes back to depends on whether something runs, and it stops what runs: both are the same look. Between the
/// calls the queue begins what waits.
async fn rollbacks_at_once_are_each_decided_by_what_runs_then(database: Database) {
    const CALLERS: usize = 8;
    let rig = Plan::new(database).start().await;
    rig.record_releases(3).await;
    let mut to_the_last = 0;
    let mut all = Vec::new();
    for round in 0..4 {
        for answer in join_all((0..CALLERS).map(|_| roll_back(&rig))).await {
            assert_eq!(answer.status, 202, "{}", answer.text);
            let accepted = answer.json();
            let shown = rig.show(accepted["id"].as_str().unwrap()).await;
            let wanted = if accepted["preempted"].is_null() { "2" } else { "3" };
            assert_eq!(shown["tag"], wanted, "round {round}: {accepted} {shown}");
            to_the_last += usize::from(wanted == "3");
            all.push(accepted);
        }
    }
    println!("{database:?}: {to_the_last} of {} found another one running", all.len());
    for accepted in &all {
        if let Some(id) = accepted["superseded"].as_str() {
            assert_eq!(rig.show(id).await["outcome"], "superseded", "{accepted}");
        }
        // It was told to stop, or failed by itself at that moment: nothing can be landed here.
        if let Some(id) = accepted["preempted"].as_str() {
            assert_ne!(rig.ended(id).await["outcome"], "superseded", "{accepted}");
        }
    }
    rig.finish().await;
}
