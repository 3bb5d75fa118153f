//! What a run writes and reads about itself: its journal, its step and facts, its outcome. Nothing of it reaches another run.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use smoke::Availability;
use smoke::Report;
use text::Mask;

use crate::clock;
use crate::config::WatchTerms;
use crate::journal::Hub;
use crate::journal::Journal;
use crate::landing::past::Past;
use crate::landing::stop::Fault;
use crate::model::AgentName;
use crate::model::CancelledBy;
use crate::model::DeploymentId;
use crate::model::Outcome;
use crate::model::ServiceName;
use crate::model::Stage;
use crate::model::State;
use crate::model::Step;
use crate::store::Deployment;
use crate::store::Ending;
use crate::store::Facts;
use crate::store::Fence;
use crate::store::Store;
use crate::store::StoreError;
use crate::telemetry::Metrics;

/// How many of the deployments before are named beside a new one.
const LAST_AWAY: i64 = 3;

/// How soon the database is tried again.
const SOON: Duration = Duration::from_secs(1);

/// Where runs are recorded and told.
#[derive(Debug, Clone)]
pub struct Books {
    /// The database.
    pub store: Store,
    /// Who follows a journal.
    pub hub: Hub,
    /// The metrics.
    pub metrics: Arc<Metrics>,
}

/// The record of one run. What it writes is refused once another has taken the run over.
#[derive(Debug)]
pub struct Record {
    pub(super) journal: Journal,
    pub(super) past: Past,
    books: Books,
    fence: Fence,
    /// The step it is at, and since when.
    at: (Stage, Instant),
}

impl Record {
    /// Goes on with the record of `deployment`, behind the last stored line.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn open(books: &Books, deployment: &Deployment, mask: Arc<Mask>) -> Result<Self, StoreError> {
        let fence = deployment.fence();
        Ok(Self {
            journal: Journal::open(&books.store, &books.hub, &fence, mask).await?,
            past: Past::new(books.store.clone(), deployment.order.service.clone()),
            books: books.clone(),
            fence,
            at: (deployment.step.unwrap_or(Step::Guards.into()), Instant::now()),
        })
    }

    pub(super) fn id(&self) -> &DeploymentId {
        &self.fence.id
    }

    /// Says and stores that `step` begins, with what is known by then: when this returns, both are on disk.
    pub(super) async fn begin(&mut self, step: Stage, title: &str, facts: &Facts) -> Result<(), StoreError> {
        let (ended, began) = std::mem::replace(&mut self.at, (step, Instant::now()));
        self.books.metrics.step(ended, began.elapsed());
        self.journal.step(step, title);
        // Whoever holds the row lets go of it sooner or later; a run that waits for too long loses its lease.
        loop {
            match self.books.store.advance(&self.fence, step, facts).await {
                Err(error) if error.is_held() => tracing::warn!(deployment = %self.fence.id, %error, "a step waits for its row"),
                done => return done,
            }
        }
    }

    /// Stores what is known by now.
    pub(super) async fn keep(&self, step: impl Into<Stage>, facts: &Facts) -> Result<(), StoreError> {
        self.books.store.advance(&self.fence, step.into(), facts).await
    }

    /// Stores what a look at the page has found.
    pub(super) async fn keep_report(&self, step: Stage, report: &Report) -> Result<(), StoreError> {
        let facts = Facts { report: Some(report.clone()), ..Facts::default() };
        self.books.store.advance(&self.fence, step, &facts).await
    }

    /// Says and stores how the page answered meanwhile, beside the last times. What of it cannot be stored changes nothing else.
    pub(super) async fn tell_away(&mut self, away: Availability) {
        let last = self.past.away(LAST_AWAY).await.unwrap_or_default();
        let last: Vec<String> = last.iter().map(Availability::in_short).collect();
        let beside = if last.is_empty() { String::new() } else { format!(" (away in the deployments before: {})", last.join(", ")) };
        self.journal.note(format!("{away}{beside}"));
        self.books.metrics.away(self.past.service(), Duration::from_millis(away.away_ms));
        let facts = Facts { away: Some(away), ..Facts::default() };
        if let Err(error) = self.books.store.advance(&self.fence, self.at.0, &facts).await {
            tracing::warn!(deployment = %self.fence.id, %error, "the availability of the page could not be stored");
        }
    }

    /// A complete copy of the store in `folder`, where the store is a file.
    pub(super) async fn copy_store(&self, folder: &Path) -> Result<Option<PathBuf>, StoreError> {
        if !self.books.store.is_sqlite() {
            return Ok(None);
        }
        let copy = folder.join("copy.db");
        self.books.store.copy_to(&copy).await?;
        Ok(Some(copy))
    }

    /// The container whose server took the queue last.
    pub(super) async fn seat(&self) -> Result<Option<String>, StoreError> {
        self.books.store.seat().await
    }

    /// Tells log and metrics what was at fault.
    pub(super) fn count(&self, fault: &Fault) {
        let kind = fault.kind();
        let service = self.past.service();
        tracing::warn!(deployment = %self.fence.id, service = %service, kind = kind.as_str(), %fault, "a step failed");
        self.books.metrics.fault(service, kind);
    }

    /// Who stops this run.
    pub(super) async fn cancelled_by(&self) -> Result<CancelledBy, StoreError> {
        let stored = self.books.store.get(&self.fence.id).await?;
        Ok(stored.and_then(|stored| stored.cancel_by).unwrap_or(CancelledBy::Nameless))
    }

    /// How the deployment `id` stands; none: there is none, or it cannot be told now.
    pub(super) async fn state_of(&self, id: &DeploymentId) -> Option<State> {
        self.books.store.get(id).await.ok().flatten().map(|other| other.state)
    }

    /// Stores and tells the outcome; where there is a `watch`, it begins with that. What happened on the host has happened: it is tried until it is written or somebody else
    /// has taken the run over. Returns the past that this run belongs to from now on; none: it is somebody else's.
    pub(super) async fn end(self, outcome: &Outcome, watch: Option<WatchTerms>) -> Option<Past> {
        let Self { journal, past, books, fence, at: (step, began) } = self;
        books.metrics.step(step, began.elapsed());
        let seq = journal.close().await;
        books.end(&fence, past.service(), Ending { outcome, step, seq, watch }).await.then_some(past)
    }
}

/// Tries `work` for the deployment `id`, or its run on `host`, until the database answers; the log says meanwhile that `what`. Gives what
/// comes of it; none: another server has the run now.
pub async fn insist<T, F>(id: &DeploymentId, host: Option<&AgentName>, what: &str, mut work: impl FnMut() -> F) -> Option<T>
where
    F: Future<Output = Result<T, StoreError>>,
{
    loop {
        match work().await {
            Ok(done) => return Some(done),
            Err(StoreError::Fenced) => return None,
            Err(error) => tracing::error!(deployment = %id, host = host.map(tracing::field::display), %error, "{what}; trying again"),
        }
        tokio::time::sleep(SOON).await;
    }
}

impl Books {
    /// Stores and tells how a run of `service` ended, however long the database does not answer. Returns whether it was this executor's
    /// to say.
    pub async fn end(&self, fence: &Fence, service: &ServiceName, ending: Ending<'_>) -> bool {
        let outcome = ending.outcome;
        if insist(&fence.id, None, "the outcome could not be stored", || self.store.finish(fence, ending)).await.is_none() {
            return false;
        }
        self.hub.tell(&fence.id);
        self.metrics.ended(service, outcome, clock::now_ms());
        tracing::info!(deployment = %fence.id, service = %service, outcome = outcome.name(), detail = %outcome, "deployment ended");
        self.audit(&fence.id, outcome).await;
        true
    }

    /// An entry of the audit trail: what was ordered, over what, and how it ended.
    async fn audit(&self, id: &DeploymentId, outcome: &Outcome) {
        let written = async {
            let Some(Deployment { order, images, ran_before, .. }) = self.store.get(id).await? else { return Ok(()) };
            let images: Vec<String> = images.iter().map(ToString::to_string).collect();
            let before = ran_before.map_or(String::new(), |before| format!(" over {before}"));
            let detail =
                if images.is_empty() { format!("{id} {outcome}") } else { format!("{id} {}{before}: {outcome}", images.join(", ")) };
            self.store.audit(&order.caller.to_string(), "outcome", order.service.as_str(), &detail).await
        };
        let written: Result<(), StoreError> = written.await;
        if let Err(error) = written {
            tracing::warn!(deployment = %id, %error, "the outcome could not be added to the audit trail");
        }
    }
}
