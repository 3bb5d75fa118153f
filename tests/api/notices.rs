//! What people hear of what happened, on both databases: each of it once, over a restart and while a receiver is away.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

use tagalong::clock;
use tagalong::model::Event;
use tagalong::model::EventKind;
use tagalong::model::EventName;
use tagalong::model::Lane;
use tagalong::model::Message;
use tagalong::model::ServiceName;
use tagalong::store;
use tagalong::store::Owe;

use crate::notify;
use crate::receiver::Receiver;
use crate::support::Call;
use crate::support::Database;
use crate::support::Key;
use crate::support::Plan;
use crate::support::Rig;
use crate::support::until;

on_both!(a_thousand_events_are_told_once_each_though_the_receiver_is_away, ends_of_deployments_are_told_to_those_who_want_them);

fn event(kind: EventKind, of: &str) -> Event {
    Event {
        name: EventName { kind, of: of.to_owned() },
        service: Some(ServiceName::parse("web").unwrap()),
        at_ms: clock::now_ms(),
        what: format!("Something is wrong with web: {of}."),
        why: "<!channel> the page answers 500".to_owned(),
        next: Some("tagalong status web".to_owned()),
    }
}

async fn happen(rig: &Rig, event: &Event) -> bool {
    rig.app().shared().store.happened(event).await.unwrap()
}

/// A server whose notifiers are those of these kinds.
async fn rig(database: Database, receiver: &Receiver, kinds: &[&str]) -> Rig {
    let files = crate::support::folder();
    let all = notify::tables(receiver, files.path());
    let tables: Vec<&str> =
        all.split("[[notify]]\n").filter(|table| kinds.iter().any(|kind| table.contains(&format!("\"{kind}\"")))).collect();
    let read = |name: &'static str| (name, std::fs::read_to_string(files.path().join(name)).unwrap());
    let mut plan = Plan::new(database);
    plan.files = ["hook.secret", "slack.url", "discord.url", "gotify.token"].into_iter().map(read).collect();
    plan.tables = tables.iter().flat_map(|table| ["[[notify]]\n", *table]).collect();
    plan.start().await
}

async fn status(rig: &Rig) -> Vec<serde_json::Value> {
    let answer = Call::get("/api/v1/services").by(rig.key()).send(rig).await;
    answer.json()["notifiers"].as_array().unwrap().clone()
}

async fn a_thousand_events_are_told_once_each_though_the_receiver_is_away(database: Database) {
    const MANY: usize = 1000;
    let receiver = Receiver::start().await;
    receiver.set_fault(503, "x: y", "the receiver is away");
    let mut rig = rig(database, &receiver, &["webhook", "slack"]).await;
    for n in 0..MANY {
        assert!(happen(&rig, &event(EventKind::IncidentOpened, &format!("incident-{n:04}"))).await);
        // Who finds the same again records nothing.
        if n % 100 == 0 {
            assert!(!happen(&rig, &event(EventKind::IncidentOpened, &format!("incident-{n:04}"))).await);
        }
    }
    let seen = until("notifiers that are seen to fail", async || {
        let seen = status(&rig).await;
        seen.iter().all(|one| one["owed"] == MANY && one["tries"].as_i64() > Some(0)).then_some(seen)
    });
    let seen = seen.await;
    assert_eq!(seen[0]["why"], "127.0.0.1 answered 503: the receiver is away.", "{seen:?}");
    let metrics = Call::get("/metrics").by(rig.key()).send(&rig).await.text;
    for line in ["tagalong_notifier_failing{notifier=\"webhook\"} 1", "tagalong_notifier_owed{notifier=\"slack\"} 1000"] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    rig.restart().await;
    until("another try", async || (receiver.seen().met > 3).then_some(())).await;
    receiver.seen().fault = None;
    let hooks = || receiver.seen().calls.iter().filter(|called| called.path == "/hook").count();
    let began = std::time::Instant::now();
    while hooks() < MANY && began.elapsed() < Duration::from_mins(3) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("{} webhooks after {:?}", hooks(), began.elapsed());
    let mut told: BTreeMap<(String, String), usize> = BTreeMap::new();
    let incident = regex::Regex::new("wrong with web: incident-[0-9]{4}").unwrap();
    for called in receiver.calls() {
        let text = String::from_utf8_lossy(&called.bytes).into_owned();
        let named: BTreeSet<&str> = incident.find_iter(&text).map(|found| found.as_str()).collect();
        assert!(called.path != "/hook" || named.len() == 1, "each is a call of its own: {text}");
        for name in named {
            *told.entry((called.path.clone(), name.to_owned())).or_default() += 1;
        }
    }
    assert_eq!(told.iter().find(|(_, times)| **times != 1), None);
    assert_eq!(told.keys().filter(|(path, _)| path == "/hook").count(), MANY);
    assert!(told.len() > MANY, "the other service is told as well, as fast as it wants to be");
    rig.finish().await;
}

async fn ends_of_deployments_are_told_to_those_who_want_them(database: Database) {
    let receiver = Receiver::start().await;
    let rig = rig(database, &receiver, &["webhook", "gotify"]).await;
    let id = rig.order("web", "v1").await;
    assert_eq!(rig.ended(&id).await["outcome"], "failed");
    let calls = until("both messages", async || Some(receiver.calls()).filter(|calls| calls.len() == 2)).await;
    let hook = calls.iter().find(|called| called.path == "/hook").unwrap();
    let data = &hook.body["data"];
    assert_eq!((&hook.body["type"], &data["event"], &data["service"]), (&"event.failed".into(), &"failed".into(), &"web".into()));
    assert_eq!((&data["about"], &data["next"]), (&id.clone().into(), &format!("tagalong retry {id}").into()));
    assert_eq!(data["what"], "v1 of web was not deployed; nothing was changed.");
    assert!(data["why"].as_str().is_some_and(|why| !why.is_empty()), "{data}");
    let phone = calls.iter().find(|called| called.path == "/gotify/message").unwrap();
    assert_eq!(phone.body["title"], "v1 of web was not deployed; nothing was changed.");
    assert!(phone.body["message"].as_str().unwrap().contains(&format!("\n    tagalong retry {id}\nOn ")), "{phone:?}");
    // What has landed and what was refused is no news to those who did not ask for it.
    assert!(happen(&rig, &event(EventKind::Live, "x")).await);
    assert!(happen(&rig, &event(EventKind::Refused, "x")).await);
    assert!(happen(&rig, &event(EventKind::Recovered, "x")).await);
    until("the third one", async || (receiver.calls().len() == 4).then_some(())).await;
    until("nothing owed", async || status(&rig).await.iter().all(|one| one["owed"] == 0).then_some(())).await;
    assert_eq!(receiver.calls().len(), 4);
    rig.finish().await;
}

/// What becomes of an approval arrives, each once: that it is wanted, was given, or was not given in time. The code is in none of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_becomes_of_approvals_arrives() {
    let receiver = Receiver::start().await;
    let dir = crate::support::folder();
    let all = notify::tables(&receiver, dir.path());
    let of = |kind: &str, more: &str| {
        let table = all.split("[[notify]]\n").find(|table| table.contains(&format!("\"{kind}\""))).unwrap();
        format!("[[notify]]\n{table}{more}\n")
    };
    let mut plan = Plan::new(Database::Sqlite);
    plan.files = ["hook.secret", "gotify.token"].map(|name| (name, std::fs::read_to_string(dir.path().join(name)).unwrap())).to_vec();
    plan.server += "\npublic_url = \"http://localhost:1\"";
    plan.keys.push(Key::signing("ada", &["approve:web"]));
    plan.tables = of("webhook", "events = [\"approval_wanted\", \"approval_given\", \"approval_expired\"]") + &of("gotify", "events = []");
    let tables = "[[person]]\nid = \"ada\"\nnotify = \"gotify\"\nkeys = [\"ada\"]\n[service.web.approval]\napprovers = [\"ada\"]\nrollbacks = true\n";
    let rig = plan.start().await.landed_before(tables).await;
    let order = async || {
        let back = Call::post("/api/v1/rollbacks", &serde_json::json!({ "service": "web" })).by(rig.key()).send(&rig).await;
        assert_eq!(back.status, 202, "{}", back.text);
        back.json()["id"].as_str().unwrap().to_owned()
    };
    let event = async |kind: &str, id: &str| {
        let is_it = |called: &crate::receiver::Called| called.body["data"]["event"] == kind && called.body["data"]["about"] == id;
        until(&format!("{kind} of {id}"), async || receiver.calls().into_iter().find(&is_it)).await
    };
    let given = order().await;
    event("approval_wanted", &given).await;
    let letter = until("a code", async || receiver.calls().into_iter().find(|called| called.path.starts_with("/gotify"))).await;
    let code = regex::Regex::new("[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}").unwrap();
    let code = code.find(letter.body["message"].as_str().unwrap()).unwrap().as_str().to_owned();
    let entered = Call::post(&format!("/api/v1/deployments/{given}/approval"), &serde_json::json!({ "code": code }));
    let entered = entered.by(&rig.plan.keys[1]).send(&rig).await;
    assert_eq!(entered.status, 200, "{}", entered.text);
    event("approval_given", &given).await;
    rig.ended(&given).await;
    let expired = order().await;
    event("approval_wanted", &expired).await;
    // Whoever sent the codes has said by then when the guards are to be asked again.
    let late = "UPDATE deployments SET waits_since_ms = waits_since_ms - 21600000, ask_next_ms = 0
                WHERE waits_for = 'approval' AND asked > 0 AND asker IS NULL";
    until("the order is not asked about", async || (rig.execute(late).await == 1).then_some(())).await;
    assert_eq!(rig.ended(&expired).await["guard"], "approval");
    event("approval_expired", &expired).await;
    until("nothing owed", async || status(&rig).await.iter().all(|one| one["owed"] == 0).then_some(())).await;
    let calls = receiver.calls();
    let hooks: Vec<_> = calls.iter().filter(|called| called.path == "/hook").collect();
    assert_eq!(hooks.len(), 4, "{hooks:#?}");
    assert!(hooks.iter().all(|called| !String::from_utf8_lossy(&called.bytes).contains(&code)), "a code is for one person alone");
    rig.finish().await;
}

/// The webhook is owed nothing.
async fn settled(rig: &Rig) {
    let is_settled = |one: &serde_json::Value| one["kind"] == "webhook" && one["owed"] == 0;
    until("nothing owed to the webhook", async || status(rig).await.iter().any(is_settled).then_some(())).await;
}

/// A notifier that has not delivered a message for a quarter of an hour is told of by another one, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_debt_that_stays_arrives_elsewhere() {
    let receiver = Receiver::start().await;
    let mut rig = rig(Database::Sqlite, &receiver, &["webhook", "slack"]).await;
    // Slack does not take this one; the webhook takes everything.
    receiver.seen().poison = Some("\"blocks\"");
    assert!(happen(&rig, &event(EventKind::IncidentOpened, "incident-0001")).await);
    until("slack has refused it", async || status(&rig).await.iter().any(|one| one["refused"] == 1).then_some(())).await;
    assert_eq!(rig.execute("UPDATE outbox SET since_ms = since_ms - 960000 WHERE receiver = 'slack'").await, 1);
    // Debts are looked for at the start, and each minute.
    rig.restart().await;
    let debts = || receiver.calls().into_iter().filter(|called| called.body["data"]["event"] == "debt").collect::<Vec<_>>();
    let told = until("the debt", async || debts().pop()).await;
    assert_eq!(told.body["data"]["next"], "tagalong notify test slack", "{told:?}");
    assert!(told.body["data"]["what"].as_str().unwrap().contains("The notifier slack has not delivered a message for 16 min."), "{told:?}");
    settled(&rig).await;
    rig.restart().await;
    settled(&rig).await;
    assert_eq!(debts().len(), 1);
    rig.finish().await;
}

/// Of more than are kept the oldest are dropped. Whoever looks sees how many, and the others arrive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dropped_is_counted_and_the_rest_arrives() {
    let receiver = Receiver::start().await;
    receiver.set_fault(503, "x: y", "the receiver is away");
    let rig = rig(Database::Sqlite, &receiver, &["slack"]).await;
    let store = rig.app().shared().store.clone();
    let first = event(EventKind::IncidentOpened, "incident-0000");
    assert!(happen(&rig, &first).await);
    until("the first one", async || (status(&rig).await[0]["owed"] == 1).then_some(())).await;
    let receiver_id = status(&rig).await[0]["id"].as_str().unwrap().to_owned();
    let many = (0..store::MOST_OWED + 2).map(|n| Owe {
        receiver: receiver_id.clone(),
        key: format!("key-{n:04}"),
        message: Message::Event(first.name.clone()),
    });
    store.owe(&Lane::Notifiers, &many.collect::<Vec<_>>(), 1, i64::MAX / 2).await.unwrap();
    let seen = status(&rig).await.remove(0);
    assert_eq!((&seen["owed"], &seen["dropped"]), (&store::MOST_OWED.into(), &3.into()), "{seen}");
    let metrics = Call::get("/metrics").by(rig.key()).send(&rig).await.text;
    let line = format!("tagalong_notifier_dropped{{notifier=\"{receiver_id}\"}} 3");
    assert!(metrics.contains(&line), "{line} is not in {metrics}");
    rig.finish().await;
}

/// Chats get several events in one message. After they were away nothing is missing, and nothing is there twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_that_was_away_hears_of_everything_once() {
    const MANY: usize = 40;
    let receiver = Receiver::start().await;
    receiver.set_fault(503, "x: y", "the receiver is away");
    let rig = rig(Database::Sqlite, &receiver, &["slack"]).await;
    for n in 0..MANY {
        assert!(happen(&rig, &event(EventKind::IncidentOpened, &format!("incident-{n:04}"))).await);
    }
    until("all of it owed", async || (status(&rig).await[0]["owed"] == MANY).then_some(())).await;
    receiver.seen().fault = None;
    let began = std::time::Instant::now();
    while status(&rig).await[0]["owed"] != 0 && began.elapsed() < Duration::from_mins(3) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let all: String = receiver.calls().iter().map(|called| String::from_utf8_lossy(&called.bytes).into_owned()).collect();
    let heard: Vec<usize> = (0..MANY).map(|n| all.matches(&format!("wrong with web: incident-{n:04}")).count()).collect();
    assert_eq!(heard, [1; MANY], "{all}");
    rig.finish().await;
}

/// What comes while a message is on its way is told together, and one that a service refuses takes no other with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_together_is_told_together() {
    let receiver = Receiver::start().await;
    receiver.seen().poison = Some("poison");
    let rig = rig(Database::Sqlite, &receiver, &["discord"]).await;
    for n in 0..12 {
        let of = if n == 3 { "poison".to_owned() } else { format!("incident-{n:04}") };
        assert!(happen(&rig, &event(EventKind::IncidentOpened, &of)).await);
    }
    let seen = until("all that is taken", async || {
        let seen = status(&rig).await.remove(0);
        (seen["owed"] == 0).then_some(seen)
    });
    let seen = seen.await;
    assert_eq!((&seen["refused"], &seen["why"]), (&1.into(), &"127.0.0.1 answered 400: invalid_payload.".into()), "{seen}");
    let calls = receiver.calls();
    let all: String = calls.iter().map(|called| called.body["embeds"][0].to_string()).collect();
    for n in (0..12).filter(|n| *n != 3) {
        assert_eq!(all.matches(&format!("incident\\\\-{n:04}")).count(), 1, "{n}: {all}");
    }
    assert!((2..=8).contains(&calls.len()), "{} messages", calls.len());
    rig.finish().await;
}
