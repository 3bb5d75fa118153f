//! Following a journal: nothing missing, nothing twice, the outcome at the end.

use serde_json::Value;
use serde_json::json;
use tagalong::model::LineDraft;
use tagalong::model::LineKind;
use tagalong::model::Step;
use tagalong::store::Fence;
use tagalong::store::StoreError;

use crate::support::Answer;
use crate::support::Call;
use crate::support::Database;
use crate::support::PATIENCE;
use crate::support::Plan;
use crate::support::Rig;
use crate::support::until;

on_both!(
    a_follower_that_comes_back_misses_and_repeats_nothing,
    the_follower_of_a_superseded_order_is_told,
    text_and_events_tell_the_same,
    what_is_not_followed_ends_at_once,
    every_line_reaches_every_follower_in_order_and_once,
);

/// One server-sent event.
#[derive(Debug)]
struct Event {
    id: Option<i64>,
    name: String,
    data: Value,
}

/// An open stream of events.
struct Events {
    response: reqwest::Response,
    text: String,
}

impl Events {
    async fn open(rig: &Rig, id: &str, after: Option<i64>) -> Self {
        let call = Call::get(&format!("/api/v1/deployments/{id}/log")).by(rig.key()).header("accept", "text/event-stream");
        let call = after.into_iter().fold(call, |call, after| call.header("last-event-id", after.to_string()));
        let response = call.open(rig).await;
        assert_eq!((response.status().as_u16(), &response.headers()["content-type"]), (200, &"text/event-stream".parse().unwrap()));
        Self { response, text: String::new() }
    }

    /// The next event; none at the stream's end. Comments are left out.
    async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                if block.starts_with(':') {
                    continue;
                }
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                return Some(Event {
                    id: field("id").map(|id| id.parse().unwrap()),
                    name: field("event").unwrap().to_owned(),
                    data: serde_json::from_str(field("data").unwrap()).unwrap(),
                });
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.unwrap().unwrap()?;
            self.text += std::str::from_utf8(&chunk).unwrap();
        }
    }

    async fn rest(mut self) -> Vec<Event> {
        let mut all = Vec::new();
        while let Some(event) = self.next().await {
            all.push(event);
        }
        assert!(self.text.is_empty(), "half an event: {}", self.text);
        all
    }
}

async fn log(rig: &Rig, id: &str, query: &str) -> Answer {
    Call::get(&format!("/api/v1/deployments/{id}/log{query}")).by(rig.key()).send(rig).await
}

/// This many lines of a waiting order that they are read in several pieces; what it says when its turn comes stands behind them.
async fn many_lines(rig: &Rig, id: &str) {
    let line = |seq| LineDraft { seq, at_ms: 1, step: Step::Pull.into(), kind: LineKind::Output, text: format!("line {seq}") };
    let lines: Vec<LineDraft> = (1..=1234).map(line).collect();
    let store = &rig.app().shared().store;
    let waiting = store.get(&id.parse().unwrap()).await.unwrap().unwrap();
    // Who has no run writes none of its lines.
    for run in [0, 1] {
        let none = store.append_lines(&Fence { run, ..waiting.fence() }, &lines).await;
        assert!(matches!(none, Err(StoreError::Fenced)), "{none:?}");
    }
    for some in lines.chunks(100) {
        store.append_own_lines(&waiting.id, some).await.unwrap();
        rig.app().shared().hub.tell(&id.parse().unwrap());
    }
}

async fn a_follower_that_comes_back_misses_and_repeats_nothing(database: Database) {
    let rig = Plan::new(database).start().await;
    let gate = rig.gate("web");
    rig.order_running("web", "1").await;
    let waiting = rig.order("web", "2").await;
    // It follows while the order still waits, and comes back three times, wherever the connection broke.
    let mut first = Events::open(&rig, &waiting, None).await;
    many_lines(&rig, &waiting).await;
    let mut seen = vec![first.next().await.unwrap().id.unwrap()];
    drop(first);
    for _ in 0..3 {
        let mut again = Events::open(&rig, &waiting, seen.last().copied()).await;
        for _ in 0..200 {
            seen.push(again.next().await.unwrap().id.unwrap());
        }
    }
    let last = Events::open(&rig, &waiting, seen.last().copied()).await;
    drop(gate);
    let rest = last.rest().await;
    let (outcome, lines) = rest.split_last().unwrap();
    seen.extend(lines.iter().map(|event| event.id.unwrap()));
    let stored = rig.app().shared().store.last_position(&waiting.parse().unwrap()).await.unwrap();
    assert!(stored > 1234);
    assert_eq!(seen, (1..=stored).collect::<Vec<_>>());
    assert_eq!((outcome.name.as_str(), &outcome.data["outcome"]), ("outcome", &json!("failed")));
    assert_eq!((&outcome.data["exit_code"], &outcome.data["success"]), (&json!(14), &json!(false)));
    assert_eq!(outcome.data["deployment"], waiting);
    rig.finish().await;
}

async fn the_follower_of_a_superseded_order_is_told(database: Database) {
    let rig = Plan::new(database).start().await;
    let gate = rig.gate("web");
    rig.order_running("web", "1").await;
    let waiting = rig.order("web", "2").await;
    let follower = Events::open(&rig, &waiting, None).await;
    let newer = rig.order("web", "3").await;
    let told = follower.rest().await;
    assert_eq!(told.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(), ["line", "outcome"]);
    assert_eq!(told[0].data["text"], format!("superseded by {newer} while it waited"));
    assert_eq!(
        (&told[1].data["outcome"], &told[1].data["by"], &told[1].data["exit_code"]),
        (&json!("superseded"), &json!(newer), &json!(12))
    );
    drop(gate);
    rig.finish().await;
}

async fn text_and_events_tell_the_same(database: Database) {
    let rig = Plan::new(database).start().await;
    let gate = rig.gate("web");
    let id = rig.order_running("web", "1").await;
    let text = async {
        // It follows while the order is carried out.
        Call::get(&format!("/api/v1/deployments/{id}/log")).by(rig.key()).send(&rig).await
    };
    let opened = async {
        let events = Events::open(&rig, &id, None).await;
        drop(gate);
        events.rest().await
    };
    let (text, events) = futures_util::future::join(text, opened).await;
    assert_eq!(text.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(text.header("cache-control"), "no-store");
    let lines: Vec<&str> = text.text.lines().collect();
    assert_eq!(lines.len(), events.len() - 1);
    for (line, event) in lines.iter().zip(&events) {
        assert!(line.ends_with(event.data["text"].as_str().unwrap()), "{line}");
    }
    assert!(lines.last().unwrap().contains("*** failed, nothing was changed: The registry 127.0.0.1:1 cannot be reached"));
    assert_eq!(log(&rig, &id, "").await.text, text.text);
    assert_eq!(log(&rig, &id, "?follow=false").await.text, text.text);
    rig.finish().await;
}

/// The answer to one who takes some bytes and then waits until `go_on` is over.
async fn read_with_a_pause(mut response: reqwest::Response, go_on: impl Future<Output = ()>) -> String {
    let mut text = response.chunk().await.unwrap().unwrap().to_vec();
    go_on.await;
    while let Some(chunk) = tokio::time::timeout(PATIENCE, response.chunk()).await.unwrap().unwrap() {
        text.extend_from_slice(&chunk);
    }
    String::from_utf8(text).unwrap()
}

async fn every_line_reaches_every_follower_in_order_and_once(database: Database) {
    const FOLLOWERS: usize = 100;
    const LINES: i64 = 2000;
    let rig = Plan::new(database).start().await;
    let gate = rig.gate("web");
    rig.order_running("web", "1").await;
    let waiting = rig.order("web", "2").await;
    // Where there is a second server, every other follower is there.
    let other = if database == Database::Postgres { Some(rig.beside().await) } else { None };
    let (written, all_are_written) = tokio::sync::watch::channel(false);
    let mut followers = tokio::task::JoinSet::new();
    for at in 0..FOLLOWERS {
        let server = other.as_ref().filter(|_| at % 2 == 1).unwrap_or(&rig);
        let call = Call::get(&format!("/api/v1/deployments/{waiting}/log")).by(rig.key()).header("accept", "text/event-stream");
        let response = call.open(server).await;
        assert_eq!(response.status(), 200);
        // Some fall so far behind that nothing of it is in the sockets.
        let mut all_are_written = all_are_written.clone();
        followers.spawn(read_with_a_pause(response, async move {
            if at % 10 < 2 {
                all_are_written.wait_for(|written| *written).await.unwrap();
            }
        }));
    }
    let store = &rig.app().shared().store;
    let id = waiting.parse().unwrap();
    let line =
        |seq| LineDraft { seq, at_ms: 1, step: Step::Pull.into(), kind: LineKind::Output, text: format!("line {seq} {}", "x".repeat(300)) };
    for first in (1..=LINES).step_by(50) {
        store.append_own_lines(&id, &(first..first + 50).map(line).collect::<Vec<_>>()).await.unwrap();
        rig.app().shared().hub.tell(&id);
    }
    written.send_replace(true);
    drop(gate);
    rig.ended(&waiting).await;
    let texts: Vec<String> = followers.join_all().await.iter().map(|text| text.replace(": still here\n\n", "")).collect();
    let stored = store.last_position(&id).await.unwrap();
    assert!(stored > LINES);
    let ids = |text: &str| text.lines().filter_map(|line| line.strip_prefix("id: ")?.parse().ok()).collect::<Vec<i64>>();
    for text in &texts {
        assert_eq!(ids(text), (1..=stored).collect::<Vec<_>>());
        assert_eq!(text.matches("event: outcome").count(), 1);
        assert_eq!(*text, texts[0]);
    }
    if let Some(other) = other {
        other.stop().await;
    }
    rig.finish().await;
}

async fn what_is_not_followed_ends_at_once(database: Database) {
    let rig = Plan::new(database).start().await;
    let gate = rig.gate("web");
    let id = rig.order_running("web", "1").await;
    let waiting = rig.order("web", "2").await;
    assert_eq!(log(&rig, &waiting, "?follow=false").await.text, "");
    let text = until("its lines", async || Some(log(&rig, &id, "?follow=false").await.text).filter(|text| text.lines().count() == 3)).await;
    assert!(text.contains("==> web: deploy 1"), "{text}");
    drop(gate);
    rig.finish().await;
}
