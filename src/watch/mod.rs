//! Looks at what is live: at a release for some time after it was deployed, and at every page on a schedule.
//!
//! A reconciler that takes no input: what is watched stands in the store, each with a lease of its own, an event or a timer wakes it, and
//! the next round is the retry. `turn.rs` is the story of one look, `sight.rs` sees, and `judge.rs` decides over what was seen.
//!
//! - Two bad looks running at a release place one order to go back, which is a rollback like any other.
//! - What could not be seen is never bad, and a fault that the page had before the release is no reason to go back from it.
//! - A scheduled look opens one incident for each fault, and closes it when two looks running have not found it any more.
//! - A service is looked at by one look at a time, whichever server looks, and not while something is deployed to it.

mod judge;
mod now;
mod sight;
mod turn;
mod views;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use process::Cancel;
use tokio::sync::Notify;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::clock;
use crate::config::Config;
use crate::config::Live;
use crate::config::LookTerms;
use crate::model::ServiceName;
use crate::orders::Deployer;
use crate::store::Claim;
use crate::store::Incident;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::Watch;
use crate::store::Watched;
use crate::telemetry::Metrics;

pub use now::NotLooked;

/// How often it is looked without any event: another server may have left something behind.
const ROUND: Duration = Duration::from_secs(5);
/// How many looks there are at a time on this server.
const MOST_LOOKS: usize = 4;

/// Who looks.
#[derive(Debug)]
pub struct Watcher {
    config: Live<Config>,
    store: Store,
    deployer: Arc<Deployer>,
    metrics: Arc<Metrics>,
    wake: Notify,
    /// Places for looks that somebody asks for.
    asked: Semaphore,
    /// What is looked at just now.
    busy: Mutex<BTreeSet<String>>,
    /// The services that are looked at on a schedule, as far as the store knows.
    scheduled: Mutex<Option<BTreeMap<ServiceName, Option<LookTerms>>>>,
}

impl Watcher {
    /// A watcher over `store` that looks at nothing yet.
    #[must_use]
    pub fn new(config: Live<Config>, store: &Store, deployer: Arc<Deployer>, metrics: Arc<Metrics>) -> Self {
        Self {
            config,
            store: store.for_runs(),
            deployer,
            metrics,
            wake: Notify::new(),
            asked: Semaphore::new(MOST_LOOKS),
            busy: Mutex::default(),
            scheduled: Mutex::default(),
        }
    }

    /// The configuration was read again.
    pub fn read_again(&self) {
        self.wake.notify_one();
    }

    /// Looks until `stop`. When this returns, no look goes on.
    pub async fn work(self: Arc<Self>, stop: Cancel) {
        let mut looks = JoinSet::new();
        while !stop.is_cancelled() {
            let wait = self.round(&mut looks).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "what is to be looked at could not be read; trying again");
                ROUND
            });
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.wake.notified() => {}
                () = self.deployer.ended() => {}
                Some(_) = looks.join_next() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        looks.shutdown().await;
        if let Err(error) = self.store.let_go_of_watches(self.deployer.executor()).await {
            tracing::debug!(%error, "what was looked at is left until its lease ends");
        }
    }

    /// Begins the looks that are due. Gives how long nothing else is.
    async fn round(self: &Arc<Self>, looks: &mut JoinSet<()>) -> Result<Duration, StoreError> {
        self.schedule().await?;
        let config = self.config.now();
        let busy: Vec<String> = self.busy.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        let most = MOST_LOOKS.saturating_sub(busy.len());
        if most == 0 {
            return Ok(ROUND);
        }
        let claim = Claim { holder: self.deployer.executor(), busy: &busy, most, lease: config.store.lease };
        let is_wanted = |watch: &Watch| match (config.service(&watch.service), &watch.watched) {
            (None, _) => false,
            (Some(_), Watched::Release(_)) => true,
            (Some(service), Watched::Page) => service.watch.looks.is_some(),
        };
        let due = self.store.take_watches(&claim, is_wanted).await?;
        for watch in due.watches {
            self.busy.lock().unwrap_or_else(PoisonError::into_inner).insert(watch.id().to_owned());
            let watcher = Arc::clone(self);
            looks.spawn(async move {
                watcher.turn(&watch).await;
                watcher.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(watch.id());
            });
        }
        Ok(due.wait.map_or(ROUND, |wait| wait.min(ROUND)))
    }

    /// What the configuration wants looked at on a schedule stands in the store. The first looks are spread, so that a server does not look
    /// at all pages at once when it starts.
    async fn schedule(&self) -> Result<(), StoreError> {
        let wanted: BTreeMap<ServiceName, Option<LookTerms>> =
            self.config.now().services.values().map(|service| (service.name.clone(), service.watch.looks)).collect();
        let known = self.scheduled.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known.as_ref() == Some(&wanted) {
            return Ok(());
        }
        let looks = || wanted.iter().filter_map(|(service, terms)| Some((service, terms.as_ref()?)));
        for (service, terms) in looks() {
            if known.as_ref().and_then(|known| known.get(service)?.as_ref()) != Some(terms) {
                let [random] = clock::random_bytes::<1>();
                self.store.watch_page(service, terms.every, terms.every.mul_f64(f64::from(random) / 256.0)).await?;
            }
        }
        let looked_at: Vec<&ServiceName> = looks().map(|(service, _)| service).collect();
        for incident in self.store.close_unwatched(&looked_at, &wanted.keys().collect::<Vec<_>>()).await? {
            tell_closed(&incident);
        }
        *self.scheduled.lock().unwrap_or_else(PoisonError::into_inner) = Some(wanted);
        Ok(())
    }
}

fn tell_closed(incident: &Incident) {
    tracing::info!(incident = %incident.id, service = %incident.service, kind = incident.kind.as_str(), what = incident.what, "incident closed");
}
