//! More orders than may be carried out at a time.

use serde_json::Value;
use serde_json::json;
use sqlx::Row as _;

use crate::support::Call;
use crate::support::Database;
use crate::support::Gate;
use crate::support::Plan;
use crate::support::Rig;
use crate::support::until;

on_both!(two_hundred_orders_at_once_are_carried_out_a_few_at_a_time);

const MANY: usize = 200;
const PLACES: i64 = 4;

/// How many were carried out at a time at most, by when each began and ended.
async fn most_at_a_time(rig: &Rig) -> i64 {
    let pool = rig.database().await;
    let rows = sqlx::query("SELECT started_ms, ended_ms FROM runs").fetch_all(&pool).await.unwrap();
    pool.close().await;
    let mut changes: Vec<(i64, i64)> = Vec::new();
    for row in rows {
        // What ends in the millisecond in which another begins has made room for it.
        changes.extend([(row.get(0), 1), (row.get(1), -1)]);
    }
    changes.sort_unstable();
    let sums = changes.iter().scan(0, |sum, (_, change)| {
        *sum += change;
        Some(*sum)
    });
    sums.max().unwrap_or(0)
}

/// Gives every service one order at the same time, and returns the deployments from the first to the last.
async fn order_all(rig: &Rig, services: &[&'static str]) -> Vec<String> {
    let orders = services.iter().map(|service| rig.order(service, "1"));
    let mut ids = futures_util::future::join_all(orders).await;
    ids.sort();
    ids
}

async fn two_hundred_orders_at_once_are_carried_out_a_few_at_a_time(database: Database) {
    let mut plan = Plan::new(database);
    plan.services = (0..MANY).map(|number| &*Box::leak(format!("s{number:03}").into_boxed_str())).collect();
    plan.server = format!("{}\nmax_waiting = {}\nmax_running = {PLACES}", plan.server, MANY - 1);
    let rig = plan.start().await;
    let gates: Vec<Gate> = rig.plan.services.iter().map(|service| rig.gate(service)).collect();
    let store = rig.app().shared().store.clone();
    let ids = order_all(&rig, &rig.plan.services).await;
    until("as many run as may", async || (store.counts().await.unwrap() == (MANY as i64 - PLACES, PLACES)).then_some(())).await;
    for (at, id) in ids.iter().enumerate() {
        assert_eq!(rig.show(id).await["state"], if at < PLACES as usize { "running" } else { "waiting" }, "the order at place {at}");
    }
    // The last one says why it waits, in its journal and on the page of its service.
    let last = rig.show(ids.last().unwrap()).await;
    let service = last["service"].as_str().unwrap().to_owned();
    let why = format!("All {PLACES} places are taken (server.max_running), so it waits for its turn");
    until("all that wait are told", async || {
        let told = rig.count("SELECT COUNT(DISTINCT deployment) FROM lines WHERE text LIKE '%places are taken%'").await;
        (told == MANY as i64 - PLACES).then_some(())
    })
    .await;
    let log = Call::get(&format!("/api/v1/deployments/{}/log?follow=false", last["id"].as_str().unwrap())).by(rig.key()).send(&rig).await;
    let shown = Call::get(&format!("/api/v1/services/{service}")).by(rig.key()).send(&rig).await.json();
    assert!(shown["blocked"].as_str().unwrap_or_default().starts_with(&why), "{shown}");
    assert!(log.text.contains(&why), "{}", log.text);
    // An operator waits behind none of them.
    let rollback = json!({ "service": service, "to": { "tag": "0" } });
    let answer = Call::post("/api/v1/rollbacks", &rollback).by(rig.key()).send(&rig).await;
    assert_eq!((answer.status, &answer.json()["superseded"]), (202, &last["id"]), "{}", answer.text);
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    rig.until(&id, |shown| shown["state"] == "running").await;
    drop(gates);
    for id in ids.iter().chain([&id]) {
        let ended = rig.ended(id).await;
        assert_ne!(ended["outcome"], Value::Null, "{ended}");
    }
    assert!(most_at_a_time(&rig).await <= PLACES + 1);
    rig.finish().await;
}
