//! Words in the database that are unknown: each is an error that names its column and row, and hides nothing else.

use serde_json::json;
use tagalong::model::Commit;
use tagalong::model::DatasetName;
use tagalong::model::DeploymentId;
use tagalong::model::Lane;
use tagalong::model::Message;
use tagalong::model::ServiceName;
use tagalong::store::Delivery;
use tagalong::store::LastReload;
use tagalong::store::Owe;
use tagalong::store::StoreError;

use crate::support::Call;
use crate::support::Database;
use crate::support::Plan;
use crate::support::Rig;

on_both!(
    a_word_that_is_none_of_ours_is_an_error_that_names_it,
    a_row_that_does_not_read_stops_no_other,
    a_release_that_does_not_read_is_none_to_go_back_to
);

async fn change(rig: &Rig, statement: &str) {
    assert_eq!(rig.execute(Box::leak(statement.to_owned().into_boxed_str())).await, 1, "{statement}");
}

fn is_named<T: std::fmt::Debug>(found: Result<T, StoreError>, place: &str) {
    match found {
        Err(StoreError::Value { place: named, .. }) => assert_eq!(named, place),
        other => panic!("{place}: {other:?}"),
    }
}

/// Columns of a deployment and of its run, and values that are unknown, in SQL.
const COLUMNS: [(&str, &str, &str); 22] = [
    ("deployments", "service", "'No Such'"),
    ("deployments", "kind", "'promote'"),
    ("deployments", "kind", "''"),
    ("deployments", "state", "'paused'"),
    ("deployments", "state", "'Done'"),
    ("deployments", "waits_for", "'luck'"),
    ("runs", "step", "'guard'"),
    ("deployments", "outcome", "'live'"),
    ("deployments", "outcome", "'{\"outcome\":\"won\"}'"),
    ("deployments", "outcome", "NULL"),
    ("deployments", "outcome_name", "'live'"),
    ("deployments", "tag", "'a b'"),
    ("deployments", "digest", "'sha256:x'"),
    ("deployments", "force", "2"),
    ("deployments", "dry_run", "-1"),
    ("runs", "verified", "7"),
    ("runs", "barrier", "2"),
    ("deployments", "caller", "'root'"),
    ("runs", "images", "'[\"x\"]'"),
    ("runs", "images", "'x'"),
    ("runs", "baseline", "'{}'"),
    ("runs", "report", "'[]'"),
];

async fn a_word_that_is_none_of_ours_is_an_error_that_names_it(database: Database) {
    let rig = Plan::new(database).start().await;
    let mut ids = Vec::new();
    for service in ["web", "db", "web"] {
        ids.push(rig.order(service, "1").await);
        rig.ended(&ids[ids.len() - 1]).await;
    }
    let (id, store) = (ids[0].as_str(), &rig.app().shared().store);
    let parsed: DeploymentId = id.parse().unwrap();
    for (table, column, value) in COLUMNS {
        let key = if table == "runs" { "deployment" } else { "id" };
        let keep = format!("CREATE TABLE kept AS SELECT * FROM {table} WHERE {key} = '{id}'");
        rig.execute(Box::leak(keep.into_boxed_str())).await;
        change(&rig, &format!("UPDATE {table} SET {column} = {value} WHERE {key} = '{id}'")).await;
        // An outcome that is gone or another shows by the name beside it.
        let named = if (column, value) == ("outcome", "NULL") { "outcome_name" } else { column };
        is_named(store.get(&parsed).await, &format!("{table}.{named} of {id}"));
        let shown = Call::get(&format!("/api/v1/deployments/{id}")).by(rig.key()).send(&rig).await;
        assert_eq!(shown.code(), (500, "unreadable".to_owned()), "{column}");
        assert!(shown.text.contains(&format!("{table}.{named} of {id}")), "{}", shown.text);
        let page = Call::get("/api/v1/deployments").by(rig.key()).send(&rig).await.json();
        let listed: Vec<&str> = page["deployments"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
        assert_eq!(listed, [ids[2].as_str(), ids[1].as_str()], "{column}");
        assert!(page["unreadable"][0].as_str().unwrap().contains(&format!("{table}.{named} of {id}")), "{page}");
        let one = Call::get("/api/v1/deployments?limit=1").by(rig.key()).send(&rig).await.json();
        assert_eq!(one["next_before"], json!(ids[2]));
        change(&rig, &format!("DELETE FROM {table} WHERE {key} = '{id}'")).await;
        change(&rig, &format!("INSERT INTO {table} SELECT * FROM kept")).await;
        rig.execute("DROP TABLE kept").await;
        assert!(store.get(&parsed).await.unwrap().is_some(), "{column}");
    }
    for (column, value) in [("step", "pulling"), ("kind", "info")] {
        let old = rig.show(id).await;
        let before = store.lines_after(&parsed, 0, 100).await.unwrap();
        let was = if column == "step" { before[0].step.as_str() } else { before[0].kind.as_str() };
        change(&rig, &format!("UPDATE lines SET {column} = '{value}' WHERE deployment = '{id}' AND position = 1")).await;
        is_named(store.lines_after(&parsed, 0, 100).await, &format!("lines.{column} of {id} line 1"));
        assert!(!store.lines_after(&parsed, 1, 100).await.unwrap().is_empty());
        change(&rig, &format!("UPDATE lines SET {column} = '{was}' WHERE deployment = '{id}' AND position = 1")).await;
        assert_eq!(rig.show(id).await, old);
    }
    others(&rig).await;
    rig.finish().await;
}

/// Tables beside deployments and their lines.
async fn others(rig: &Rig) {
    let store = &rig.app().shared().store;
    let (notes, web) = (DatasetName::parse("notes").unwrap(), ServiceName::parse("web").unwrap());
    let last = LastReload { outcome: "in-sync".into(), why: None, load_fault: None, at_ms: 1, loaded_ms: None };
    store.reloaded("here", &notes, &last).await.unwrap();
    change(rig, "UPDATE datasets SET outcome = 'fine'").await;
    is_named(store.last_reload("here", &notes).await, "datasets.outcome of notes");
    let lane = Lane::Peers { executor: "here".into(), dataset: notes.clone() };
    let message = Message::Commit(Commit::parse(&"a".repeat(40)).unwrap());
    store.owe(&lane, &[Owe { receiver: "http://a/".into(), key: "newest".into(), message }], 1, 1).await.unwrap();
    change(rig, "UPDATE outbox SET message = 'commit main'").await;
    is_named(store.owed(&lane).await, "outbox.message of http://a/");
    change(rig, "INSERT INTO holds (service, deployment, since_ms) VALUES ('web', 'x', 1)").await;
    is_named(store.recorded(&[(&web, 1)]).await.unwrap().remove(0).hold, "holds.deployment of x");
    let shown = Call::get("/api/v1/services/web").by(rig.key()).send(rig).await.json();
    assert!(shown["held"].as_str().unwrap().contains("holds.deployment of x"), "{shown}");
    change(rig, "DELETE FROM holds").await;
    change(rig, "INSERT INTO deliveries (caller, id, body_sha256, deployment, at_ms) VALUES ('key:ci', 'one', 'b', 'x', 1)").await;
    let delivery = Delivery { caller: "key:ci".into(), id: "one".into(), body_sha256: "b".into() };
    let answered = store.answered(&delivery).await.map_err(|error| match error {
        tagalong::store::OrderError::Store(error) => error,
        refused @ tagalong::store::OrderError::Refused(_) => panic!("{refused}"),
    });
    is_named(answered, "deliveries.deployment of key:ci one");
    change(rig, "UPDATE meta SET value = 'x' WHERE name = 'audit_head'").await;
    is_named(store.verify_audit(None).await, "meta.audit_head");
    change(
        rig,
        "UPDATE meta SET value = (SELECT CAST(seq AS TEXT) || ' ' || hash FROM audit ORDER BY seq DESC LIMIT 1) WHERE name = 'audit_head'",
    )
    .await;
}

/// A waiting and a running row of one service that cannot be read: another service's orders are carried out, and neither is taken.
async fn a_row_that_does_not_read_stops_no_other(database: Database) {
    let rig = Plan::new(database).start().await;
    let first = rig.order("web", "1").await;
    rig.ended(&first).await;
    let (waits, runs) = ("01000000000000000000000001", "01000000000000000000000002");
    for (id, state) in [(waits, "waiting"), (runs, "running")] {
        let columns = "service, tag, caller, force, dry_run, last_position, created_ms";
        change(
            &rig,
            &format!("INSERT INTO deployments (id, state, waits_for, kind, {columns}) SELECT '{id}', '{state}', 'turn', 'promote', {columns} FROM deployments WHERE id = '{first}'"),
        )
        .await;
    }
    let columns = "run, service, host, verified, barrier, changed, attempts, fence";
    change(
        &rig,
        &format!("INSERT INTO runs (deployment, state, step, {columns}) SELECT '{runs}', 'running', 'pull', {columns} FROM runs WHERE deployment = '{first}'"),
    )
    .await;
    let next = rig.order("db", "1").await;
    rig.ended(&next).await;
    assert_eq!(rig.count("SELECT COUNT(*) FROM runs JOIN deployments ON id = deployment WHERE kind = 'promote'").await, 1);
    assert_eq!(rig.count("SELECT COUNT(*) FROM runs WHERE executor IS NULL AND fence = (SELECT MIN(fence) FROM runs)").await, 1);
    // Anybody who asks what is under way is told of both, and never that nothing is.
    let web = ServiceName::parse("web").unwrap();
    let found = rig.app().shared().store.unfinished(&web).await.unwrap();
    assert_eq!((found.deployments.len(), found.unreadable.len()), (0, 2), "{found:?}");
    let shown = Call::get("/api/v1/services/web").by(rig.key()).send(&rig).await.json();
    assert!(shown["blocked"].as_str().unwrap().contains(&format!("deployments.kind of {waits}")), "{shown}");
    let refused = Call::post("/api/v1/deployments", &json!({ "service": "web", "tag": "2" })).by(rig.key()).send(&rig).await;
    assert_eq!(refused.code(), (500, "unreadable".to_owned()), "{}", refused.text);
    assert_eq!(rig.execute("DELETE FROM deployments WHERE kind = 'promote'").await, 2);
    change(&rig, &format!("DELETE FROM runs WHERE deployment = '{runs}'")).await;
    rig.finish().await;
}

/// Three verified releases, the middle one of which cannot be read: what is newer can be gone back to, what is older only when
/// it is forced, for the one between may say that it must not be rolled back past.
async fn a_release_that_does_not_read_is_none_to_go_back_to(database: Database) {
    let rig = Plan::new(database).start().await;
    let ids = rig.record_releases(3).await;
    let (store, web) = (&rig.app().shared().store, ServiceName::parse("web").unwrap());
    assert!(store.verified(&web).await.unwrap().iter().all(Result::is_ok), "{:?}", store.verified(&web).await);
    let state = async || {
        let shown = Call::get("/api/v1/services/web").by(rig.key()).send(&rig).await.json();
        let candidates = shown["rollback_candidates"].as_array().unwrap().iter().map(|one| one["tag"].as_str().unwrap().to_owned());
        (shown["live"]["id"].clone(), candidates.collect::<Vec<_>>())
    };
    assert_eq!(state().await, (json!(ids[2]), vec!["2".to_owned(), "1".to_owned()]));
    change(&rig, &format!("UPDATE deployments SET kind = 'promote' WHERE id = '{}'", ids[1])).await;
    let found = store.verified(&web).await.unwrap();
    assert_eq!(found.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(state().await, (json!(ids[2]), vec!["1".to_owned()]));
    let back = async |to: serde_json::Value, force: bool| {
        let body = json!({ "service": "web", "to": to, "force": force });
        Call::post("/api/v1/rollbacks", &body).by(rig.key()).send(&rig).await
    };
    for to in
        [json!("previous"), json!({ "tag": "2" }), json!({ "tag": "1" }), json!({ "deployment": ids[1] }), json!({ "deployment": ids[0] })]
    {
        let answer = back(to.clone(), false).await;
        assert_eq!(answer.code(), (500, "unreadable".to_owned()), "{to}");
        assert!(answer.text.contains(&format!("deployments.kind of {}", ids[1])), "{}", answer.text);
    }
    for (to, force) in [(json!({ "tag": "3" }), false), (json!({ "deployment": ids[2] }), false), (json!({ "deployment": ids[0] }), true)] {
        let answer = back(to.clone(), force).await;
        assert_eq!(answer.status, 202, "{to}: {}", answer.text);
        rig.ended(answer.json()["id"].as_str().unwrap()).await;
    }
    // Nothing behind the newest one that cannot be read is taken for what serves.
    change(&rig, &format!("UPDATE deployments SET kind = 'deploy' WHERE id = '{}'", ids[1])).await;
    change(&rig, &format!("UPDATE deployments SET kind = 'promote' WHERE id = '{}'", ids[2])).await;
    assert_eq!(state().await, (json!(null), vec!["2".to_owned(), "1".to_owned()]));
    change(&rig, "DELETE FROM deployments WHERE kind = 'promote'").await;
    rig.finish().await;
}
