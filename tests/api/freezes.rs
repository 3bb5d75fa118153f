//! Freezes: real servers, both databases, and files with holidays that are gone, broken or no files, at the door and at the turn.

use jiff::SignedDuration;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;

use crate::support::Answer;
use crate::support::Call;
use crate::support::Database;
use crate::support::Plan;
use crate::support::Rig;
use crate::support::assert_refused;

on_both!(a_freeze_keeps_orders_back_on_every_path);

const ALWAYS: &str = "dates = [\"2020-01-01–2099-12-31\"]";
const SERVICES: [&str; 8] = ["closed", "open", "gone", "broken", "pipe", "late", "soon", "turn"];

/// A calendar with one event.
fn calendar(event: &str) -> String {
    format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nSUMMARY:Feast\r\n{event}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n")
}

fn long_ago() -> String {
    calendar("DTSTART;VALUE=DATE:20200101")
}

/// Each service is under a freeze of its own.
fn plan(database: Database) -> Plan {
    let freeze = |id: &str, lines: &str| format!("[[freeze]]\nid = \"{id}\"\nzone = \"Europe/Paris\"\nservices = [\"{id}\"]\n{lines}\n");
    let tables = [
        freeze("closed", ALWAYS),
        freeze("open", "dates = [\"2020-01-01\"]\nweekly = []"),
        freeze("gone", "holidays_file = \"gone.ics\""),
        freeze("broken", "holidays_file = \"broken.ics\""),
        freeze("pipe", "holidays_file = \"pipe.ics\""),
        freeze("late", &format!("{ALWAYS}\non_freeze = \"wait\"")),
        freeze("soon", "holidays_file = \"soon.ics\"\non_freeze = \"wait\""),
        freeze("turn", "holidays_file = \"turn.ics\""),
    ];
    Plan {
        tables: tables.concat(),
        files: vec![("broken.ics", calendar("DTSTART;VALUE=DATE:20200101\r\nRRULE:FREQ=SECONDLY")), ("turn.ics", long_ago())],
        services: SERVICES.to_vec(),
        ..Plan::new(database)
    }
}

async fn deploy(rig: &Rig, service: &str, more: &Value) -> Answer {
    let mut body = json!({ "service": service, "tag": "v1" });
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    Call::post("/api/v1/deployments", &body).by(rig.key()).send(rig).await
}

async fn journal(rig: &Rig, id: &str) -> String {
    Call::get(&format!("/api/v1/deployments/{id}/log")).by(rig.key()).send(rig).await.text
}

/// Without a registry an order that is carried out ends `failed`. Returns its journal.
async fn is_carried_out(rig: &Rig, answer: &Answer) -> String {
    assert_eq!(answer.status, 202, "{}", answer.text);
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let ended = rig.ended(&id).await;
    assert_eq!(ended["outcome"], "failed", "{ended:#}");
    journal(rig, &id).await
}

async fn guard(rig: &Rig, service: &str) -> Value {
    Call::get(&format!("/api/v1/services/{service}")).by(rig.key()).send(rig).await.json()["guards"][0].clone()
}

async fn a_freeze_keeps_orders_back_on_every_path(database: Database) {
    let rig = plan(database).start().await;
    let pipe = rig.dir().join("pipe.ics");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    let nobody = "Nobody can say whether the freeze";
    for (service, why) in [
        ("closed", "The freeze closed (2020-01-01–2099-12-31) is in force"),
        ("gone", nobody),
        ("broken", "FREQ=SECONDLY, which is not understood"),
        ("pipe", "is not a file"),
        ("late", "may not wait so long (max_wait_s = 3600)"),
    ] {
        let rows = rig.rows().await;
        for more in [json!({}), json!({ "dry_run": true, "reason": "to see" }), json!({ "force": true, "reason": " " })] {
            let answer = deploy(&rig, service, &more).await;
            assert_refused(&answer, 422, "frozen");
            let wanted = if more["force"] == true { "needs a reason beside --force" } else { why };
            assert!(answer.text.contains(wanted), "{service}: {}", answer.text);
        }
        assert_eq!(rig.rows().await, rows, "{service}: nothing was recorded");
        let forced = deploy(&rig, service, &json!({ "force": true, "reason": "the page is down" })).await;
        let said = is_carried_out(&rig, &forced).await;
        assert!(said.contains("has overruled that: the page is down"), "{said}");
        let back = Call::post("/api/v1/rollbacks", &json!({ "service": service, "to": { "tag": "v0" } })).by(rig.key());
        assert_refused(&back.send(&rig).await, 422, "no_target");
        rig.record_landed(service, "v0").await;
        let back = Call::post("/api/v1/rollbacks", &json!({ "service": service, "to": { "tag": "v0" } })).by(rig.key()).send(&rig).await;
        is_carried_out(&rig, &back).await;
        let shown = guard(&rig, service).await;
        assert_eq!((&shown["guard"], &shown["says"]), (&json!("frozen"), &json!("refuses")), "{shown:#}");
    }
    is_carried_out(&rig, &deploy(&rig, "open", &json!({})).await).await;
    assert_eq!(guard(&rig, "open").await["says"], "passes");
    what_waits_is_carried_out_when_it_is_over(&rig).await;
    what_was_taken_is_asked_about_at_its_turn(&rig).await;
    rig.finish().await;
}

async fn what_waits_is_carried_out_when_it_is_over(rig: &Rig) {
    let event =
        format!("DTSTART:20200101T000000Z\r\nDTEND:{}", (Timestamp::now() + SignedDuration::from_mins(30)).strftime("%Y%m%dT%H%M%SZ"));
    std::fs::write(rig.dir().join("soon.ics"), calendar(&event)).unwrap();
    let answer = deploy(rig, "soon", &json!({})).await;
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let shown = rig.until(&id, |shown| shown["waits_for"] == "window" && shown["waits_why"].is_string()).await;
    assert!(shown["waits_why"].as_str().unwrap().contains("The freeze soon (Feast) is in force until"), "{shown:#}");
    assert_eq!(guard(rig, "soon").await["says"], "waits");
    // A dry run lands nothing, so it does not wait: it says what an order would come to.
    let dry = deploy(rig, "soon", &json!({ "dry_run": true })).await;
    assert_ne!(dry.status, 202, "it takes nobody's place: {}", dry.text);
    std::fs::write(rig.dir().join("soon.ics"), long_ago()).unwrap();
    is_carried_out(rig, &answer).await;
    std::fs::write(rig.dir().join("soon.ics"), calendar(&event)).unwrap();
    let said = is_carried_out(rig, &deploy(rig, "soon", &json!({ "dry_run": true })).await).await;
    assert!(said.contains("An order that is no dry run would wait now. The freeze soon (Feast) is in force"), "{said}");
}

/// The file was there when the order came, and is gone when its turn comes.
async fn what_was_taken_is_asked_about_at_its_turn(rig: &Rig) {
    let gate = rig.gate("turn");
    rig.order_running("turn", "v1").await;
    let id = rig.order("turn", "v2").await;
    std::fs::remove_file(rig.dir().join("turn.ics")).unwrap();
    drop(gate);
    let ended = rig.ended(&id).await;
    assert_eq!((&ended["outcome"], &ended["guard"]), (&json!("refused"), &json!("frozen")), "{ended:#}");
    assert!(ended["summary"].as_str().unwrap().contains("does not exist"), "{ended:#}");
    // The version before reads the outcome, by a guard that it knows.
    let read =
        rig.count("SELECT COUNT(*) FROM deployments WHERE refused_by = 'frozen' AND guard IS NULL AND outcome LIKE '%\"guard\":\"age\"%'");
    assert_eq!(read.await, 1);
    assert_refused(&rig.act(rig.key(), &format!("/api/v1/deployments/{id}/retry")).await, 422, "frozen");
    std::fs::write(rig.dir().join("turn.ics"), long_ago()).unwrap();
    is_carried_out(rig, &rig.act(rig.key(), &format!("/api/v1/deployments/{id}/retry")).await).await;
}
