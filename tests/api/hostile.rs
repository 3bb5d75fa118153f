//! An agent that was captured: it has proven its key, and says what it likes. Nothing of it reaches another agent's services, another
//! agent's answers, or this side's callers and images.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use serde_json::json;
use sqlx::Row as _;
use tagalong::clock;
use tagalong::line::AnswerBody;
use tagalong::line::AskedFor;
use tagalong::line::Socket;
use tagalong::model::AgentName;
use tagalong::model::DeploymentId;
use tagalong::model::ServiceName;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

use crate::agents::Host;
use crate::support::Call;
use crate::support::Database;
use crate::support::PATIENCE;
use crate::support::Plan;
use crate::support::Rig;
use crate::support::until;

on_both!(
    a_service_belongs_to_the_agent_that_named_it_first,
    a_service_of_a_revoked_agent_is_nobodys_until_a_person_decides,
    only_who_was_asked_answers,
    an_agent_that_looks_at_no_page_keeps_nobody_from_those_of_others,
    what_an_agent_tells_is_its_own_word,
    what_an_agent_tells_is_of_a_bounded_size,
    lines_are_of_the_agents_own_runs_and_bounded,
    what_runs_is_live_only_if_it_was_ordered,
    hosts_that_landed_different_images_are_for_a_person_to_look_at,
    no_registry_of_an_agents_choice_is_called,
);

const IMAGE: &str = "registry.example.com/acme/web";

/// A line whose agent says what it is told to.
struct Captured {
    socket: Socket<TcpStream>,
}

fn hello(services: &[(&str, &str)]) -> Value {
    let services: Vec<Value> = services.iter().map(|(name, image)| json!({ "name": name, "images": [image] })).collect();
    json!({ "kind": "hello", "version": { "major": 1, "minor": 0 }, "program": "0.0.0", "host": {}, "services": services })
}

impl Captured {
    async fn connect(rig: &Rig, host: &Host) -> Self {
        Self { socket: host.connect(rig).await.unwrap() }
    }

    /// One that has said which services it has, and was welcomed.
    async fn welcomed(rig: &Rig, host: &Host, services: &[(&str, &str)]) -> Self {
        let mut captured = Self::connect(rig, host).await;
        captured.say(&hello(services)).await;
        captured.hear("welcome").await;
        captured
    }

    async fn say(&mut self, frame: &Value) {
        self.socket.say(frame.to_string()).await.unwrap();
    }

    /// The next frame of that kind.
    async fn hear(&mut self, kind: &str) -> Value {
        loop {
            let said = tokio::time::timeout(PATIENCE, self.socket.hear()).await.expect("in time").expect("a frame");
            let frame: Value = serde_json::from_str(&said).unwrap();
            if frame["kind"] == kind {
                return frame;
            }
        }
    }

    /// It is asked to look at a page.
    async fn is_to_look(&mut self) {
        while self.hear("ask").await["body"]["ask_for"] != "look" {}
    }

    /// Whether the line is ended by the other side.
    async fn is_cut(&mut self) -> bool {
        loop {
            match tokio::time::timeout(PATIENCE, self.socket.hear()).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) => return true,
                Err(_) => return false,
            }
        }
    }
}

async fn problems(rig: &Rig) -> String {
    Call::get("/api/v1/agents").by(rig.key()).send(rig).await.json()["problems"].to_string()
}

/// What is told of placements follows what is in force.
async fn until_told(rig: &Rig, words: &str) {
    until(words, async || problems(rig).await.contains(words).then_some(())).await;
}

/// On whose host the service stands; none: there is no such service.
fn place_of(rig: &Rig, service: &str) -> Option<String> {
    let config = rig.app().shared().config.now();
    config.service(&ServiceName::parse(service).unwrap()).map(|service| service.stack.agents()[0].to_string())
}

async fn until_place(rig: &Rig, service: &str, agent: Option<&str>) {
    until(&format!("{service} at {agent:?}"), async || (place_of(rig, service).as_deref() == agent).then_some(())).await;
}

fn none(database: Database) -> Plan {
    Plan { services: Vec::new(), ..Plan::new(database) }
}

async fn a_service_belongs_to_the_agent_that_named_it_first(database: Database) {
    let mut rig = none(database).start().await;
    let (micro, other) = (Host::enrolled(&rig, "micro").await, Host::enrolled(&rig, "a").await);
    let mut first = Captured::welcomed(&rig, &micro, &[("web", IMAGE)]).await;
    let _second = Captured::welcomed(&rig, &other, &[("web", IMAGE), ("api", IMAGE)]).await;
    until_place(&rig, "api", Some("a")).await;
    assert_eq!(place_of(&rig, "web").as_deref(), Some("micro"));
    until_told(&rig, "The service web of the agent a is not taken, because it stands on the host of micro").await;
    // Whoever names it first after a restart gets nothing by that.
    rig.restart().await;
    let _second = Captured::welcomed(&rig, &other, &[("web", IMAGE)]).await;
    assert_eq!(place_of(&rig, "web").as_deref(), Some("micro"));
    drop(first);
    // It is not handed over because its agent does not name it for a while.
    first = Captured::welcomed(&rig, &micro, &[]).await;
    until_place(&rig, "web", None).await;
    first.say(&hello(&[])).await;
    until_told(&rig, "because it stood on the host of micro, which was revoked or does not name it any more").await;
    first.say(&hello(&[("web", IMAGE)])).await;
    until_place(&rig, "web", Some("micro")).await;
    rig.finish().await;
}

async fn a_service_of_a_revoked_agent_is_nobodys_until_a_person_decides(database: Database) {
    let mut rig = none(database).start().await;
    let (micro, other) = (Host::enrolled(&rig, "micro").await, Host::enrolled(&rig, "a").await);
    let first = Captured::welcomed(&rig, &micro, &[("web", IMAGE)]).await;
    let _second = Captured::welcomed(&rig, &other, &[("web", IMAGE)]).await;
    until_place(&rig, "web", Some("micro")).await;
    // Who named it second gets it neither when the first is revoked, nor after a restart, and the audit trail says so.
    assert_eq!(rig.act(rig.key(), "/api/v1/agents/micro/revoke").await.status, 200);
    assert_eq!(place_of(&rig, "web"), None);
    until_told(&rig, "because it stood on the host of micro, which was revoked or does not name it any more").await;
    drop(first);
    rig.restart().await;
    let _second = Captured::welcomed(&rig, &other, &[("web", IMAGE), ("cache", IMAGE)]).await;
    until_place(&rig, "cache", Some("a")).await;
    assert_eq!(place_of(&rig, "web"), None);
    // The host that had it has it again once a person has enrolled it anew.
    let micro = Host::enrolled(&rig, "micro").await;
    let _first = Captured::welcomed(&rig, &micro, &[("web", IMAGE)]).await;
    until_place(&rig, "web", Some("micro")).await;
    assert_eq!(rig.act(rig.key(), "/api/v1/agents/micro/revoke").await.status, 200);
    assert_eq!(place_of(&rig, "web"), None);
    assert_eq!(rig.count("SELECT COUNT(*) FROM audit WHERE action = 'placement' AND target = 'web' AND caller = 'key:ops'").await, 2);
    // A person decides.
    let url = rig.url.clone();
    rig.plan.tables = "[service.web]\nhosts = [\"a\"]\n".into();
    rig.plan.write(rig.dir(), "server", url.as_deref());
    rig.app().read_again(&rig.config_file);
    assert_eq!(place_of(&rig, "web").as_deref(), Some("a"));
    // Where nobody names it any more, it is anybody's.
    assert_eq!(rig.act(rig.key(), "/api/v1/agents/a/revoke").await.status, 200);
    assert_eq!(rig.count("SELECT COUNT(*) FROM placements").await, 0);
    rig.finish().await;
}

async fn only_who_was_asked_answers(database: Database) {
    let rig = none(database).start().await;
    let (micro, other) = (Host::enrolled(&rig, "micro").await, Host::enrolled(&rig, "a").await);
    let mut asked = Captured::welcomed(&rig, &micro, &[]).await;
    let mut forger = Captured::welcomed(&rig, &other, &[]).await;
    let agents = std::sync::Arc::clone(rig.app().shared().deployer.agents());
    let name = AgentName::parse("micro").unwrap();
    let answer = tokio::spawn(async move { agents.ask(&name, AskedFor::Datasets, PATIENCE).await });
    let ask = asked.hear("ask").await["ask"].as_u64().unwrap();
    for number in 0..ask + 50 {
        forger.say(&json!({ "kind": "answer", "ask": number, "body": { "answer": "done", "message": "forged" } })).await;
    }
    // What was said before this was heard.
    forger.say(&lines(&clock::new_id().to_string(), &[(1, 1, 1)])).await;
    forger.hear("ack").await;
    asked.say(&json!({ "kind": "answer", "ask": ask, "body": { "answer": "datasets", "datasets": [] } })).await;
    let answer = answer.await.unwrap().unwrap();
    assert!(matches!(&answer, AnswerBody::Datasets { datasets } if datasets.is_empty()), "{answer:?}");
    rig.finish().await;
}

/// Somebody asks that the page of a service be looked at.
async fn look(rig: &Rig, service: &str) -> u16 {
    Call::post(&format!("/api/v1/services/{service}/look"), &json!({ "tag": "1" })).by(rig.key()).send(rig).await.status
}

async fn an_agent_that_looks_at_no_page_keeps_nobody_from_those_of_others(database: Database) {
    let rig = none(database).start().await;
    let (micro, other) = (Host::enrolled(&rig, "micro").await, Host::enrolled(&rig, "a").await);
    let mut silent = Captured::welcomed(&rig, &micro, &[("web", IMAGE)]).await;
    let mut second = Captured::welcomed(&rig, &other, &[("api", IMAGE)]).await;
    until_place(&rig, "web", Some("micro")).await;
    until_place(&rig, "api", Some("a")).await;
    let held = join_all((0..4).map(|_| look(&rig, "web")));
    let beside = async {
        for _ in 0..4 {
            silent.is_to_look().await;
        }
        assert_eq!(look(&rig, "web").await, 503);
        tokio::select! {
            status = look(&rig, "api") => panic!("{status}"),
            () = second.is_to_look() => {}
        }
    };
    tokio::select! {
        all = held => panic!("{all:?}"),
        () = beside => {}
    }
    rig.finish().await;
}

fn digest(of: char) -> String {
    format!("sha256:{}", of.to_string().repeat(64))
}

/// How a deployment ended that nobody here has ordered.
fn ended(id: &str, service: &str, caller: &str, image: &str) -> Value {
    let now_ms = clock::now_ms();
    json!({
        "kind": "ended", "order": { "deployment": id, "order": "deploy", "service": service, "caller": caller, "tag": "v1" },
        "created_ms": now_ms, "started_ms": now_ms, "ended_ms": now_ms, "step": "after_hook", "verified": true,
        "outcome": { "outcome": "live", "warnings": [] }, "images": [image],
    })
}

async fn what_an_agent_tells_is_its_own_word(database: Database) {
    let rig = none(database).start().await;
    let host = Host::enrolled(&rig, "micro").await;
    let _owner = Captured::welcomed(&rig, &Host::enrolled(&rig, "other").await, &[("api", IMAGE)]).await;
    let mut line = Captured::welcomed(&rig, &host, &[("web", IMAGE)]).await;
    let image = format!("{IMAGE}:v1@{}", digest('a'));
    for (caller, recorded) in [
        ("user:alice on control", "control:user:alice on micro"),
        ("user:alice", "user:alice on micro"),
        ("key:ops", "key:ops on micro"),
        ("local:0 on other", "somebody on micro"),
        ("root\n\u{1b}[2J", "somebody on micro"),
    ] {
        let id = clock::new_id().to_string();
        line.say(&ended(&id, "web", caller, &image)).await;
        assert_eq!(line.hear("ack").await["ended"], true);
        assert_eq!(rig.show(&id).await["caller"], recorded);
    }
    assert_eq!(rig.count("SELECT COUNT(*) FROM audit WHERE action = 'outcome' AND caller = 'agent:micro'").await, 5);
    assert_eq!(rig.count("SELECT COUNT(*) FROM audit WHERE action = 'outcome'").await, 5);
    assert_eq!(rig.count("SELECT COUNT(*) FROM deployments WHERE by_user IS NOT NULL OR caller <> 'tagalong'").await, 0);
    // An image that is none of the service's is not recorded, and what had it is nothing to go back to.
    let id = clock::new_id().to_string();
    line.say(&ended(&id, "web", "local:0", &format!("other.example.com/not/pinned:v1@{}", digest('a')))).await;
    line.hear("ack").await;
    let shown = rig.show(&id).await;
    assert_eq!((&shown["verified"], shown["images"].as_array().map_or(0, Vec::len)), (&json!(false), 0), "{shown}");
    // An id of a time that is yet to come would be the newest for ever.
    let future = DeploymentId::from_parts(u64::try_from(clock::now_ms()).unwrap() + 3_600_000, 7).to_string();
    line.say(&ended(&future, "web", "local:0", &image)).await;
    assert_eq!(line.hear("ack").await["ended"], true);
    assert_eq!(Call::get(&format!("/api/v1/deployments/{future}")).by(rig.key()).send(&rig).await.status, 404);
    // Of another agent's service nothing is recorded.
    let id = clock::new_id().to_string();
    line.say(&ended(&id, "api", "local:0", &image)).await;
    line.say(&lines(&clock::new_id().to_string(), &[(1, 1, 1)])).await;
    line.hear("ack").await;
    assert_eq!(rig.count("SELECT COUNT(*) FROM deployments WHERE service = 'api'").await, 0);
    rig.finish().await;
}

/// How much a deployment that an agent tells of takes, however much it says; and of others' deployments it hears nothing.
async fn what_an_agent_tells_is_of_a_bounded_size(database: Database) {
    let rig = none(database).start().await;
    let image = format!("{IMAGE}:v1@{}", digest('a'));
    let host = Host::enrolled(&rig, "micro").await;
    let mut line = Captured::welcomed(&rig, &host, &[("web", IMAGE)]).await;
    let id = clock::new_id().to_string();
    let mut said = ended(&id, "web", "local:0", &image);
    said["outcome"]["warnings"] = json!(vec!["x".repeat(1500); 1500]);
    said["ran_before"] = json!("x".repeat(15_000));
    let finding = json!({ "rule": "r", "severity": "warning", "message": "m".repeat(1000), "effect": "blocked", "fix": "f" });
    said["report"] =
        json!({ "url": "https://x", "attempts": 1, "duration_ms": 5, "assets": 1, "omitted": 0, "findings": vec![finding; 1000] });
    line.say(&said).await;
    assert_eq!(line.hear("ack").await["ended"], true);
    let longest = "SELECT CAST(MAX(LENGTH(d.outcome) + LENGTH(r.outcome) + LENGTH(r.report) + LENGTH(r.ran_before)) AS BIGINT) FROM deployments d JOIN runs r ON r.deployment = d.id";
    let longest = rig.count(longest).await;
    assert!((10_000..350_000).contains(&longest), "{longest}");
    assert!(rig.count("SELECT CAST(MAX(LENGTH(detail)) AS BIGINT) FROM audit").await < 1500);
    let other = Host::enrolled(&rig, "a").await;
    let mut forger = Captured::connect(&rig, &other).await;
    let mut asks = hello(&[("api", IMAGE)]);
    asks["journals"] = json!([id]);
    forger.say(&asks).await;
    assert_eq!(forger.hear("welcome").await["journals"], json!([]));
    drop(line);
    let mut line = Captured::connect(&rig, &host).await;
    asks["services"] = hello(&[("web", IMAGE)])["services"].clone();
    line.say(&asks).await;
    assert_eq!(line.hear("welcome").await["journals"][0]["deployment"], json!(id));
    rig.finish().await;
}

fn lines(id: &str, lines: &[(i64, i64, i64)]) -> Value {
    let line = |(position, run, seq): &(i64, i64, i64)| json!({ "position": position, "run": run, "seq": seq, "at_ms": i64::MAX, "step": "up", "line": "output", "text": "x\u{1b}[2J\n2026 forged" });
    json!({ "kind": "lines", "deployment": id, "lines": lines.iter().map(line).collect::<Vec<_>>() })
}

async fn lines_are_of_the_agents_own_runs_and_bounded(database: Database) {
    let rig = none(database).start().await;
    let host = Host::enrolled(&rig, "micro").await;
    let mut line = Captured::welcomed(&rig, &host, &[("web", IMAGE)]).await;
    let id = clock::new_id().to_string();
    line.say(&ended(&id, "web", "local:0", &format!("{IMAGE}:v1@{}", digest('a')))).await;
    line.hear("ack").await;
    line.say(&lines(&id, &[(1, 1, 1), (2, 1, 2), (3, 0, 1), (4, 7, 1)])).await;
    assert_eq!(line.hear("ack").await["position"], 4);
    assert_eq!(rig.count("SELECT COUNT(*) FROM lines").await, 3);
    let now_ms = clock::now_ms() + 3_600_000;
    let pool = rig.database().await;
    for row in sqlx::query("SELECT at_ms, text FROM lines").fetch_all(&pool).await.unwrap() {
        let (at_ms, text): (i64, String) = (row.get(0), row.get(1));
        assert!(at_ms < now_ms && !text.contains(['\u{1b}', '\n']), "{at_ms} {text:?}");
    }
    pool.close().await;
    // There is no room for more than so much, and no time after a week.
    rig.execute("UPDATE deployments SET told_bytes = 67108864").await;
    line.say(&lines(&id, &[(5, 1, 3)])).await;
    assert_eq!(line.hear("ack").await["position"], 5);
    rig.execute("UPDATE deployments SET told_bytes = 0, told_ms = told_ms - 700000000").await;
    line.say(&lines(&id, &[(6, 1, 3)])).await;
    assert_eq!(line.hear("ack").await["position"], 6);
    // A deployment of a time when the service was another agent's.
    rig.execute("UPDATE deployments SET told_ms = told_ms + 700000000, told_by = 'a'").await;
    rig.execute("UPDATE runs SET host = 'a'").await;
    line.say(&lines(&id, &[(7, 1, 3)])).await;
    assert_eq!(line.hear("ack").await["position"], 7);
    assert_eq!(rig.count("SELECT COUNT(*) FROM lines").await, 3);
    // What no agent of ours says ends the line, and nothing else.
    line.say(&lines(&id, &[(8, 1, i64::MAX)])).await;
    assert!(line.is_cut().await);
    assert!(problems(&rig).await.contains("the number of a line 9223372036854775807 is none"));
    rig.finish().await;
}

/// The agent says of an order that something else than what was approved is live.
async fn what_runs_is_live_only_if_it_was_ordered(database: Database) {
    let mut plan = none(database);
    plan.tables = format!(
        "[service.web]\nhosts = [\"micro\"]\n[[service.web.images]]\nimage = \"{IMAGE}\"\n[[service.web.images]]\nimage = \"{IMAGE}-db\"\n"
    );
    let rig = plan.start().await;
    let host = Host::enrolled(&rig, "micro").await;
    let id = rig.order("web", "v1").await;
    let approved = [format!("{IMAGE}:v1@{}", digest('a')), format!("{IMAGE}-db:v1@{}", digest('b'))];
    let pool = rig.database().await;
    let kept = json!({ "images": approved, "by": [{ "who": "ada", "via": "form", "at_ms": 1 }] }).to_string();
    let keep = sqlx::query("UPDATE deployments SET approved = $1");
    keep.bind(kept).execute(&pool).await.unwrap();
    pool.close().await;
    let mut line = Captured::welcomed(&rig, &host, &[("web", IMAGE)]).await;
    let order = line.hear("order").await;
    assert_eq!((&order["deployment"], &order["images"]), (&json!(id), &json!(approved)), "both images are sent, not the tag alone");
    line.say(&json!({ "kind": "accepted", "deployment": id })).await;
    let mut said = ended(&id, "web", "key:ops on control", &approved[0]);
    said["images"] = json!([approved[0], format!("{IMAGE}-db:v1@{}", digest('c'))]);
    line.say(&said).await;
    let shown = rig.ended(&id).await;
    assert_eq!((&shown["outcome"], &shown["verified"]), (&json!("needs_operator"), &json!(false)), "{shown}");
    assert!(shown["why"].as_str().is_some_and(|why| why.contains("the agent micro says that it has landed")), "{shown}");
    rig.finish().await;
}

/// The first host says which images the tag means, all of them, since this server cannot ask their registry; the other says that others are
/// live.
async fn hosts_that_landed_different_images_are_for_a_person_to_look_at(database: Database) {
    let image = "127.0.0.1:1/acme/web";
    let mut plan = none(database);
    plan.tables = format!(
        "[service.web]\nhosts = [\"a\", \"b\"]\n[[service.web.images]]\nimage = \"{image}\"\n[[service.web.images]]\nimage = \"{image}-db\"\n"
    );
    let rig = plan.start().await;
    let (one, other) = (Host::enrolled(&rig, "a").await, Host::enrolled(&rig, "b").await);
    let mut first = Captured::welcomed(&rig, &one, &[("web", image)]).await;
    let mut second = Captured::welcomed(&rig, &other, &[("web", image)]).await;
    let id = rig.order("web", "v1").await;
    let of = |of: char| json!([format!("{image}:v1@{}", digest(of)), format!("{image}-db:v1@{}", digest(of))]);
    let said = |id: &Value, images: Value| {
        let mut said = ended(id.as_str().unwrap(), "web", "key:ops on control", image);
        said["images"] = images;
        said
    };
    let order = first.hear("order").await;
    assert!(order["images"].as_array().is_none_or(Vec::is_empty), "{order}");
    first.say(&said(&json!(id), of('a'))).await;
    let order = second.hear("order").await;
    assert_eq!(order["images"], of('a'), "it looks for itself whether the tag means these");
    second.say(&said(&json!(id), of('b'))).await;
    // What the first has landed is taken back there.
    let undo = first.hear("order").await;
    assert_eq!((&undo["order"], &undo["undoes"]), (&json!("rollback"), &json!(id)));
    first.say(&said(&undo["deployment"], of('c'))).await;
    let shown = rig.ended(&id).await;
    assert_eq!((&shown["outcome"], &shown["verified"]), (&json!("needs_operator"), &json!(false)), "{shown}");
    let service = Call::get("/api/v1/services/web").by(rig.key()).send(&rig).await.json();
    assert_eq!((&service["live"], &service["rollback_candidates"]), (&Value::Null, &json!([])), "{service}");
    rig.finish().await;
}

async fn no_registry_of_an_agents_choice_is_called(database: Database) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let image = format!("127.0.0.1:{}/acme/web", listener.local_addr().unwrap().port());
    let rig = none(database).start().await;
    let host = Host::enrolled(&rig, "micro").await;
    let line = Captured::welcomed(&rig, &host, &[("web", &image)]).await;
    until_place(&rig, "web", Some("micro")).await;
    let tags = Call::get("/api/v1/services/web/tags").by(rig.key()).send(&rig).await;
    let fault = tags.json()["registry_fault"].to_string();
    assert!(tags.status == 200 && fault.contains("only an agent names that image"), "{}", tags.text);
    assert!(tokio::time::timeout(Duration::from_millis(300), listener.accept()).await.is_err(), "it was called");
    drop(line);
    // Where the configuration names the image, its registry is asked.
    let text = std::fs::read_to_string(&rig.config_file).unwrap();
    std::fs::write(&rig.config_file, format!("{text}\n[service.web]\nhosts = [\"micro\"]\nimage = \"{image}\"\n")).unwrap();
    let mut rig = rig;
    rig.restart().await;
    let accepted = async { listener.accept().await.map(drop) };
    let (called, _) = tokio::join!(tokio::time::timeout(PATIENCE, accepted), async {
        Call::get("/api/v1/services/web/tags").by(rig.key()).open(&rig).await
    });
    assert!(called.is_ok());
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_is_bounded() {
    let rig = none(Database::Sqlite).start().await;
    let host = Host::enrolled(&rig, "micro").await;
    let names: Vec<String> = (0..30_000).map(|number| format!("s{number}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), IMAGE)).collect();
    for services in [&many[..], &[("web", IMAGE), ("web", IMAGE)]] {
        let mut line = Captured::connect(&rig, &host).await;
        line.say(&hello(services)).await;
        assert!(line.is_cut().await);
    }
    assert!(problems(&rig).await.contains("its hello is not taken, because it names the service web twice"));
    assert_eq!(rig.count("SELECT COUNT(*) FROM placements").await, 0);
    // The same again and again is written once, and waits after a while.
    let mut line = Captured::welcomed(&rig, &host, &many[..1000]).await;
    let seen = rig.count("SELECT MAX(seen_ms) FROM placements").await;
    for _ in 0..60 {
        line.say(&hello(&many[..1000])).await;
    }
    line.say(&lines(&clock::new_id().to_string(), &[(1, 1, 1)])).await;
    assert!(tokio::time::timeout(Duration::from_secs(3), line.hear("ack")).await.is_err(), "it waits");
    assert_eq!(rig.count("SELECT MAX(seen_ms) FROM placements").await, seen);
    rig.finish().await;
}

/// What stands in the place of a value.
fn hostile_values() -> Vec<Value> {
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    vec![
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(-1),
        json!(0),
        json!(1e308),
        json!(""),
        json!("x".repeat(1 << 20)),
        json!("\u{0}\u{1b}[2J\u{202e}\n../../x"),
        json!("7ZZZZZZZZZZZZZZZZZZZZZZZZZ"),
        Value::Null,
        json!([]),
        json!({}),
        json!(true),
        json!(vec![1; 10_000]),
        deep,
    ]
}

/// `frame`, as often as it has values, each time with another one replaced by `value`.
fn with_each(frame: &Value, value: &Value) -> Vec<Value> {
    let mut paths = Vec::new();
    walk(frame, "", &mut paths);
    paths
        .iter()
        .map(|path| {
            let mut changed = frame.clone();
            *changed.pointer_mut(path).unwrap() = value.clone();
            changed
        })
        .collect()
}

fn walk(value: &Value, at: &str, paths: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().filter(|(key, _)| *key != "kind").map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(elements) => elements.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (key, child) in children {
        let path = format!("{at}/{key}");
        walk(child, &path, paths);
        paths.push(path);
    }
}

/// Every frame that an agent can say, with every field filled.
fn frames(known: &str, service: &str) -> Vec<Value> {
    let mut whole = ended(&clock::new_id().to_string(), service, "local:0", &format!("{IMAGE}:v1@{}", digest('a')));
    whole["order"] = json!({
        "deployment": clock::new_id(), "order": "deploy", "service": service, "caller": "local:0", "tag": "v1", "digest": digest('a'),
        "commit": "1f0c9e2", "git_ref": "refs/heads/main", "run_url": "https://forge.example.com/1", "run_number": 7, "actor": "ada",
        "reason": "r", "cause": format!("retry {known}"), "force": false, "dry_run": false, "images": [],
    });
    whole["outcome"] = json!({ "outcome": "cancelled", "by": "local:0", "changed": true, "brought_back": true });
    whole["ran_before"] = json!("v0");
    whole["barrier"] = json!(false);
    whole["away"] = json!({ "requests": 9, "failed": 1, "away_ms": 100, "is_away": false });
    whole["report"] = json!({
        "url": "https://x", "status": 200, "attempts": 1, "duration_ms": 5, "latency_ms": 5, "assets": 1, "omitted": 0,
        "certificate": { "subject": "x", "issuer": "y", "days_left": 3 },
        "findings": [{ "rule": "r", "severity": "warning", "message": "m", "effect": "blocked", "fix": "f", "line": 1 }],
    });
    let mut first = hello(&[(service, IMAGE)]);
    first["host"] = json!({ "name": "h", "system": "Linux", "architecture": "x86_64", "now_ms": 1 });
    first["services"][0]["address"] = json!("https://x");
    first["services"][0]["live"] = json!([format!("{IMAGE}:v1@{}", digest('a'))]);
    first["journals"] = json!([known]);
    vec![
        first,
        json!({ "kind": "accepted", "deployment": known }),
        json!({ "kind": "refused", "deployment": known, "guard": "held", "why": "w", "later": false }),
        lines(known, &[(1, 1, 1), (2, 0, 1)]),
        whole,
        json!({ "kind": "answer", "ask": 1, "body": { "answer": "done", "message": "m" } }),
    ]
}

/// Says `frame` over a line that is new where the last one was cut. Returns whether the line was cut by it.
async fn said(rig: &Rig, host: &Host, line: &mut Option<Captured>, service: &str, frame: &Value) -> bool {
    if line.is_none() {
        *line = Some(Captured::welcomed(rig, host, &[(service, IMAGE)]).await);
    }
    let open = line.as_mut().unwrap();
    let probe = clock::new_id().to_string();
    let _ = open.socket.say(frame.to_string()).await;
    let _ = open.socket.say(lines(&probe, &[(1, 1, 1)]).to_string()).await;
    loop {
        match tokio::time::timeout(Duration::from_mins(1), open.socket.hear()).await.expect("an answer, or the end") {
            Ok(text) if text.contains(&probe) => return false,
            Ok(_) => {}
            Err(_) => {
                *line = None;
                return true;
            }
        }
    }
}

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Every field of every frame × every hostile value, over real lines: nothing panics, nobody else is disturbed, and whatever was kept of it is
/// within bounds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_field_of_a_frame_brings_in_what_it_may_not() {
    std::panic::set_hook(Box::new(|panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        println!("{panic}");
    }));
    let rig = none(Database::Sqlite).start().await;
    let good = Host::enrolled(&rig, "good").await;
    drop(Captured::welcomed(&rig, &good, &[("own", IMAGE)]).await);
    let (mut tried, mut cut) = (0, 0);
    for (number, value) in hostile_values().iter().enumerate() {
        for kind in 0..6 {
            // Nobody says hello more often than an agent may.
            let most = with_each(&frames(&clock::new_id().to_string(), "s")[kind], value).len();
            for first in (0..most).step_by(8) {
                let service = format!("s{number}-{kind}-{first}");
                let host = Host::enrolled(&rig, &format!("bad{number}-{kind}-{first}")).await;
                let mut line = Some(Captured::welcomed(&rig, &host, &[(&service, IMAGE)]).await);
                let known = clock::new_id().to_string();
                let image = format!("{IMAGE}:v1@{}", digest('a'));
                assert!(!said(&rig, &host, &mut line, &service, &ended(&known, &service, "local:0", &image)).await);
                for frame in with_each(&frames(&known, &service)[kind], value).iter().skip(first).take(8) {
                    tried += 1;
                    cut += usize::from(said(&rig, &host, &mut line, &service, frame).await);
                }
            }
        }
    }
    println!("{tried} frames, {cut} of which ended their line");
    assert!(tried > 1000 && cut >= 10 && cut < tried, "{tried} {cut}");
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
    assert_eq!(place_of(&rig, "own").as_deref(), Some("good"));
    let mut again = Captured::welcomed(&rig, &good, &[("own", IMAGE)]).await;
    again.say(&lines(&clock::new_id().to_string(), &[(1, 1, 1)])).await;
    again.hear("ack").await;
    is_within_bounds(&rig).await;
    rig.finish().await;
}

async fn is_within_bounds(rig: &Rig) {
    assert_eq!(rig.count("SELECT COUNT(*) FROM lines WHERE seq < 1 OR seq > 200000 OR at_ms < 0 OR run NOT IN (-1, 0, 1)").await, 0);
    assert_eq!(rig.count("SELECT COUNT(*) FROM deployments WHERE guest IS NULL OR by_user IS NOT NULL OR service = 'own'").await, 0);
    assert_eq!(rig.count("SELECT COUNT(*) FROM deployments WHERE created_ms < 0 OR ended_ms < created_ms OR run_number < 0").await, 0);
    assert_eq!(rig.count("SELECT COUNT(*) FROM audit WHERE action = 'outcome' AND caller NOT LIKE 'agent:bad%'").await, 0);
    let pool = rig.database().await;
    let most = clock::now_ms() + 3_600_000;
    for row in sqlx::query("SELECT id, ended_ms, COALESCE(reason, ''), outcome FROM deployments").fetch_all(&pool).await.unwrap() {
        let id: String = row.get(0);
        let (ended_ms, reason, outcome): (i64, String, String) = (row.get(1), row.get(2), row.get(3));
        assert!(DeploymentId::parse(&id).unwrap().at_ms() < most && ended_ms < most, "{id} {ended_ms}");
        assert!(reason.len() <= 2000 && outcome.len() < 100_000, "{id}");
        assert!(!outcome.contains(['\u{1b}', '\u{202e}']), "{outcome}");
    }
    pool.close().await;
}
