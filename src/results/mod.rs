//! Results on the commit: what becomes of an order is shown where its commit is.
//!
//! Two reconcilers, which take no input. One looks for deployments whose state was not owed to their forge yet, and owes it; the other
//! tells what is owed. Orders and runs know of neither, so that no forge can change or delay an outcome: whoever changes something says
//! [`Results::wake`], which never waits, and what was missed is found by the next look.

mod place;
mod tell;
mod words;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use process::Cancel;
use tokio::sync::Notify;

use crate::clock;
use crate::clock::Backoff;
use crate::config::Config;
use crate::config::ForgeKind;
use crate::config::Live;
use crate::forge::Forges;
use crate::model::KeyId;
use crate::model::Lane;
use crate::model::Message;
use crate::model::News;
use crate::model::OrderKind;
use crate::model::Outcome;
use crate::model::Says;
use crate::model::State;
use crate::outbox::Outbox;
use crate::outbox::Terms;
use crate::results::place::Place;
use crate::results::place::commit_of;
use crate::store::Debt;
use crate::store::Deployment;
use crate::store::Owe;
use crate::store::Store;
use crate::store::StoreError;

pub use place::is_for;

/// How often it looks without being told: another server may have carried something out.
const ROUND: Duration = Duration::from_secs(10);
/// The first look finds what ended so long ago: an earlier life may not have owed it any more.
const FIRST_LOOK_MS: i64 = 24 * 3_600_000;
/// The later ones: servers' clocks may be apart, and a database may have been away.
const LATER_LOOK_MS: i64 = 30 * 60_000;
/// A forge that is away is asked again within two minutes, however long it is away.
const TERMS: Terms =
    Terms { deadline: Duration::from_mins(2), again: Backoff::new(Duration::from_secs(1), Duration::from_mins(2)).spread() };

/// What a forge refuses is tried again for so long: a permission may be given back.
const RETRIED_MS: i64 = 24 * 3_600_000;

/// The results of all services.
#[derive(Debug)]
pub struct Results {
    config: Live<Config>,
    store: Store,
    forges: Arc<Forges>,
    outbox: Outbox,
    wake: Notify,
    /// The configuration was read again: what was refused may be taken now.
    revives: AtomicBool,
}

impl Results {
    /// The results that this server, called `executor`, owes and tells.
    #[must_use]
    pub fn new(config: Live<Config>, store: Store, forges: Arc<Forges>, executor: &str) -> Self {
        let outbox = Outbox::new(store.clone(), Lane::Forges, executor.to_owned(), TERMS);
        // What an earlier configuration was refused for may be another now.
        Self { config, store, forges, outbox, wake: Notify::new(), revives: AtomicBool::new(true) }
    }

    /// The forges, for whoever else asks them something: what one call has learned of a limit holds for all.
    #[must_use]
    pub fn forges(&self) -> Arc<Forges> {
        Arc::clone(&self.forges)
    }

    /// Something has become of an order.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// The configuration was read again: what was refused is tried once more.
    pub fn read_again(&self) {
        self.revives.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// Owes and tells until `stop`.
    pub async fn work(self: Arc<Self>, stop: Cancel) {
        tokio::join!(self.keep_looking(&stop), self.outbox.keep_telling(|debt| self.tell(debt), &stop));
    }

    /// What is owed to forges, and what they have refused; none of them is asked where no service has one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn owed(&self) -> Result<Vec<Debt>, StoreError> {
        if !self.is_wanted() {
            return Ok(Vec::new());
        }
        self.outbox.owed().await
    }

    /// Whether any service has results that are shown.
    fn is_wanted(&self) -> bool {
        self.config.now().services.values().any(|service| Place::of(service).is_some())
    }

    async fn keep_looking(&self, stop: &Cancel) {
        let mut since_ms = clock::now_ms() - FIRST_LOOK_MS;
        while !stop.is_cancelled() {
            match self.look_once(since_ms).await {
                Ok(()) => since_ms = clock::now_ms() - LATER_LOOK_MS,
                Err(error) => tracing::warn!(%error, "what forges are to be told could not be recorded; trying again"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.wake.notified() => {}
                () = tokio::time::sleep(ROUND) => {}
            }
        }
    }

    async fn look_once(&self, since_ms: i64) -> Result<(), StoreError> {
        if self.revives.swap(false, Ordering::Relaxed) {
            self.outbox.revive().await.inspect_err(|_| self.revives.store(true, Ordering::Relaxed))?;
        }
        let config = self.config.now();
        if !self.is_wanted() {
            return Ok(());
        }
        let now_ms = clock::now_ms();
        self.outbox.try_refused(|debt| retried_ms(&config, debt).is_some_and(|at_ms| at_ms <= now_ms)).await?;
        for unowed in self.store.unowed(since_ms).await? {
            let Some(place) = config.service(&unowed.service).and_then(|service| Place::of(service)) else { continue };
            let found = self.store.get(&unowed.id).await;
            match found {
                Ok(Some(deployment)) => self.owe(&config, &place, &deployment).await?,
                Ok(None) => {}
                Err(error) if error.is_unreadable() => tracing::debug!(%error, "a deployment is not shown at its forge"),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What has become of `deployment` is owed; nothing of it if its commit is not known.
    async fn owe(&self, config: &Config, place: &Place<'_>, deployment: &Deployment) -> Result<(), StoreError> {
        let is_shown = deployment.order.kind != OrderKind::Adopt && !deployment.order.dry_run;
        let has_deployments = config.forge(&place.source.forge).is_some_and(|forge| forge.kind == ForgeKind::GitHub);
        let mut all = Vec::new();
        if is_shown {
            all.extend(self.of_the_one_before(place, deployment, has_deployments).await?);
        }
        if let Some(commit) = commit_of(&deployment.order).filter(|_| is_shown) {
            let says = match deployment.state {
                State::Waiting { .. } => Says::Queued,
                State::Running { .. } => Says::InProgress,
                State::Done { .. } => Says::Ended,
            };
            all.push(place.status(&commit, &News { of: deployment.id.clone(), says }));
            all.extend(has_deployments.then(|| place.deployment(&News { of: deployment.id.clone(), says })));
        }
        if self.store.owe_results(&Lane::Forges, deployment, &all).await? {
            self.outbox.wake();
        }
        Ok(())
    }

    /// What is said of the release that served before, where that does not serve any more: its deployment is inactive, and if an operator
    /// went back behind it, its commit says so.
    async fn of_the_one_before(&self, place: &Place<'_>, deployment: &Deployment, has_deployments: bool) -> Result<Vec<Owe>, StoreError> {
        let State::Done { outcome } = &deployment.state else { return Ok(Vec::new()) };
        if !words::ends_the_one_before(outcome) {
            return Ok(Vec::new());
        }
        let Some(before) = self.store.live_before(deployment).await? else { return Ok(Vec::new()) };
        let Some(commit) = commit_of(&before.order) else { return Ok(Vec::new()) };
        let news = News { of: before.id.clone(), says: Says::Replaced };
        let went_back = deployment.order.kind == OrderKind::Rollback && matches!(outcome, Outcome::Live { .. });
        let is_another = commit_of(&deployment.order).is_some_and(|mine| mine != commit);
        let status = (went_back && is_another).then(|| place.status(&commit, &news));
        Ok(status.into_iter().chain(has_deployments.then(|| place.deployment(&news))).collect())
    }
}

/// When `debt`, which a forge has refused, is tried once more (ms since 1970, UTC); none: only when the configuration is read again or a
/// server starts.
#[must_use]
pub fn retried_ms(config: &Config, debt: &Debt) -> Option<i64> {
    let forge = KeyId::parse(debt.receiver.split(' ').next()?).ok()?;
    let wait = config.forge(&forge)?.refused_retry;
    let at_ms = debt.refused_ms? + i64::try_from(wait.as_millis()).unwrap_or(i64::MAX / 2);
    // It was due when it was first tried, and is due since then.
    (at_ms - debt.next_ms <= RETRIED_MS).then_some(at_ms)
}

impl Place<'_> {
    /// A commit has one status, so that what is newer takes the place of what is owed.
    fn status(&self, commit: &str, news: &News) -> Owe {
        Owe { receiver: self.receiver(), key: format!("status {commit}"), message: Message::Status(news.clone()) }
    }

    fn deployment(&self, news: &News) -> Owe {
        Owe { receiver: self.receiver(), key: format!("deployment {}", news.of), message: Message::Deployment(news.clone()) }
    }
}
