//! Others hear of what is new, and one that was away gets it when it is back.

use serde_json::Value;
use serde_json::json;

use crate::support::Place;
use crate::support::Plan;
use crate::support::SECRET;
use crate::support::Server;
use crate::support::until;

const PEER_SECRET: &str = "whsec_c2l4dGVlbiBieXRlcyBhbmQgbW9yZSBvZiB0aGVt";

/// A free port, kept for a server that comes and goes.
fn port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A pod that may be called by its peers.
fn pod(place: &Place, name: &'static str, port: u16) -> Plan {
    std::fs::write(place.path().join("pods.secret"), PEER_SECRET).unwrap();
    let mut plan = Plan::new(name).table("[[key]]\nid = \"pods\"\nsecret_file = \"pods.secret\"\nscopes = [\"reload:notes\"]");
    plan.server = format!("listen = [\"127.0.0.1:{port}\"]");
    plan
}

fn with_peers(plan: Plan, urls: &[String]) -> Plan {
    plan.table(&format!("[[dataset.notes.peer]]\nurls = {urls:?}\nsecret_file = \"pods.secret\"\ndeadline_s = 30"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_call_reaches_every_pod_and_each_answer_is_shown() {
    let place = Place::new();
    let ports = [port(), port()];
    let url = format!("http://127.0.0.1:{}/", ports[1]);
    let alias = format!("http://127.0.0.1:{}/api/_internal/reload-data", ports[1]);
    std::fs::write(place.path().join("alias.secret"), SECRET).unwrap();
    let first = with_peers(pod(&place, "first", ports[0]), std::slice::from_ref(&url))
        .table(&format!("[[dataset.notes.peer]]\nurls = [{alias:?}]\nsecret_file = \"alias.secret\""));
    let second = Server::start(pod(&place, "second", ports[1]).with_secret(&place).write(&place)).await;
    let first = Server::start(first.write(&place)).await;
    first.until_loaded(&place.tip()).await;
    let new = place.push(&[("notes/two.md", "two\n")]);
    let (status, answer) = first.reload(&json!({ "commitHash": new, "all_peers": true })).await;
    assert_eq!(status, 200, "{answer}");
    let peers = answer["peers"].as_array().unwrap();
    assert_eq!(
        peers.iter().map(|peer| (&peer["peer"], &peer["ok"])).collect::<Vec<_>>(),
        [(&json!(url), &json!(true)), (&json!(alias), &json!(true))]
    );
    assert_eq!(second.dataset().await["loaded"], new);
    // Without being asked to wait, they hear of it afterwards.
    let newer = place.push(&[("notes/three.md", "three\n")]);
    assert_eq!(first.reload(&json!({ "commitHash": newer })).await.0, 200);
    second.until_loaded(&newer).await;
    first.until("no debt", |shown| shown["owed"] == json!([])).await;
    // One that is told not to tell does not.
    let newest = place.push(&[("notes/four.md", "four\n")]);
    assert_eq!(first.reload(&json!({ "commitHash": newest, "all_peers": false })).await.0, 200);
    assert_eq!((first.dataset().await["owed"].clone(), second.dataset().await["loaded"].clone()), (json!([]), json!(newer)));
    first.stop().await;
    second.stop().await;
}

/// The debt survives restarts of the one who owes it; only the newest commit is owed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_was_away_gets_the_newest_when_it_is_back() {
    let place = Place::new();
    let ports = [port(), port()];
    let url = format!("http://127.0.0.1:{}/", ports[1]);
    let (plan, away) = (with_peers(pod(&place, "first", ports[0]), std::slice::from_ref(&url)), pod(&place, "second", ports[1]));
    let (file, away_file) = (plan.write(&place), away.write(&place));
    let second = Server::start(away_file.clone()).await;
    second.until_loaded(&place.tip()).await;
    second.stop().await;
    let first = Server::start(file.clone()).await;
    first.until_loaded(&place.tip()).await;
    let mut newest = String::new();
    for text in ["two", "three"] {
        newest = place.push(&[("notes/more.md", text)]);
        let (status, answer) = first.reload(&json!({ "commitHash": newest, "all_peers": true })).await;
        assert_eq!((status, &answer["ok"], &answer["peers"][0]["ok"]), (207, &json!(true), &json!(false)), "{answer}");
        assert!(answer["peers"][0]["detail"].as_str().unwrap().contains("cannot be reached"), "{answer}");
    }
    let owed = first.dataset().await["owed"].clone();
    assert_eq!((owed.as_array().unwrap().len(), &owed[0]["peer"], &owed[0]["commit"]), (1, &json!(url), &json!(newest)));
    assert!(first.metrics().await.contains("tagalong_dataset_peers_owed{dataset=\"notes\"} 1"));
    let (_, ready) = first.local(reqwest::Method::GET, "/readyz", None).await;
    assert_eq!(ready["notes"], json!(["1 peer of notes is owed a commit."]));
    first.stop().await;
    let first = Server::start(file).await;
    let owed: Value = first.dataset().await["owed"].clone();
    assert_eq!(owed[0]["commit"], newest, "after a restart");
    // It is back, but has no call and no timer of its own: what it gets, it gets from the one who owes it.
    let second = Server::start(away_file).await;
    second.until_loaded(&newest).await;
    first.until("no debt", |shown| shown["owed"] == json!([])).await;
    first.stop().await;
    second.stop().await;
}

/// Every address of a name is called; a name that cannot be looked up is owed the commit all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_address_of_a_name_is_called() {
    let place = Place::new();
    let ports = [port(), port()];
    let dns = |name: &str| format!("[[dataset.notes.peer]]\ndns = \"http://{name}:{}\"\nsecret_file = \"pods.secret\"", ports[1]);
    let second = Server::start(pod(&place, "second", ports[1]).write(&place)).await;
    let plan = pod(&place, "first", ports[0]).table(&dns("localhost")).table(&dns("no-such-host.invalid"));
    let first = Server::start(plan.write(&place)).await;
    first.until_loaded(&place.tip()).await;
    let new = place.push(&[("notes/two.md", "two\n")]);
    let (status, answer) = first.reload(&json!({ "commitHash": new, "all_peers": true })).await;
    assert_eq!(status, 207, "{answer}");
    let peers = answer["peers"].as_array().unwrap();
    let of = |name: &str| peers.iter().find(|peer| peer["peer"].as_str().unwrap().contains(name)).unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(of("127.0.0.1")["ok"], true, "{answer}");
    assert_eq!(of("no-such-host.invalid")["ok"], false);
    assert_eq!(second.dataset().await["loaded"], new);
    let owed = first.dataset().await["owed"].clone();
    assert!(owed.as_array().unwrap().iter().any(|debt| debt["peer"].as_str().unwrap().contains("no-such-host.invalid")), "{owed}");
    // A peer that is no longer in the configuration is owed nothing.
    first.stop().await;
    let first = Server::start(pod(&place, "first", ports[0]).table(&dns("localhost")).write(&place)).await;
    until("the debt to be forgiven", async || {
        let owed = first.dataset().await["owed"].clone();
        (!owed.to_string().contains("no-such-host")).then_some(())
    })
    .await;
    first.stop().await;
    second.stop().await;
}
