//! What every step has at hand.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use process::Cancel;

use crate::config::Service;
use crate::engine::Engine;
use crate::landing::away::Watched;
use crate::landing::host::Host;
use crate::landing::record::Record;
use crate::landing::stop::Fault;
use crate::landing::stop::Stop;
use crate::model::Order;
use crate::model::Stage;
use crate::store::Facts;
use crate::store::RunLease;

/// What every step needs.
pub(super) struct Site<'a> {
    pub(super) host: &'a Host,
    pub(super) service: Arc<Service>,
    pub(super) order: Order,
    /// Acts for this run, and for it alone.
    pub(super) engine: Engine,
    pub(super) lease: RunLease,
    /// The file of the stack's lock, once it is taken: programs that work on the stack hold it too.
    pub(super) lock: Option<Arc<File>>,
    pub(super) record: Record,
    /// What stops it.
    pub(super) cancel: Cancel,
    /// The page, from before its containers are replaced.
    pub(super) watched: Option<Watched>,
}

impl Site<'_> {
    /// From now on it is measured how the page answers, where the service has one.
    pub(super) fn watch_page(&mut self) {
        if self.watched.is_none() {
            self.watched = self.service.smoke.as_ref().map(|smoke| Watched::begin(smoke.plan.clone()));
        }
    }

    /// Says and stores that a step begins.
    pub(super) async fn begin(&mut self, step: impl Into<Stage>, title: &str) -> Result<(), Stop> {
        self.begin_with(step, title, &Facts::default()).await
    }

    /// [`Site::begin`], with what is known by then.
    pub(super) async fn begin_with(&mut self, step: impl Into<Stage>, title: &str, facts: &Facts) -> Result<(), Stop> {
        if self.cancel.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        Ok(self.record.begin(step.into(), title, facts).await?)
    }

    /// `work`, ended at `limit` or when the order is cancelled.
    pub(super) async fn within<T>(&self, limit: Duration, who: &'static str, work: impl Future<Output = T>) -> Result<T, Stop> {
        tokio::select! {
            done = work => Ok(done),
            () = self.cancel.cancelled() => Err(Stop::Cancelled),
            () = tokio::time::sleep(limit) => Err(Fault::Silence { who, limit }.into()),
        }
    }
}
