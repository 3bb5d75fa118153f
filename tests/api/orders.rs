//! Orders: taken once, superseded, held, late, cancelled, retried, taken up again.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::Value;
use serde_json::json;
use sqlx::Row as _;

use crate::support::Answer;
use crate::support::Call;
use crate::support::Database;
use crate::support::Key;
use crate::support::Plan;
use crate::support::Rig;
use crate::support::assert_refused;
use crate::support::until;

on_both!(
    a_repeated_delivery_gets_its_first_answer,
    one_delivery_sent_at_once_many_times_is_one_deployment,
    a_newer_order_supersedes_the_waiting_one,
    fifty_orders_at_once_leave_one_running_and_one_waiting,
    a_rollback_stops_what_runs_and_holds_the_service,
    an_older_run_is_late,
    ci_overrules_no_rollback,
    what_does_not_read_is_refused_and_not_recorded,
    deployments_are_listed_page_by_page,
    a_waiting_and_a_running_one_are_cancelled,
    an_ended_one_is_ordered_once_more,
    a_restart_takes_up_what_ran_and_what_waited,
);

async fn deploy(rig: &Rig, body: Value) -> Answer {
    Call::post("/api/v1/deployments", &body).by(rig.key()).send(rig).await
}

async fn roll_back(rig: &Rig, body: Value) -> Answer {
    Call::post("/api/v1/rollbacks", &body).by(rig.key()).send(rig).await
}

fn id_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// A5
async fn a_repeated_delivery_gets_its_first_answer(database: Database) {
    let mut rig = Plan::new(database).start().await;
    let gate = rig.gate("web");
    let body = json!({ "service": "web", "tag": "1" });
    let call = Call::post("/api/v1/deployments", &body).by(rig.key()).id("msg-1");
    let first = call.clone().send(&rig).await;
    assert_eq!(first.header("location"), format!("/api/v1/deployments/{}", id_of(&first)));
    assert_eq!(call.clone().send(&rig).await.text, first.text);
    let other = Call::post("/api/v1/deployments", &json!({ "service": "web", "tag": "2" })).by(rig.key()).id("msg-1").send(&rig).await;
    assert_refused(&other, 409, "id_reused");
    let rollback = json!({ "service": "web", "to": { "tag": "1" } });
    let elsewhere = Call::post("/api/v1/rollbacks", &rollback).by(rig.key()).id("msg-1").send(&rig).await;
    assert_refused(&elsewhere, 409, "id_reused");
    rig.restart().await;
    assert_eq!(call.clone().send(&rig).await.text, first.text);
    // Only what was accepted is remembered: an order that was refused may come again.
    let refused = json!({ "service": "none", "tag": "1" });
    assert_eq!(Call::post("/api/v1/deployments", &refused).by(rig.key()).id("msg-2").send(&rig).await.status, 404);
    drop(gate);
    rig.ended(&id_of(&first)).await;
    assert_eq!(call.send(&rig).await.text, first.text);
    assert_eq!(rig.count("SELECT COUNT(*) FROM deployments").await, 1);
    assert_eq!(rig.count("SELECT COUNT(*) FROM deliveries").await, 1);
    rig.finish().await;
}

async fn one_delivery_sent_at_once_many_times_is_one_deployment(database: Database) {
    let rig = Plan::new(database).start().await;
    let call = Call::post("/api/v1/deployments", &json!({ "service": "web", "tag": "1" })).by(rig.key()).id("msg-1");
    let answers = join_all((0..20).map(|_| call.clone().send(&rig))).await;
    assert_eq!(answers.iter().map(id_of).collect::<BTreeSet<_>>().len(), 1);
    assert_eq!(rig.count("SELECT COUNT(*) FROM deployments").await, 1);
    rig.finish().await;
}

async fn a_newer_order_supersedes_the_waiting_one(database: Database) {
    let rig = Plan::new(database).start().await;
    let gate = rig.gate("web");
    let running = rig.order_running("web", "1").await;
    let waiting = rig.order("web", "2").await;
    // What changes nothing takes nobody's place.
    let dry_run = deploy(&rig, json!({ "service": "web", "tag": "3", "dry_run": true })).await;
    assert_refused(&dry_run, 503, "busy");
    assert_eq!(rig.show(&waiting).await["state"], "waiting");
    let newer = deploy(&rig, json!({ "service": "web", "tag": "3" })).await;
    assert_eq!(newer.json()["superseded"], waiting);
    let old = rig.show(&waiting).await;
    assert_eq!((&old["state"], &old["outcome"], &old["by"]), (&json!("done"), &json!("superseded"), &json!(id_of(&newer))));
    let service = Call::get("/api/v1/services/web").by(rig.key()).send(&rig).await.json();
    assert_eq!((&service["running"]["id"], &service["waiting"]["id"]), (&json!(running), &json!(id_of(&newer))));
    let standing = &service["standing"];
    assert!(standing["why"].as_str().unwrap().contains(&format!("{running} has been at resolve since 20")), "{service}");
    // What a deployment does is nothing that stands in the way.
    assert_eq!((&standing["word"], &service["blocked"]), (&json!("deploying"), &Value::Null), "{service}");
    drop(gate);
    for id in [&running, &id_of(&newer)] {
        assert_eq!(rig.ended(id).await["outcome"], "failed");
    }
    rig.finish().await;
}

/// One running and one waiting are facts of the database.
async fn fifty_orders_at_once_leave_one_running_and_one_waiting(database: Database) {
    let rig = Plan::new(database).start().await;
    let gate = rig.gate("web");
    let running = rig.order_running("web", "0").await;
    let pool = rig.database().await;
    let storm = async {
        let answers = join_all((0..50).map(|tag| deploy(&rig, json!({ "service": "web", "tag": tag.to_string() })))).await;
        pool.close().await;
        answers
    };
    let watch = async {
        let (mut looks, sql) = (0, "SELECT COUNT(*), COUNT(DISTINCT state) FROM deployments WHERE state <> 'done'");
        while let Ok(row) = sqlx::query(sql).fetch_one(&pool).await {
            let (unfinished, states): (i64, i64) = (row.get(0), row.get(1));
            assert_eq!(unfinished, states, "two in one state");
            looks += 1;
        }
        looks
    };
    let (answers, looks) = futures_util::future::join(storm, watch).await;
    let superseded: BTreeSet<String> =
        answers.iter().filter_map(|answer| answer.json()["superseded"].as_str().map(str::to_owned)).collect();
    assert_eq!((answers.iter().map(id_of).collect::<BTreeSet<_>>().len(), superseded.len()), (50, 49));
    println!("{looks} looks while the orders came");
    let pool = rig.database().await;
    for sql in ["UPDATE deployments SET state = 'running' WHERE outcome IS NULL", "UPDATE deployments SET state = 'waiting'"] {
        let error = sqlx::query(sql).execute(&pool).await.unwrap_err();
        assert!(error.as_database_error().unwrap().is_unique_violation(), "{error}");
    }
    pool.close().await;
    drop(gate);
    rig.ended(&running).await;
    rig.app().shared().store.probe().await.unwrap();
    until("the last one", async || (rig.count("SELECT COUNT(*) FROM deployments WHERE state <> 'done'").await == 0).then_some(())).await;
    assert_eq!(rig.count("SELECT COUNT(*) FROM deployments WHERE outcome_name = 'superseded'").await, 49);
    assert_eq!(rig.count("SELECT COUNT(*) FROM deployments WHERE outcome_name = 'failed'").await, 2);
    rig.finish().await;
}

/// Nothing can be landed here, so no rollback keeps its hold: this leaves the service as one does that has become live.
const HOLD: &str = "INSERT INTO holds (service, deployment, since_ms)
    SELECT service, id, 1 FROM deployments WHERE kind = 'rollback' ORDER BY id DESC LIMIT 1";

async fn a_rollback_stops_what_runs_and_holds_the_service(database: Database) {
    let rig = Plan::new(database).start().await;
    let gate = rig.gate("web");
    let none = roll_back(&rig, json!({ "service": "web" })).await;
    assert_refused(&none, 422, "no_target");
    let running = rig.order_running("web", "1").await;
    let waiting = rig.order("web", "2").await;
    let rollback = roll_back(&rig, json!({ "service": "web", "to": { "tag": "0" }, "reason": "it is slow" })).await;
    let (accepted, id) = (rollback.json(), id_of(&rollback));
    assert_eq!((&accepted["superseded"], &accepted["preempted"]), (&json!(waiting), &json!(running)));
    let stopped = rig.ended(&running).await;
    assert_eq!((&stopped["outcome"], &stopped["by"]), (&json!("cancelled"), &json!(format!("rollback {id}"))));
    // CI's orders are refused from the acceptance on.
    let refused = deploy(&rig, json!({ "service": "web", "tag": "3" })).await;
    assert_refused(&refused, 422, "held");
    assert!(refused.text.contains(&id), "{}", refused.text);
    drop(gate);
    // Nothing can be landed here, so it changed nothing, and the service is held by nobody, as before.
    assert_eq!(rig.ended(&id).await["outcome"], "failed");
    rig.ended(&id_of(&deploy(&rig, json!({ "service": "web", "tag": "3" })).await)).await;
    assert_eq!(rig.execute(HOLD).await, 1);
    assert_refused(&deploy(&rig, json!({ "service": "web", "tag": "3" })).await, 422, "held");
    assert_eq!(deploy(&rig, json!({ "service": "db", "tag": "3" })).await.status, 202);
    let forced = id_of(&deploy(&rig, json!({ "service": "web", "tag": "3", "force": true })).await);
    // A dry run takes no waiting order's place, so the forced one has to have ended.
    rig.ended(&forced).await;
    let dry = json!({ "service": "web", "tag": "3", "dry_run": true });
    assert_refused(&deploy(&rig, dry.clone()).await, 422, "held");
    // What a forced order would meet.
    let forced = json!({ "service": "web", "tag": "3", "dry_run": true, "force": true });
    rig.ended(&id_of(&deploy(&rig, forced).await)).await;
    assert!(Call::get("/api/v1/services/web").by(rig.key()).send(&rig).await.json()["held"].as_str().unwrap().contains(&id));
    for message in ["web accepts orders again.", "web was not held."] {
        assert_eq!(rig.act(rig.key(), "/api/v1/services/web/resume").await.json()["message"], message);
    }
    rig.ended(&id_of(&deploy(&rig, dry).await)).await;
    assert_eq!(deploy(&rig, json!({ "service": "web", "tag": "3" })).await.status, 202);
    rig.finish().await;
}

async fn ci_overrules_no_rollback(database: Database) {
    let mut plan = Plan::new(database);
    plan.keys.push(Key::signing("ci", &["deploy:web"]));
    let rig = plan.start().await;
    let gate = rig.gate("web");
    let running = rig.order_running("web", "1").await;
    let waiting = rig.order("web", "2").await;
    let order = json!({ "service": "web", "tag": "3", "force": true });
    // To force is to overrule anybody who rolled back, so it needs that scope as well.
    let by_ci = Call::post("/api/v1/deployments", &order).by(&rig.plan.keys[1]).send(&rig).await;
    assert_refused(&by_ci, 403, "forbidden");
    assert!(by_ci.text.contains("rollback:web"), "{}", by_ci.text);
    // A rollback that waits keeps its place, also against those who may force.
    assert_eq!(rig.execute("UPDATE deployments SET kind = 'rollback' WHERE state = 'waiting'").await, 1);
    assert_refused(&deploy(&rig, order).await, 503, "busy");
    assert_eq!(rig.show(&waiting).await["state"], "waiting");
    // A newer rollback takes it.
    let rollback = roll_back(&rig, json!({ "service": "web", "to": { "tag": "0" } })).await;
    assert_eq!((&rollback.json()["superseded"], &rollback.json()["preempted"]), (&json!(waiting), &json!(running)));
    drop(gate);
    rig.ended(&id_of(&rollback)).await;
    assert_eq!(rig.execute(HOLD).await, 1);
    // What was sent once to end one hold does not end the next.
    let release =
        || Call::post("/api/v1/services/web/resume", &json!({ "call": "POST /api/v1/services/web/resume" })).by(rig.key()).id("once");
    assert_eq!(release().send(&rig).await.json()["message"], "web accepts orders again.");
    rig.ended(&id_of(&roll_back(&rig, json!({ "service": "web", "to": { "tag": "0" } })).await)).await;
    assert_eq!(rig.execute(HOLD).await, 1);
    assert_eq!(release().send(&rig).await.json()["message"], "This call was already carried out; nothing was changed.");
    assert_refused(&deploy(&rig, json!({ "service": "web", "tag": "3" })).await, 422, "held");
    rig.finish().await;
}

async fn an_older_run_is_late(database: Database) {
    let rig = Plan::new(database).start().await;
    let order = |run: i64| json!({ "service": "web", "tag": "1", "run_number": run });
    rig.ended(&id_of(&deploy(&rig, order(20)).await)).await;
    // What did not land does not count.
    let landed = id_of(&deploy(&rig, order(10)).await);
    rig.ended(&landed).await;
    assert_eq!(rig.execute("UPDATE runs SET verified = 1 WHERE deployment IN (SELECT id FROM deployments WHERE run_number = 10)").await, 1);
    let live = r#"UPDATE deployments SET outcome = '{"outcome":"live","warnings":[]}', outcome_name = 'live' WHERE run_number = 10"#;
    assert_eq!(rig.execute(live).await, 1);
    let late = deploy(&rig, order(9)).await;
    assert_refused(&late, 422, "late");
    assert!(late.text.contains(&landed), "{}", late.text);
    let mut forced = order(9);
    forced["force"] = true.into();
    let mut last = String::new();
    for body in [order(10), order(11), forced, json!({ "service": "web", "tag": "1" })] {
        last = id_of(&deploy(&rig, body).await);
    }
    rig.ended(&last).await;
    // What is verified counts while it is still at its after-hook.
    let gate = rig.gate("web");
    let serves = id_of(&deploy(&rig, order(30)).await);
    rig.until(&serves, |shown| shown["step"] == "resolve").await;
    assert_eq!(rig.execute("UPDATE runs SET verified = 1 WHERE state = 'running'").await, 1);
    let late = deploy(&rig, order(29)).await;
    assert_refused(&late, 422, "late");
    assert!(late.text.contains(&serves), "{}", late.text);
    drop(gate);
    rig.finish().await;
}

async fn what_does_not_read_is_refused_and_not_recorded(database: Database) {
    let mut plan = Plan::new(database);
    plan.service = "tag_pattern = \"[0-9a-f]{7}\"".into();
    let rig = plan.start().await;
    let before = rig.rows().await;
    let good = json!({ "service": "web", "tag": "1f0c9e2" });
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    let tags = ["", ".x", "-x", "--upload-pack=id", "a b", "$(id)", "a/b", "a\n", "a\0", "ä", &"a".repeat(129)];
    for tag in tags {
        assert_refused(&deploy(&rig, with("tag", tag.into())).await, 400, "bad_request");
        assert_refused(&roll_back(&rig, json!({ "service": "web", "to": { "tag": tag } })).await, 400, "bad_request");
    }
    for body in [
        json!({}),
        json!([]),
        json!(null),
        json!({ "service": "web" }),
        with("unknown", 1.into()),
        with("service", "We b".into()),
        with("service", "../web".into()),
        with("digest", "sha256:00".into()),
        with("run_number", "1".into()),
        with("run_number", 1e300.into()),
        with("reason", "x".repeat(2001).into()),
        with("ref", "a\0b".into()),
        with("ref", "refs/heads/a..b".into()),
        with("ref", "".into()),
        with("commit", "\0".into()),
        with("commit", "main".into()),
        with("run_url", "javascript:alert(1)".into()),
        with("force", "yes".into()),
    ] {
        assert_refused(&deploy(&rig, body).await, 400, "bad_request");
    }
    assert_refused(&deploy(&rig, with("service", "none".into())).await, 404, "unknown_service");
    assert_refused(&roll_back(&rig, json!({ "service": "none" })).await, 404, "unknown_service");
    for tag in ["1f0c9e", "1f0c9e2a", "x1f0c9e2"] {
        assert_refused(&deploy(&rig, with("tag", tag.into())).await, 422, "tag_pattern");
        assert_refused(&roll_back(&rig, json!({ "service": "web", "to": { "tag": tag } })).await, 422, "tag_pattern");
    }
    let path = "/api/v1/deployments?";
    for query in ["limit=x", "before=x", "service=We+b", "state=none", "state=%00", "color=red"] {
        assert_refused(&Call::get(&format!("{path}{query}")).by(rig.key()).send(&rig).await, 400, "bad_request");
    }
    assert_eq!(rig.rows().await, before);
    assert_eq!(deploy(&rig, good.clone()).await.status, 202);
    rig.finish().await;
}

async fn deployments_are_listed_page_by_page(database: Database) {
    let rig = Plan::new(database).start().await;
    let gate = rig.gate("web");
    let mut ordered = vec![rig.order_running("web", "0").await];
    for tag in 1..25 {
        ordered.push(rig.order("web", &tag.to_string()).await);
    }
    let elsewhere = rig.order("db", "1").await;
    let page = async |query: &str| Call::get(&format!("/api/v1/deployments?{query}")).by(rig.key()).send(&rig).await.json();
    let ids = |page: &Value| page["deployments"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
    let (mut all, mut before, mut sizes) = (Vec::<String>::new(), String::new(), Vec::new());
    loop {
        let page = page(&format!("service=web&limit=10{before}")).await;
        let found: Vec<String> = ids(&page);
        sizes.push(found.len());
        all.extend(found);
        let Some(next) = page["next_before"].as_str() else { break };
        before = format!("&before={next}");
    }
    let newest_first = |mut ids: Vec<String>| {
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids
    };
    assert_eq!((sizes, &all), (vec![10, 10, 5], &newest_first(ordered.clone())));
    assert_eq!(ids(&page("service=web&state=superseded&limit=200").await) as Vec<String>, newest_first(ordered[1..24].to_vec()));
    assert_eq!(ids(&page("service=web&state=waiting").await) as Vec<String>, ordered[24..]);
    assert_eq!(ids(&page("service=db").await) as Vec<String>, [elsewhere]);
    for (limit, expected) in [("0", 1), ("-5", 1), ("100000", 26)] {
        assert_eq!((ids(&page(&format!("limit={limit}")).await) as Vec<String>).len(), expected);
    }
    drop(gate);
    rig.finish().await;
}

async fn a_waiting_and_a_running_one_are_cancelled(database: Database) {
    let rig = Plan::new(database).start().await;
    let gate = rig.gate("web");
    let running = rig.order_running("web", "1").await;
    let waiting = rig.order("web", "2").await;
    for id in [&waiting, &running] {
        let path = format!("/api/v1/deployments/{id}/cancel");
        assert_eq!(rig.act(rig.key(), &path).await.status, 200);
        let ended = rig.ended(id).await;
        assert_eq!((&ended["outcome"], &ended["by"], &ended["changed"]), (&json!("cancelled"), &json!("key:ops"), &json!(false)));
        assert_refused(&rig.act(rig.key(), &path).await, 409, "ended");
        let lines = rig.app().shared().store.lines_after(&id.parse().unwrap(), 0, 100).await.unwrap();
        assert_eq!(lines.last().unwrap().text, "cancelled by key:ops, nothing was changed");
    }
    drop(gate);
    rig.finish().await;
}

async fn an_ended_one_is_ordered_once_more(database: Database) {
    let rig = Plan::new(database).start().await;
    let gate = rig.gate("web");
    let body = json!({ "service": "web", "tag": "1", "commit": "1f0c", "run_number": 7, "reason": "a fix" });
    let id = id_of(&deploy(&rig, body).await);
    let path = format!("/api/v1/deployments/{id}/retry");
    assert_refused(&rig.act(rig.key(), &path).await, 409, "not_ended");
    drop(gate);
    rig.ended(&id).await;
    let call = Call::post(&path, &json!({ "call": format!("POST {path}") })).by(rig.key()).id("again");
    let again = id_of(&call.clone().send(&rig).await);
    assert_eq!(id_of(&call.send(&rig).await), again);
    let shown = rig.ended(&again).await;
    assert_eq!((&shown["tag"], &shown["commit"], &shown["run_number"]), (&json!("1"), &json!("1f0c"), &json!(7)));
    assert_eq!((&shown["reason"], &shown["cause"]), (&json!(format!("retry of {id}: a fix")), &json!(format!("retry {id}"))));
    // Without a reason it has none: what must name one to overrule anything still must.
    let bare = rig.order("db", "1").await;
    rig.ended(&bare).await;
    let path = format!("/api/v1/deployments/{bare}/retry");
    let again = id_of(&Call::post(&path, &json!({ "call": format!("POST {path}") })).by(rig.key()).send(&rig).await);
    assert_eq!(rig.ended(&again).await["reason"], json!(null));
    rig.finish().await;
}

async fn a_restart_takes_up_what_ran_and_what_waited(database: Database) {
    let mut rig = Plan::new(database).start().await;
    let gate = rig.gate("web");
    let running = rig.order_running("web", "1").await;
    let waiting = rig.order("web", "2").await;
    let notes = async |rig: &Rig| {
        let lines = rig.app().shared().store.lines_after(&running.parse().unwrap(), 0, 100).await.unwrap();
        lines.iter().filter(|line| line.text.starts_with("tagalong was stopped during this deployment")).count()
    };
    for attempts in 2..4 {
        rig.restart().await;
        assert_eq!((&rig.show(&running).await["state"], &rig.show(&waiting).await["state"]), (&json!("running"), &json!("waiting")));
        let sql = "SELECT attempts FROM runs WHERE state = 'running'";
        until("the next attempt", async || (rig.count(sql).await == attempts).then_some(())).await;
        // Lines are gathered for a moment; one that is not stored yet goes with the server.
        until("its note", async || (notes(&rig).await == attempts as usize - 1).then_some(())).await;
    }
    drop(gate);
    for id in [&running, &waiting] {
        assert_eq!(rig.ended(id).await["outcome"], "failed");
    }
    assert_eq!(notes(&rig).await, 2);
    rig.finish().await;
}

/// Two servers of one PostgreSQL database are one queue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_share_one_queue() {
    let first = Plan::new(Database::Postgres).start().await;
    let other = first.beside().await;
    let gate = first.gate("web");
    let call = Call::post("/api/v1/deployments", &json!({ "service": "web", "tag": "1" })).by(first.key()).id("msg-1");
    let answer = call.clone().send(&first).await;
    assert_eq!(call.send(&other).await.text, answer.text);
    let id = id_of(&answer);
    other.until(&id, |shown| shown["state"] == "running").await;
    // The read token of the one holds at the other.
    let read = format!("Bearer {}", answer.header(tagalong::api::READ_TOKEN_HEADER));
    let shown = Call::get(&format!("/api/v1/deployments/{id}")).header("authorization", read).send(&other).await;
    assert_eq!(shown.status, 200);
    // Anybody who does not carry it out can cancel it.
    let (runs_it, does_not) = if is_executor(&first).await { (&first, &other) } else { (&other, &first) };
    assert_eq!(does_not.act(first.key(), &format!("/api/v1/deployments/{id}/cancel")).await.status, 200);
    assert_eq!(runs_it.ended(&id).await["outcome"], "cancelled");
    drop(gate);
    // What an ended server left is continued by the other as soon as its lease has run out, and not before.
    let gate = first.gate("db");
    let id = first.order_running("db", "1").await;
    let (ends, stays) = if is_executor(&first).await { (first, other) } else { (other, first) };
    ends.stop().await;
    assert_eq!(stays.count("SELECT attempts FROM runs WHERE state = 'running'").await, 1);
    stays.execute("UPDATE runs SET lease_ms = 1 WHERE state = 'running'").await;
    until("the other server", async || is_executor(&stays).await.then_some(())).await;
    drop(gate);
    assert_eq!(stays.ended(&id).await["outcome"], "failed");
    stays.finish().await;
}

/// Whether this server carries out what runs.
async fn is_executor(rig: &Rig) -> bool {
    let pool = rig.database().await;
    let row = sqlx::query("SELECT executor FROM runs WHERE state = 'running'").fetch_one(&pool).await.unwrap();
    pool.close().await;
    row.get::<String, _>(0) == std::fs::read_to_string(rig.data_dir().join("executor-id")).unwrap()
}
