//! The store over time: what an earlier version wrote is carried over, and what a newer one added stands in nobody's way.

use std::borrow::Cow;

use serde_json::json;
use sqlx::AnyConnection;
use sqlx::Connection as _;
use sqlx::migrate::Migration;
use sqlx::migrate::MigrationType;
use sqlx::migrate::Migrator;
use tagalong::model::DeploymentId;
use tagalong::model::Outcome;
use tagalong::model::ServiceName;
use tagalong::model::Stage;
use tagalong::model::State;
use tagalong::model::WaitsFor;
use tagalong::store::Deployment;
use tagalong::store::Filter;
use tagalong::store::HoldKind;
use tagalong::store::SQLITE_FILE;
use tagalong::store::Site;
use tagalong::store::Store;
use text::Secret;

use crate::cluster::Cluster;
use crate::support::Database;
use crate::support::Plan;
use crate::support::folder;
use crate::support::until;

on_both!(
    many_may_open_a_new_database_at_once,
    what_an_earlier_version_wrote_is_carried_over,
    what_a_newer_version_added_is_left_alone,
    a_service_runs_on_several_hosts
);

/// The tables as the version before runs made them.
const BEFORE_RUNS: [(&str, &str); 3] = [
    ("first", include_str!("../../src/store/migrations/1_first.sql")),
    ("reloads", include_str!("../../src/store/migrations/2_reloads.sql")),
    ("door", include_str!("../../src/store/migrations/3_door.sql")),
];

const REPORT: &str = r#"{"url":"https://a/","attempts":1,"duration_ms":5,"assets":2,"findings":[]}"#;
const IMAGE: &str = "127.0.0.1:1/acme/web";

/// One row of the old `deployments`: id, service, kind, state, step, outcome, attempts, verified.
type Old = (u32, &'static str, &'static str, &'static str, Option<&'static str>, Option<&'static str>, i64, i64);

/// Rows of every kind, state and outcome.
const OLD: [Old; 15] = [
    (1, "web", "deploy", "done", Some("after_hook"), Some(r#"{"outcome":"live","warnings":["mind \"outcome\":\"held\""]}"#), 1, 1),
    (2, "web", "adopt", "done", Some("after_hook"), Some(r#"{"outcome":"live","warnings":[]}"#), 1, 1),
    (3, "web", "deploy", "done", Some("smoke"), Some(r#"{"outcome":"held","why":"left \"outcome\":\"held\""}"#), 1, 0),
    (4, "web", "rollback", "done", None, Some(r#"{"outcome":"superseded","by":"01000000000000000000000005"}"#), 0, 0),
    (5, "web", "deploy", "done", Some("undo_smoke"), Some(r#"{"outcome":"rolled_back","why":"w","to":"t","verified_before":true}"#), 1, 0),
    (6, "web", "deploy", "done", Some("undo_up"), Some(r#"{"outcome":"rollback_failed","why":"w","and":"a"}"#), 1, 0),
    (7, "web", "deploy", "done", Some("undo_pin"), Some(r#"{"outcome":"broken","why":"w","runs":"r"}"#), 1, 0),
    (8, "web", "deploy", "done", Some("resolve"), Some(r#"{"outcome":"refused","guard":"not_found","why":"w"}"#), 1, 0),
    (9, "web", "deploy", "done", Some("resolve"), Some(r#"{"outcome":"failed","why":"w"}"#), 1, 0),
    (
        10,
        "web",
        "deploy",
        "done",
        Some("up"),
        Some(r#"{"outcome":"cancelled","by":"rollback 01000000000000000000000013","changed":true,"brought_back":false}"#),
        1,
        0,
    ),
    (11, "web", "deploy", "done", None, Some(r#"{"outcome":"cancelled","by":"key:a","changed":false,"brought_back":false}"#), 0, 0),
    (12, "web", "deploy", "done", Some("preflight"), Some(r#"{"outcome":"dry_run","would_pin":"p"}"#), 1, 0),
    (13, "web", "rollback", "running", Some("up"), None, 2, 0),
    (14, "web", "rollback", "queued", None, None, 0, 0),
    (15, "db", "deploy", "queued", None, None, 0, 0),
];

fn id(number: u32) -> DeploymentId {
    format!("010000000000000000000000{number:02}").parse().unwrap()
}

fn image(number: u32) -> String {
    format!("{IMAGE}:v{number}@sha256:{}", format!("{number:x}").repeat(64))
}

fn migrations(files: &[(&'static str, &'static str)]) -> Migrator {
    let step = |(at, (name, sql)): (usize, &(&'static str, &'static str))| {
        Migration::new(at as i64 + 1, Cow::Borrowed(*name), MigrationType::Simple, sqlx::SqlStr::from_static(sql), false)
    };
    Migrator::with_migrations(files.iter().enumerate().map(step).collect())
}

async fn run(connection: &mut AnyConnection, statement: String) {
    sqlx::query(sqlx::AssertSqlSafe(statement.clone())).execute(connection).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
}

/// A database as the version before runs leaves it.
async fn old_database(connection: &mut AnyConnection) {
    migrations(&BEFORE_RUNS).run(&mut *connection).await.unwrap();
    for (number, service, kind, state, step, outcome, attempts, verified) in OLD {
        let text = |value: Option<&str>| value.map_or("NULL".to_owned(), |value| format!("'{value}'"));
        let outcome_name =
            outcome.map(|outcome| serde_json::from_str::<serde_json::Value>(outcome).unwrap()["outcome"].as_str().unwrap().to_owned());
        let has_run = attempts > 0;
        let images = has_run || kind == "rollback";
        let images = text(images.then(|| format!("[\"{}\"]", image(number))).as_deref());
        let run = if has_run {
            format!("'before{number}', 'ran{number}', 'resolved{number}', '{REPORT}', '{REPORT}', 'undo{number}', 'elsewhere'")
        } else {
            "NULL, NULL, NULL, NULL, NULL, NULL, NULL".to_owned()
        };
        let ended = if outcome.is_some() { "300" } else { "NULL" };
        let started = if has_run { "200" } else { "NULL" };
        let statement = format!(
            "INSERT INTO deployments (id, service, kind, state, step, outcome, outcome_name, tag, digest, commit_id, git_ref, run_url, run_number,
               reason, force, dry_run, caller, images, verified, barrier, pin_before, ran_before, resolved, baseline, report, undo_why, executor,
               cancel_by, attempts, fence, lease_ms, created_ms, started_ms, ended_ms)
             VALUES ('{}', '{service}', '{kind}', '{state}', {}, {}, {}, 'v{number}', NULL, 'abc{number}', 'refs/heads/main', 'https://a/{number}',
               {number}, 'because', 0, 0, 'key:ops', {images}, {verified}, {}, {run}, NULL, {attempts}, {}, {}, {}, {started}, {ended})",
            id(number),
            text(step),
            text(outcome),
            text(outcome_name.as_deref()),
            i64::from(number == 1),
            attempts * 2,
            if state == "running" { "1" } else { "NULL" },
            100 + number,
        );
        run_lines(connection, number, if has_run { 3 } else { i64::from(outcome.is_some()) }).await;
        self::run(connection, statement).await;
    }
    run(connection, format!("INSERT INTO holds (service, deployment, since_ms, until_ms) VALUES ('web', '{}', 7, NULL)", id(14))).await;
    run(connection, format!("INSERT INTO meta (name, value) VALUES ('hold_before/{}', '{} 5 -')", id(14), id(13))).await;
    run(
        connection,
        format!("INSERT INTO deliveries (caller, id, body_sha256, deployment, at_ms) VALUES ('key:ops', 'one', 'b', '{}', 9)", id(15)),
    )
    .await;
}

async fn run_lines(connection: &mut AnyConnection, number: u32, many: i64) {
    for seq in 1..=many {
        let values = format!("'{}', {seq}, {seq}, 'guards', 'note', 'line {number} {seq}'", id(number));
        run(connection, format!("INSERT INTO lines (deployment, seq, at_ms, step, kind, text) VALUES ({values})")).await;
    }
}

/// Everything that stood in the old row stands in what is read now.
fn is_carried_over(found: &Deployment, old: &Old) {
    let (number, service, kind, state, step, outcome, attempts, verified) = old;
    let (has_run, order) = (*attempts > 0, &found.order);
    assert_eq!((order.service.as_str(), order.kind.as_str(), order.caller.to_string().as_str()), (*service, *kind, "key:ops"));
    assert_eq!(
        (order.tag.as_ref().unwrap().as_str(), order.commit.clone().unwrap()),
        (format!("v{number}").as_str(), format!("abc{number}"))
    );
    assert_eq!(
        (order.run_number, order.reason.as_deref(), order.git_ref.as_deref()),
        (Some((*number).into()), Some("because"), Some("refs/heads/main"))
    );
    match (*state, &found.state) {
        ("queued", State::Waiting { waits_for: WaitsFor::Turn }) => {}
        ("running", State::Running { step: at }) => assert_eq!(Some(at.as_str()), *step),
        ("done", State::Done { outcome: now }) => {
            let words = outcome.unwrap().replacen("\"held\"", "\"needs_operator\"", usize::from(*number == 3));
            assert_eq!(*now, serde_json::from_str::<Outcome>(&words).unwrap());
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((found.step.map(Stage::as_str), found.verified, found.barrier), (*step, *verified == 1, *number == 1));
    let images: Vec<String> = found.images.iter().map(ToString::to_string).collect();
    assert_eq!(images, if has_run || *kind == "rollback" { vec![image(*number)] } else { Vec::new() });
    let of_run = |word: &str| has_run.then(|| format!("{word}{number}"));
    assert_eq!((&found.pin_before, &found.ran_before, &found.resolved), (&of_run("before"), &of_run("ran"), &of_run("resolved")));
    assert_eq!((&found.undo_why, found.report.is_some(), found.baseline.is_some()), (&of_run("undo"), has_run, has_run));
    assert_eq!((found.run, found.attempts, found.fence), (i64::from(has_run), *attempts, attempts * 2));
    assert_eq!(found.executor.as_deref(), has_run.then_some("elsewhere"));
    assert_eq!((found.created_ms, found.started_ms), (100 + i64::from(*number), has_run.then_some(200)));
    assert_eq!(found.ended_ms, outcome.map(|_| 300));
}

async fn what_an_earlier_version_wrote_is_carried_over(database: Database) {
    let dir = folder();
    let data = dir.path().join("server");
    std::fs::create_dir(&data).unwrap();
    let url = match database {
        Database::Sqlite => None,
        Database::Postgres => Some(Cluster::new_database().await),
    };
    sqlx::any::install_default_drivers();
    let file = format!("sqlite://{}?mode=rwc", data.join(SQLITE_FILE).display());
    let mut connection = AnyConnection::connect(url.as_ref().unwrap_or(&file)).await.unwrap();
    old_database(&mut connection).await;
    connection.close().await.unwrap();

    let secret = url.clone().map(Secret::new);
    let store = Store::open(&data, secret.as_ref()).await.unwrap();
    for old in &OLD {
        let found = store.get(&id(old.0)).await.unwrap().unwrap();
        is_carried_over(&found, old);
        let lines = store.lines_after(&found.id, 0, 100).await.unwrap();
        let many = if old.6 > 0 { 3 } else { i64::from(old.5.is_some()) };
        assert_eq!(
            lines.iter().map(|line| (line.run, line.seq, line.position)).collect::<Vec<_>>(),
            (1..=many).map(|n| (found.run, n, n)).collect::<Vec<_>>()
        );
        assert!(lines.iter().all(|line| line.text == format!("line {} {}", old.0, line.seq)));
        assert_eq!(store.last_position(&found.id).await.unwrap(), many);
    }
    let page = store.list(&Filter { limit: 100, ..Filter::default() }).await.unwrap();
    assert_eq!((page.deployments.len(), page.unreadable.len()), (OLD.len(), 0), "{page:?}");
    let (web, db) = (ServiceName::parse("web").unwrap(), ServiceName::parse("db").unwrap());
    let named = |listed: Vec<Deployment>| listed.into_iter().map(|one| one.id).collect::<Vec<_>>();
    let filter = Filter { state: Some("needs_operator".into()), limit: 100, ..Filter::default() };
    assert_eq!(named(store.list(&filter).await.unwrap().deployments), [id(3)]);
    assert_eq!(named(store.verified(&web).await.unwrap().into_iter().map(Result::unwrap).collect()), [id(2), id(1)]);
    assert_eq!(named(store.unfinished(&web).await.unwrap().deployments), [id(13), id(14)]);
    assert_eq!(named(store.unfinished(&db).await.unwrap().deployments), [id(15)]);
    assert_eq!(store.counts().await.unwrap(), (2, 1));
    assert_eq!(store.last_change(&web).await.unwrap().unwrap().unwrap().id, id(10));
    let hold = store.recorded(&[(&web, 1)]).await.unwrap().remove(0).hold.unwrap().unwrap();
    assert_eq!((hold.kind, hold.by, hold.since_ms, hold.until_ms), (HoldKind::Rollback, id(14).to_string(), 7, None));
    store.close().await;

    // A server takes it up from there: what ran goes on in its run, and then what waited.
    let rig = Plan::new(database).start_in(dir, url).await;
    for number in [13, 14, 15] {
        rig.ended(&id(number).to_string()).await;
    }
    let store = rig.app().shared().store.clone();
    assert_eq!(store.get(&id(13)).await.unwrap().map(|one| (one.run, one.attempts > 2, one.fence > 4)), Some((1, true, true)));
    let lines = store.lines_after(&id(13), 0, 100).await.unwrap();
    assert!(lines.len() > 3 && lines.iter().zip(1..).all(|(line, n)| (line.run, line.seq, line.position) == (1, n, n)), "{lines:?}");
    rig.finish().await;
}

/// A server and several commands open a database at the same moment, the first time that this version sees it.
async fn many_may_open_a_new_database_at_once(database: Database) {
    let folder = folder();
    let url = match database {
        Database::Sqlite => None,
        Database::Postgres => Some(Secret::new(Cluster::new_database().await)),
    };
    let opened = futures_util::future::join_all((0..12).map(|_| Store::open(folder.path(), url.as_ref()))).await;
    for store in opened {
        store.unwrap().close().await;
    }
}

/// A newer version has been there, and this one is started again: it reads, takes orders and carries them out.
async fn what_a_newer_version_added_is_left_alone(database: Database) {
    let mut rig = Plan::new(database).start().await;
    let before = rig.order("web", "1").await;
    rig.ended(&before).await;
    for statement in [
        "CREATE TABLE from_later (id TEXT NOT NULL PRIMARY KEY)",
        "ALTER TABLE runs ADD COLUMN from_later TEXT",
        "ALTER TABLE deployments ADD COLUMN from_later BIGINT NOT NULL DEFAULT 5",
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) SELECT 900, 'later', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
    ] {
        rig.execute(statement).await;
    }
    rig.restart().await;
    let after = rig.order("web", "2").await;
    assert_eq!(rig.ended(&after).await["outcome"], rig.show(&before).await["outcome"]);
    assert_eq!(rig.count("SELECT COUNT(*) FROM deployments WHERE from_later = 5").await, 2);
    rig.finish().await;
}

/// Two runs of one service at the same time are on two hosts; one that brings a host back holds nothing.
async fn a_service_runs_on_several_hosts(database: Database) {
    let rig = Plan::new(database).start().await;
    let gate = rig.gate("web");
    let running = rig.order_running("web", "1").await;
    let other = |host: &str, run: i64| {
        let columns = "state, step, verified, barrier, changed, attempts, executor, fence, lease_ms";
        let values = "'running', 'up', 0, 0, 0, 1, 'elsewhere', 1, 9000000000000";
        let statement =
            format!("INSERT INTO runs (deployment, run, service, host, {columns}) VALUES ('{running}', {run}, 'web', '{host}', {values})");
        Box::leak(statement.into_boxed_str())
    };
    assert_eq!(rig.execute(other("second", 2)).await, 1);
    let pool = rig.database().await;
    let error = sqlx::query(&*other("local", 3)).execute(&pool).await.unwrap_err();
    assert!(error.as_database_error().unwrap().is_unique_violation(), "{error}");
    pool.close().await;
    drop(gate);
    // The run on the other host goes on, and the service takes and carries out orders.
    rig.ended(&running).await;
    assert_eq!(rig.count("SELECT COUNT(*) FROM runs WHERE state = 'running' AND host = 'second'").await, 1);
    let next = rig.order("web", "2").await;
    assert_eq!(rig.ended(&next).await["outcome"], json!("failed"));
    // Where a run is at work on the very host, an order waits for it.
    let bring_back = "UPDATE runs SET host = 'local' WHERE host = 'second'";
    assert_eq!(rig.execute(bring_back).await, 1);
    let waiting = rig.order("web", "3").await;
    let store = rig.app().shared().store.clone();
    let orders = [(waiting.parse::<DeploymentId>().unwrap(), Site::Here)];
    assert!(store.claim(&orders, "another", std::time::Duration::from_secs(1)).await.unwrap().is_empty());
    assert_eq!(rig.show(&waiting).await["state"], "waiting");
    assert_eq!(rig.execute("UPDATE runs SET state = 'done' WHERE executor = 'elsewhere'").await, 1);
    until("its turn", async || (rig.show(&waiting).await["state"] == "done").then_some(())).await;
    rig.finish().await;
}
