//! Others that serve the same dataset. What is new is owed to each before it is called, so that one that is away gets it when
//! it is back, whatever happens here meanwhile. Only the newest commit is owed.

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

/// The waits after a peer could not be told: one that is back has the newest commit within half a minute. Pods of one rollout
/// do not call all at the same moment.
const AGAIN: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(24)).spread();
/// What is being told already is not due before this.
const LATER: Duration = Duration::from_secs(30);
/// Only the newest commit is owed: each takes the place of the one before.
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
        // Every call has its own deadline; this one is for what is around it.
        let terms = Terms { deadline: longest + 2 * LOOK_UP, again: AGAIN };
        let lane = Lane::Peers { executor: executor.to_owned(), dataset: plan.data.name.clone() };
        Self { outbox: Outbox::new(store, lane, executor.to_owned(), terms), plan, http }
    }

    /// Owes what this dataset has to every peer; they are called soon after.
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

    /// What peers are owed, and what they have refused.
    pub(super) async fn owed(&self) -> Result<Vec<Debt>, StoreError> {
        self.outbox.owed().await
    }

    /// Calls every peer now, each in its own time, and returns what each said. One that could not be told is owed it.
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

    /// Calls those that are owed something until `stop`: on event, and when a debt is due.
    pub(super) async fn keep_telling(&self, stop: &Cancel) {
        // Another configuration may be what a peer waited for.
        if let Err(error) = self.outbox.revive().await {
            tracing::warn!(dataset = %self.plan.data.name, %error, "notifications for peers are waiting for their next attempt");
        }
        self.outbox.keep_telling(|debt| self.tell(debt), stop).await;
    }

    async fn tell(&self, debt: Debt) -> Told {
        let Message::Commit(commit) = &debt.message;
        let targets = target::targets(&self.plan).await;
        match targets.iter().find(|target| target.peer == debt.receiver) {
            Some(target) => target.call(&self.plan, Some(commit), &self.http).await.told,
            None => self.replace(&debt.receiver, commit, &targets).await,
        }
    }

    /// This peer is no longer there: the configuration names others, or the name leads elsewhere. While a name could not be looked
    /// up it was owed the commit itself; now those that it leads to are.
    async fn replace(&self, receiver: &str, commit: &Commit, targets: &[Target]) -> Told {
        if let Some(unknown) = targets.iter().find(|target| target.is_unknown()) {
            // It may be one of those that the name leads to.
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
