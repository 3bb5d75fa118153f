//! What agents say once their line is open: about services of others, too late or not at all; and agents whose control plane has lost its
//! database, or has two servers.

use serde_json::Value;
use serde_json::json;
use tagalong::line::KeyPair;
use tagalong::line::Opening;
use tagalong::line::SUBPROTOCOL;
use tagalong::line::Socket;
use tagalong::model::MachineId;
use tokio::net::TcpStream;

use crate::agents::Host;
use crate::agents::dial;
use crate::agents::refused;
use crate::agents::shown;
use crate::agents::until_state;
use crate::support::Call;
use crate::support::Database;
use crate::support::Key;
use crate::support::PATIENCE;
use crate::support::Plan;
use crate::support::Rig;
use crate::support::assert_refused;
use crate::support::until;

on_both!(
    what_an_agent_says_of_services_of_others_counts_for_nothing,
    agents_that_were_lost_with_the_database_are_readmitted_by_a_person,
    a_revoked_agent_stays_revoked_when_an_older_database_is_put_back,
);

/// An agent that says what the test wants.
pub(crate) struct Speaker(Socket<TcpStream>);

impl Speaker {
    /// Its line is open, and it has named `services`.
    pub(crate) async fn of(rig: &Rig, host: &Host, services: &[&str]) -> Self {
        let mut speaker = Self(host.connect(rig).await.unwrap());
        let services: Vec<Value> =
            services.iter().map(|name| json!({ "name": name, "images": [format!("registry.example.com/acme/{name}")] })).collect();
        let version = json!({ "major": 1, "minor": 1 });
        let hello = json!({
            "kind": "hello", "version": version, "program": "0.1.0", "host": {}, "services": services, "datasets": ["pages"],
        });
        speaker.say(&hello).await;
        speaker.hear("welcome").await;
        speaker
    }

    pub(crate) async fn say(&mut self, frame: &Value) {
        self.0.say(frame.to_string()).await.unwrap();
    }

    /// The next frame of that kind.
    pub(crate) async fn hear(&mut self, kind: &str) -> Value {
        loop {
            let text = tokio::time::timeout(PATIENCE, self.0.hear()).await.expect("a frame in time").unwrap();
            let frame: Value = serde_json::from_str(&text).unwrap();
            if frame["kind"] == kind {
                return frame;
            }
        }
    }
}

pub(crate) fn ended(id: &str, service: &str) -> Value {
    json!({
        "kind": "ended", "order": { "deployment": id, "order": "deploy", "service": service, "caller": "local:0", "tag": "v1" },
        "created_ms": 1, "outcome": { "outcome": "live", "warnings": [] }, "step": "smoke", "started_ms": 2, "ended_ms": 3,
    })
}

pub(crate) fn lines(id: &str, text: &str) -> Value {
    let line = json!({ "position": 1, "run": 1, "seq": 1, "at_ms": 1, "step": "resolve", "line": "note", "text": text });
    json!({ "kind": "lines", "deployment": id, "lines": [line] })
}

async fn order(rig: &Rig, service: &str) -> String {
    let answer = Call::post("/api/v1/deployments", &json!({ "service": service, "tag": "v1" })).by(rig.key()).send(rig).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer.json()["id"].as_str().unwrap().to_owned()
}

async fn what_an_agent_says_of_services_of_others_counts_for_nothing(database: Database) {
    let rig = Plan::new(database).start().await;
    let (good, bad) = (Host::enrolled(&rig, "good").await, Host::enrolled(&rig, "bad").await);
    let mut mine = Speaker::of(&rig, &good, &["shop"]).await;
    // It names the other's service, and one of the control plane's own host.
    let mut theirs = Speaker::of(&rig, &bad, &["blog", "shop", "web"]).await;
    let problems = Call::get("/api/v1/agents").by(rig.key()).send(&rig).await.json()["problems"].to_string();
    assert!(problems.contains("The service shop of the agent bad is not taken") && problems.contains("The service web of the agent bad"));
    let id = order(&rig, "shop").await;
    let sent = mine.hear("order").await;
    assert_eq!((&sent["deployment"], &sent["service"]), (&json!(id), &json!("shop")));
    mine.say(&json!({ "kind": "accepted", "deployment": id })).await;
    let unknown = "01000000000000000000000001";
    for frame in [
        json!({ "kind": "accepted", "deployment": id }),
        json!({ "kind": "refused", "deployment": id, "why": "because" }),
        lines(&id, "forged"),
        ended(&id, "shop"),
        ended(&id, "blog"),
        ended(unknown, "shop"),
        ended(unknown, "web"),
        ended(unknown, "nowhere"),
        json!({ "kind": "answer", "ask": 1, "body": { "answer": "done", "message": "forged" } }),
    ] {
        theirs.say(&frame).await;
    }
    // It is told that this is known, so that it says none of it again; and none of it is recorded.
    for said in [&id, &id, &id, unknown, unknown, unknown] {
        assert_eq!(theirs.hear("ack").await["deployment"], *said);
    }
    // Its id would come before every order of years.
    let late = "7ZZZZZZZZZZZZZZZZZZZZZZZZZ";
    theirs.say(&ended(late, "blog")).await;
    assert_eq!(theirs.hear("ack").await["deployment"], late);
    // What is its own is taken, so everything before it was heard.
    let own = "01000000000000000000000002";
    theirs.say(&ended(own, "blog")).await;
    assert_eq!(theirs.hear("ack").await["deployment"], own);
    assert_eq!(rig.show(own).await["caller"], "local:0 on bad");
    let running = rig.show(&id).await;
    assert_eq!(running["state"], "running", "{running}");
    assert_eq!(rig.count("SELECT COUNT(*) FROM deployments").await, 2);
    assert_eq!(rig.count("SELECT COUNT(*) FROM lines WHERE text LIKE '%forged%' OR text LIKE '%because%'").await, 0);
    mine.say(&lines(&id, "its own")).await;
    assert_eq!(mine.hear("ack").await["position"], 1);
    mine.say(&ended(&id, "shop")).await;
    assert_eq!(rig.ended(&id).await["outcome"], "live");
    // Said again, it changes nothing and is acknowledged.
    let before = rig.rows().await;
    mine.say(&ended(&id, "shop")).await;
    assert_eq!(mine.hear("ack").await["ended"], true);
    assert_eq!(rig.rows().await, before);
    rig.finish().await;
}

/// The database is another one, as far as agents are concerned; the data folder is the same.
async fn agents_that_were_lost_with_the_database_are_readmitted_by_a_person(database: Database) {
    let mut plan = Plan::new(database);
    plan.keys.push(Key::signing("reader", &["read"]));
    let mut rig = plan.start().await;
    let (host, gone) = (Host::enrolled(&rig, "micro").await, Host::enrolled(&rig, "gone").await);
    drop(host.connect(&rig).await.unwrap());
    assert_eq!(rig.act(rig.key(), "/api/v1/agents/gone/revoke").await.status, 200);
    for statement in ["DELETE FROM agent_codes", "DELETE FROM agent_keys", "DELETE FROM agents"] {
        rig.execute(statement).await;
    }
    rig.restart().await;
    let stranger = || refused(401, "unauthorized");
    let header = |host: &Host| host.opening().header(&host.mine.keys);
    assert_eq!(dial(&rig, Some(&header(&host)), SUBPROTOCOL).await.err(), Some(stranger()));
    let problems = Call::get("/api/v1/agents").by(rig.key()).send(&rig).await.json()["problems"].clone();
    let told = problems.to_string();
    assert!(told.contains("tagalong agent readmit micro") && told.contains(host.mine.keys.public().as_str()), "{told}");
    assert!(!told.contains("gone"), "{told}");
    // Only who may revoke may readmit, and only what was enrolled and not revoked.
    assert_refused(&rig.act(&rig.plan.keys[1].clone(), "/api/v1/agents/micro/readmit").await, 403, "forbidden");
    for name in ["gone", "nobody"] {
        assert_refused(&rig.act(rig.key(), &format!("/api/v1/agents/{name}/readmit")).await, 404, "not_found");
    }
    assert_eq!(dial(&rig, Some(&header(&host)), SUBPROTOCOL).await.err(), Some(stranger()));
    let done = rig.act(rig.key(), "/api/v1/agents/micro/readmit").await;
    assert!(done.status == 200 && done.text.contains(host.mine.keys.public().as_str()), "{}", done.text);
    assert_refused(&rig.act(rig.key(), "/api/v1/agents/micro/readmit").await, 404, "not_found");
    assert_eq!(rig.count("SELECT COUNT(*) FROM audit WHERE action = 'agent_readmit' AND target = 'micro'").await, 1);
    // It proves the key that it had, on the machine that it had; nothing else is let in.
    let other = KeyPair::new().unwrap();
    let forged = Opening { key: other.public().clone(), ..host.opening() };
    assert_eq!(dial(&rig, Some(&forged.header(&other)), SUBPROTOCOL).await.err(), Some(stranger()));
    let elsewhere = Opening { machine: MachineId::of([7; 16]), ..host.opening() };
    assert_eq!(dial(&rig, Some(&elsewhere.header(&host.mine.keys)), SUBPROTOCOL).await.err(), Some(refused(403, "agent_clone")));
    assert_eq!(dial(&rig, Some(&header(&gone)), SUBPROTOCOL).await.err(), Some(stranger()));
    let _line = host.connect(&rig).await.unwrap();
    until_state(&rig, "micro", "online").await;
    rig.finish().await;
}

/// The database is put back from a time before an agent was revoked; the data folder is the same.
async fn a_revoked_agent_stays_revoked_when_an_older_database_is_put_back(database: Database) {
    let mut rig = Plan::new(database).start().await;
    let host = Host::enrolled(&rig, "micro").await;
    drop(host.connect(&rig).await.unwrap());
    assert_eq!(rig.act(rig.key(), "/api/v1/agents/micro/revoke").await.status, 200);
    for statement in ["UPDATE agents SET revoked_ms = NULL", "UPDATE agent_keys SET ended_ms = NULL"] {
        rig.execute(statement).await;
    }
    let header = || host.opening().header(&host.mine.keys);
    let known = || std::fs::read_to_string(rig.data_dir().join("agents-known")).unwrap();
    for _ in 0..2 {
        assert_eq!(dial(&rig, Some(&header()), SUBPROTOCOL).await.err(), Some(refused(401, "unauthorized")));
        let told = Call::get("/api/v1/agents").by(rig.key()).send(&rig).await.json()["problems"].to_string();
        assert!(told.contains("The agent micro was revoked, and the database was put back"), "{told}");
    }
    assert!(known().contains("\"is_revoked\": true"), "{}", known());
    rig.restart().await;
    assert_eq!(dial(&rig, Some(&header()), SUBPROTOCOL).await.err(), Some(refused(401, "unauthorized")));
    // A person ends that.
    let host = Host::enrolled(&rig, "micro").await;
    let _line = host.connect(&rig).await.unwrap();
    until_state(&rig, "micro", "online").await;
    let told = Call::get("/api/v1/agents").by(rig.key()).send(&rig).await.json()["problems"].to_string();
    assert!(!told.contains("was put back"), "{told}");
    rig.finish().await;
}

/// It answers pings and questions of nobody: the order says so, and so does the list of agents, until it accepts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_connected_and_does_not_accept_is_stuck() {
    let rig = Plan::new(Database::Sqlite).start().await;
    let host = Host::enrolled(&rig, "micro").await;
    let mut agent = Speaker::of(&rig, &host, &["shop"]).await;
    let id = order(&rig, "shop").await;
    agent.hear("order").await;
    // It is asked again before that.
    agent.hear("order").await;
    until_state(&rig, "micro", "stuck").await;
    // The journal says it a moment later.
    until("the journal to say it", async || {
        let log = Call::get(&format!("/api/v1/deployments/{id}/log?follow=false")).by(rig.key()).send(&rig).await.text;
        log.contains("The agent micro is connected, and has not answered this order for 20 s").then_some(())
    })
    .await;
    agent.say(&json!({ "kind": "accepted", "deployment": id })).await;
    until_state(&rig, "micro", "online").await;
    agent.say(&ended(&id, "shop")).await;
    assert_eq!(rig.ended(&id).await["outcome"], "live");
    rig.finish().await;
}

/// A scope for one dataset is for the one of this server, whatever an agent calls its own; and a page is looked at for operators only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_agents_are_asked_is_for_those_who_may() {
    let mut plan = Plan::new(Database::Sqlite);
    plan.keys.push(Key::signing("reader", &["read"]));
    plan.keys.push(Key::signing("one", &["read:web"]));
    let rig = plan.start().await;
    let (reader, one) = (rig.plan.keys[1].clone(), rig.plan.keys[2].clone());
    let host = Host::enrolled(&rig, "micro").await;
    let mut agent = Speaker::of(&rig, &host, &["shop"]).await;
    let asked = |key: &Key| Call::get("/api/v1/datasets").by(key);
    let refused = asked(&one).send(&rig).await;
    assert!(refused.status == 200 && refused.json()["datasets"] == json!([]), "{}", refused.text);
    let dataset = json!({ "name": "pages", "agent": "forged", "branch": "main", "pending": 0, "parked": [], "aside": [], "owed": [] });
    let answered = async {
        let ask = agent.hear("ask").await;
        assert_eq!(ask["body"]["ask_for"], "datasets");
        agent.say(&json!({ "kind": "answer", "ask": ask["ask"], "body": { "answer": "datasets", "datasets": [dataset] } })).await;
    };
    let (all, ()) = tokio::join!(asked(&reader).send(&rig), answered);
    assert_eq!(
        (&all.json()["datasets"][0]["name"], &all.json()["datasets"][0]["agent"]),
        (&json!("pages"), &json!("micro")),
        "{}",
        all.text
    );
    let look = |key: &Key, service: &str| Call::post(&format!("/api/v1/services/{service}/look"), &json!({})).by(key);
    for key in [&reader, &one] {
        assert_refused(&look(key, "shop").send(&rig).await, 403, "forbidden");
    }
    assert_refused(&look(rig.key(), "web").send(&rig).await, 409, "no_page");
    let answered = async {
        let ask = agent.hear("ask").await;
        assert_eq!((&ask["body"]["ask_for"], &ask["body"]["service"]), (&json!("look"), &json!("shop")));
        agent.say(&json!({ "kind": "answer", "ask": ask["ask"], "body": { "answer": "problem", "why": "there is no page" } })).await;
    };
    let (said, ()) = tokio::join!(look(rig.key(), "shop").send(&rig), answered);
    assert!(said.status == 409 && said.text.contains("the agent micro says: there is no page"), "{}", said.text);
    rig.finish().await;
}

/// The line is at one server of two: that one carries out what either has taken, and the other says where to ask.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_servers_the_one_with_the_line_carries_out_what_either_has_taken() {
    let rig = Plan::new(Database::Postgres).start().await;
    let other = rig.beside().await;
    let host = Host::enrolled(&rig, "micro").await;
    let mut agent = Speaker::of(&rig, &host, &["shop"]).await;
    let state = until("the other server to know", async || {
        let state = shown(&other, "micro").await["state"].clone();
        (state == "online").then_some(state)
    });
    assert_eq!(state.await, "online");
    let id = until("the order to be taken there", async || {
        let order = json!({ "service": "shop", "tag": "v1" });
        let answer = Call::post("/api/v1/deployments", &order).by(other.key()).send(&other).await;
        (answer.status == 202).then(|| answer.json()["id"].as_str().unwrap().to_owned())
    });
    let id = id.await;
    assert_eq!(agent.hear("order").await["deployment"], json!(id));
    agent.say(&json!({ "kind": "accepted", "deployment": id })).await;
    let resume = "/api/v1/services/shop/resume";
    let said = until("the other server to say where", async || {
        let answer = other.act(other.key(), resume).await;
        answer.text.contains("connected to another server of this database").then_some(answer.status)
    });
    assert_eq!(said.await, 503);
    agent.say(&ended(&id, "shop")).await;
    assert_eq!(other.ended(&id).await["outcome"], "live");
    other.stop().await;
    rig.finish().await;
}
