//! Peers that serve the same dataset. A notification is stored before a peer is called, so that a peer that is unavailable gets
//! it when it is back, whatever happens here meanwhile. Only the newest commit is sent.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use process::Cancel;

use crate::api;
use crate::clock;
use crate::clock::Backoff;
use crate::config::Reload;
use crate::model::Commit;
use crate::model::Lane;
use crate::model::Message;
use crate::outbox::Outbox;
use crate::outbox::Terms;
use crate::outbox::Told;
use crate::reload::target;
use crate::reload::target::Answer;
use crate::reload::target::LOOK_UP;
use crate::reload::target::Target;
use crate::store::Debt;
use crate::store::Owe;
use crate::store::Store;
use crate::store::StoreError;

/// The pauses after a peer could not be told: a peer that is back has the newest commit within half a minute. Pods of one
/// rollout do not all call at the same moment.
const AGAIN: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(24)).spread();
/// A notification that is being sent is not due before this time.
const LATER: Duration = Duration::from_secs(30);
/// Only the newest commit is sent: each notification replaces the previous one.
const KEY: &str = "newest";

/// The peers of one dataset.
#[derive(Debug)]
pub(super) struct Peers {
    plan: Arc<Reload>,
    http: reqwest::Client,
    outbox: Outbox,
}

impl Peers {
    pub(super) fn new(plan: Arc<Reload>, http: reqwest::Client, store: Store, executor: &str) -> Self {
        let longest = plan.peers.iter().map(|peer| peer.deadline).max().unwrap_or_default();
        // Every call has its own deadline; this one is for the work around it.
        let terms = Terms { deadline: longest + 2 * LOOK_UP, again: AGAIN };
        let lane = Lane::Peers { executor: executor.to_owned(), dataset: plan.data.name.clone() };
        Self { outbox: Outbox::new(store, lane, executor.to_owned(), terms), plan, http }
    }

    /// Stores a notification for every peer; they are called soon afterwards.
    pub(super) async fn owe_all(&self, commit: &Commit) {
        if self.plan.peers.is_empty() {
            return;
        }
        let targets = target::targets(&self.plan).await;
        if let Err(error) = self.outbox.owe(&owes(&targets, commit), Duration::ZERO).await {
            tracing::error!(dataset = %self.plan.data.name, %error, "the notifications for peers could not be recorded; peers will notice \
            the change by their own timer");
        }
    }

    /// The pending notifications, and what peers have refused.
    pub(super) async fn owed(&self) -> Result<Vec<Debt>, StoreError> {
        self.outbox.owed().await
    }

    /// Calls every peer now, independently, and returns each one's answer. A peer that could not be told is told later.
    pub(super) async fn tell_now(&self, commit: Option<&Commit>) -> Result<Vec<api::PeerAnswer>, StoreError> {
        let targets = target::targets(&self.plan).await;
        let debts = match commit {
            Some(commit) => self.outbox.owe(&owes(&targets, commit), LATER).await?,
            None => Vec::new(),
        };
        let calls = targets.iter().enumerate().map(|(at, target)| self.call_now(target, commit, debts.get(at)));
        let answers = join_all(calls).await;
        for (debt, answer) in debts.iter().zip(&answers) {
            self.outbox.record(debt, answer.told.clone()).await?;
        }
        let said = |(target, answer): (Target, Answer)| {
            let ok = answer.told == Told::Taken;
            api::PeerAnswer { peer: target.peer, ok, detail: answer.detail }
        };
        Ok(targets.into_iter().zip(answers).map(said).collect())
    }

    async fn call_now(&self, target: &Target, commit: Option<&Commit>, debt: Option<&Debt>) -> Answer {
        let silence_ms = debt.map_or(0, |debt| debt.quiet_ms - clock::now_ms());
        if silence_ms > 0 {
            let why = format!("It asked not to be called for another {} s.", (silence_ms as u64).div_ceil(1000));
            let after = Some(Duration::from_millis(silence_ms as u64));
            return Answer { detail: why.clone(), told: Told::NotNow { why, after } };
        }
        target.call(&self.plan, commit, &self.http).await
    }

    /// Sends pending notifications until `stop`: on events, and when one is due.
    pub(super) async fn keep_telling(&self, stop: &Cancel) {
        // A peer may have waited for a change of the configuration.
        if let Err(error) = self.outbox.revive().await {
            tracing::warn!(dataset = %self.plan.data.name, %error, "notifications for peers are waiting for their next attempt");
        }
        self.outbox.keep_telling(|debt| self.tell(debt), stop).await;
    }

    async fn tell(&self, debt: Debt) -> Told {
        let Message::Commit(commit) = &debt.message else {
            return Told::Refused { why: format!("Peers are told commits, not \"{}\".", debt.message) };
        };
        let targets = target::targets(&self.plan).await;
        match targets.iter().find(|target| target.peer == debt.receiver) {
            Some(target) => target.call(&self.plan, Some(commit), &self.http).await.told,
            None => self.replace(&debt.receiver, commit, &targets).await,
        }
    }

    /// This peer is gone: the configuration names others, or its name has other addresses. While the name could not be looked
    /// up, the notification was for the name; now it is for its addresses.
    async fn replace(&self, receiver: &str, commit: &Commit, targets: &[Target]) -> Told {
        if let Some(unknown) = targets.iter().find(|target| target.is_unknown()) {
            // It may be one of the addresses of the name.
            return Told::NotNow { why: format!("{} could not be resolved.", unknown.url), after: None };
        }
        let behind: Vec<Target> = targets.iter().filter(|target| target.url.as_str() == receiver).cloned().collect();
        if !behind.is_empty()
            && let Err(error) = self.outbox.owe(&owes(&behind, commit), Duration::ZERO).await
        {
            return Told::NotNow { why: error.to_string(), after: None };
        }
        Told::Gone
    }
}

fn owes(targets: &[Target], commit: &Commit) -> Vec<Owe> {
    let message = Message::Commit(commit.clone());
    targets.iter().map(|target| Owe { receiver: target.peer.clone(), key: KEY.to_owned(), message: message.clone() }).collect()
}
