//! Orders whose agents do not come back, come late, or stand somewhere else by now.

use serde_json::Value;
use serde_json::json;
use tagalong::line::KEY_FILES;
use tagalong::model::DeploymentId;
use tagalong::store::Store;
use text::Secret;

use crate::agent_frames::Speaker;
use crate::agent_frames::ended;
use crate::agent_frames::lines;
use crate::agents::Host;
use crate::agents::until_state;
use crate::support::Call;
use crate::support::Database;
use crate::support::Plan;
use crate::support::Rig;
use crate::support::until;

on_both!(
    what_a_revoked_agent_was_at_needs_an_operator_and_what_waits_for_it_ends,
    what_an_agent_was_at_ends_though_nothing_names_its_service_any_more,
    a_rollout_ends_that_has_lost_a_host_for_good,
    the_journal_says_how_an_errand_ended_though_the_database_did_not_answer_then,
    what_several_servers_say_of_a_deployment_at_once_is_all_there,
);

async fn revoke(rig: &Rig, name: &str) {
    let answer = rig.act(rig.key(), &format!("/api/v1/agents/{name}/revoke")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

/// The order `id` reaches the agent, which takes it.
async fn taken(agent: &mut Speaker, id: &str) {
    assert_eq!(agent.hear("order").await["deployment"], json!(id));
    agent.say(&json!({ "kind": "accepted", "deployment": id })).await;
}

fn assert_ended(shown: &Value, outcome: &str, why: &str) {
    assert!(shown["outcome"] == outcome && shown["why"].as_str().is_some_and(|said| said.contains(why)), "{outcome}, {why}: {shown}");
}

async fn what_a_revoked_agent_was_at_needs_an_operator_and_what_waits_for_it_ends(database: Database) {
    let mut plan = Plan::new(database);
    // By ssh an agent is installed on that host; its line is one that it opens itself.
    plan.tables = "[host.micro]\naddress = \"root@micro\"\nhost_key = \"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGx\"\ndial = false\n".into();
    let rig = plan.start().await;
    let (micro, macro_) = (Host::enrolled(&rig, "micro").await, Host::enrolled(&rig, "macro").await);
    let mut agent = Speaker::of(&rig, &micro, &["shop"]).await;
    drop(Speaker::of(&rig, &macro_, &["blog"]).await);
    until_state(&rig, "macro", "away").await;
    let running = rig.order("shop", "v1").await;
    taken(&mut agent, &running).await;
    let next = rig.order("shop", "v2").await;
    let waiting = rig.order("blog", "v1").await;
    rig.until(&waiting, |shown| shown["waits_for"] == "host").await;
    // One of them is away, and the line of the other is cut.
    drop(agent);
    until_state(&rig, "micro", "away").await;
    revoke(&rig, "micro").await;
    revoke(&rig, "macro").await;
    assert_ended(&rig.ended(&running).await, "needs_operator", "the agent micro was revoked while it may have carried this out");
    assert_ended(&rig.ended(&next).await, "failed", "no host names shop any more: the agent micro was revoked");
    assert_ended(&rig.ended(&waiting).await, "failed", "no host names blog any more: the agent macro was revoked");
    rig.finish().await;
}

async fn what_an_agent_was_at_ends_though_nothing_names_its_service_any_more(database: Database) {
    let mut rig = Plan::new(database).start().await;
    let host = Host::enrolled(&rig, "micro").await;
    let mut agent = Speaker::of(&rig, &host, &["shop", "blog"]).await;
    let running = rig.order("shop", "v1").await;
    taken(&mut agent, &running).await;
    drop(agent);
    until_state(&rig, "micro", "away").await;
    let waiting = rig.order("blog", "v1").await;
    rig.until(&waiting, |shown| shown["waits_for"] == "host").await;
    drop(Speaker::of(&rig, &host, &[]).await);
    rig.restart().await;
    let mut agent = Speaker::of(&rig, &host, &[]).await;
    taken(&mut agent, &running).await;
    agent.say(&ended(&running, "shop")).await;
    assert_eq!(rig.ended(&running).await["outcome"], "live");
    // The agent may name the other service again, for a while.
    assert_eq!(rig.show(&waiting).await["state"], "waiting");
    assert_eq!(rig.execute("UPDATE deployments SET created_ms = 1 WHERE state = 'waiting'").await, 1);
    assert_ended(&rig.ended(&waiting).await, "failed", "neither the configuration nor an agent names blog any more");
    rig.finish().await;
}

async fn a_rollout_ends_that_has_lost_a_host_for_good(database: Database) {
    let mut plan = Plan::new(database);
    plan.tables = "[service.shop]\nhosts = [\"micro\", \"macro\"]\n".into();
    let rig = plan.start().await;
    let (micro, macro_) = (Host::enrolled(&rig, "micro").await, Host::enrolled(&rig, "macro").await);
    let mut first = Speaker::of(&rig, &micro, &["shop"]).await;
    let mut second = Speaker::of(&rig, &macro_, &["shop"]).await;
    let id = rig.order("shop", "v1").await;
    taken(&mut first, &id).await;
    first.say(&ended(&id, "shop")).await;
    taken(&mut second, &id).await;
    drop(second);
    until_state(&rig, "macro", "away").await;
    revoke(&rig, "macro").await;
    // The host that has it is brought back.
    let back = until("the order to go back", async || {
        let sent = first.hear("order").await;
        (sent["deployment"] != json!(id)).then(|| sent["deployment"].as_str().unwrap().to_owned())
    });
    let back = back.await;
    first.say(&ended(&back, "shop")).await;
    assert_ended(&rig.ended(&id).await, "needs_operator", "macro: needs an operator: the agent macro was revoked while it may have");
    rig.finish().await;
}

/// What an agent was at ends with its revocation, while no line can be read or stored.
async fn the_journal_says_how_an_errand_ended_though_the_database_did_not_answer_then(database: Database) {
    let rig = Plan::new(database).start().await;
    let host = Host::enrolled(&rig, "micro").await;
    let mut agent = Speaker::of(&rig, &host, &["shop"]).await;
    let id = rig.order("shop", "v1").await;
    taken(&mut agent, &id).await;
    agent.say(&lines(&id, "it begins")).await;
    agent.hear("ack").await;
    rig.execute("ALTER TABLE lines RENAME TO lines_away").await;
    revoke(&rig, "micro").await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(rig.show(&id).await["state"], "running");
    rig.execute("ALTER TABLE lines_away RENAME TO lines").await;
    rig.ended(&id).await;
    let journal = Call::get(&format!("/api/v1/deployments/{id}/log?follow=false")).by(rig.key()).send(&rig).await.text;
    let last = journal.lines().last().unwrap_or_default();
    assert!(journal.contains("it begins") && last.contains("the agent micro was revoked while it may have"), "{journal}");
    rig.finish().await;
}

async fn what_several_servers_say_of_a_deployment_at_once_is_all_there(database: Database) {
    const MANY: usize = 40;
    let rig = Plan::new(database).start().await;
    let gate = rig.gate("web");
    rig.order_running("web", "1").await;
    let waiting: DeploymentId = rig.order("web", "2").await.parse().unwrap();
    let url = rig.url.clone().map(Secret::new);
    let stores = [Store::open(&rig.data_dir(), url.as_ref()).await.unwrap(), Store::open(&rig.data_dir(), url.as_ref()).await.unwrap()];
    let mut said = tokio::task::JoinSet::new();
    for (at, store) in stores.iter().cycle().take(MANY).cloned().enumerate() {
        let id = waiting.clone();
        said.spawn(async move { store.say(&id, &format!("note {at}")).await });
    }
    said.join_all().await.into_iter().collect::<Result<(), _>>().unwrap();
    let texts = stores[0].texts_after(&waiting, 0, 1000).await.unwrap();
    let mut notes: Vec<&str> = texts.iter().map(|(_, _, text)| text.as_str()).filter(|text| text.starts_with("note ")).collect();
    notes.sort_unstable();
    notes.dedup();
    assert_eq!(notes.len(), MANY, "{texts:?}");
    for store in &stores {
        store.close().await;
    }
    drop(gate);
    rig.finish().await;
}

/// For how long a host has been away is told as it is at the moment, also of what was begun there; and it is not what is stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn for_how_long_a_host_has_been_away_is_told_as_it_is_now() {
    let rig = Plan::new(Database::Sqlite).start().await;
    let host = Host::enrolled(&rig, "micro").await;
    let mut agent = Speaker::of(&rig, &host, &["shop", "blog"]).await;
    let running = rig.order("shop", "v1").await;
    taken(&mut agent, &running).await;
    assert!(rig.show(&running).await["waits_why"].is_null());
    drop(agent);
    until_state(&rig, "micro", "away").await;
    let waiting = rig.order("blog", "v1").await;
    rig.until(&waiting, |shown| shown["waits_for"] == "host").await;
    // It goes up.
    for seconds in 0..2 {
        for id in [&running, &waiting] {
            let words = format!("It waits for its host: the agent micro has been away for {seconds} s.");
            let is_said = |shown: &Value| shown["waits_why"].as_str().is_some_and(|why| why >= words.as_str());
            rig.until(id, is_said).await;
        }
    }
    assert_eq!(rig.count("SELECT COUNT(*) FROM deployments WHERE waits_why LIKE '%away for%'").await, 0);
    assert_eq!(rig.count("SELECT COUNT(*) FROM deployments WHERE waits_why LIKE '%the agent micro is not connected%'").await, 1);
    let mut agent = Speaker::of(&rig, &host, &["shop", "blog"]).await;
    rig.until(&running, |shown| shown["waits_why"].is_null()).await;
    for (id, service) in [(&running, "shop"), (&waiting, "blog")] {
        agent.say(&ended(id, service)).await;
    }
    rig.ended(&running).await;
    rig.finish().await;
}

/// How long an order is good for is said whenever it is sent: an agent that gets it too late, and does not have it, refuses it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_says_for_how_long_it_may_still_be_taken() {
    let mut plan = Plan::new(Database::Sqlite);
    plan.tables = "[service.shop]\nhosts = [\"micro\"]\nmax_wait_s = 9\n".into();
    let rig = plan.start().await;
    let host = Host::enrolled(&rig, "micro").await;
    let mut agent = Speaker::of(&rig, &host, &["shop"]).await;
    let id = rig.order("shop", "v1").await;
    let first = agent.hear("order").await["good_for_s"].as_u64().unwrap();
    assert!((1..=9).contains(&first), "{first}");
    // It is said again after 10 s, since nothing was answered.
    assert_eq!(agent.hear("order").await["good_for_s"], 0);
    agent.say(&json!({ "kind": "refused", "deployment": id, "guard": "age", "why": "it came too late" })).await;
    let shown = rig.ended(&id).await;
    assert_eq!((&shown["outcome"], &shown["guard"]), (&json!("refused"), &json!("age")), "{shown}");
    rig.finish().await;
}

/// The configuration says where the service stands now, and the record where the order was begun.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_begun_on_one_host_is_not_gone_on_with_on_another() {
    let mut plan = Plan::new(Database::Sqlite);
    plan.tables = "[service.shop]\nhosts = [\"micro\"]\n".into();
    let mut rig = plan.start().await;
    let host = Host::enrolled(&rig, "micro").await;
    let mut agent = Speaker::of(&rig, &host, &["shop"]).await;
    let there = rig.order("shop", "v1").await;
    taken(&mut agent, &there).await;
    let gate = rig.gate("web");
    let here = rig.order_running("web", "v1").await;
    // Each stands where the other did, from now on.
    let text = std::fs::read_to_string(&rig.config_file).unwrap();
    let text = text.replace("[service.shop]\nhosts", "[service.passing]\nhosts").replace("[service.web]", "[service.shop]");
    std::fs::write(&rig.config_file, text.replace("[service.passing]", "[service.web]")).unwrap();
    rig.restart().await;
    drop(gate);
    assert_ended(&rig.ended(&here).await, "needs_operator", "web stands on micro now, and this was begun on this host; look at the folder");
    let mut agent = Speaker::of(&rig, &host, &["web"]).await;
    taken(&mut agent, &there).await;
    agent.say(&ended(&there, "shop")).await;
    assert_eq!(rig.ended(&there).await["outcome"], "live");
    rig.finish().await;
}

/// What a rollback can go to is what the record has, whatever its agent remembers; what is gone from the host only the agent knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_rollback_can_go_to_is_shown_as_it_is_decided() {
    let rig = Plan::new(Database::Sqlite).start().await;
    let host = Host::enrolled(&rig, "micro").await;
    let mut agent = Speaker::of(&rig, &host, &["shop"]).await;
    for (tag, digit) in [("v1", "1"), ("v2", "2")] {
        let id = rig.order("shop", tag).await;
        taken(&mut agent, &id).await;
        let image = format!("registry.example.com/acme/shop:{tag}@sha256:{}", digit.repeat(64));
        let mut said = ended(&id, "shop");
        said["images"] = json!([image]);
        said["verified"] = json!(true);
        agent.say(&said).await;
        assert_eq!(rig.ended(&id).await["outcome"], "live");
    }
    drop(agent);
    until_state(&rig, "micro", "away").await;
    let show = || Call::get("/api/v1/services/shop").by(rig.key());
    let recorded = show().send(&rig).await.json();
    let candidate = recorded["rollback_candidates"][0].clone();
    assert_eq!(candidate["tag"], "v1", "{recorded}");
    let mut agent = Speaker::of(&rig, &host, &["shop"]).await;
    let mut with_gone = candidate.clone();
    with_gone["gone"] = candidate["images"].clone();
    for (seen, gone) in [(json!([]), Value::Null), (json!([with_gone]), candidate["images"].clone())] {
        let mut service = recorded.clone();
        service["rollback_candidates"] = seen;
        let answered = async {
            let ask = agent.hear("ask").await;
            agent.say(&json!({ "kind": "answer", "ask": ask["ask"], "body": { "answer": "services", "services": [service] } })).await;
        };
        let (shown, ()) = tokio::join!(show().send(&rig), answered);
        let shown = shown.json()["rollback_candidates"].clone();
        assert_eq!((shown.as_array().map(Vec::len), &shown[0]["tag"], &shown[0]["gone"]), (Some(1), &json!("v1"), &gone), "{shown}");
    }
    rig.finish().await;
}

/// An agent that comes back to the other of two servers takes what it was at along: that one goes on with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_servers_the_one_that_an_agent_comes_back_to_goes_on_with_its_order() {
    let rig = Plan::new(Database::Postgres).start().await;
    // Both are the same control plane to their agents.
    std::fs::create_dir(rig.dir().join("other")).unwrap();
    std::fs::copy(rig.data_dir().join(KEY_FILES[0]), rig.dir().join("other").join(KEY_FILES[0])).unwrap();
    let other = rig.beside().await;
    let host = Host::enrolled(&rig, "micro").await;
    let mut agent = Speaker::of(&rig, &host, &["shop"]).await;
    let id = rig.order("shop", "v1").await;
    taken(&mut agent, &id).await;
    drop(agent);
    let mut agent = Speaker::of(&other, &host, &["shop"]).await;
    taken(&mut agent, &id).await;
    agent.say(&ended(&id, "shop")).await;
    assert_eq!(rig.ended(&id).await["outcome"], "live");
    let log = Call::get(&format!("/api/v1/deployments/{id}/log?follow=false")).by(rig.key()).send(&rig).await.text;
    assert_eq!(log.matches("it is connected to another server of this database, which goes on with it").count(), 1, "{log}");
    other.stop().await;
    rig.finish().await;
}
