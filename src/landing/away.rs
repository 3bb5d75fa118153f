//! How the page answers while its containers are replaced. It is measured beside the story, decides nothing, and ends with the run.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use smoke::Availability;
use smoke::SmokePlan;
use tokio::task::AbortHandle;

/// A page that is watched. Dropping it ends that.
#[derive(Debug)]
pub(super) struct Watched {
    availability: Arc<Mutex<Option<Availability>>>,
    task: AbortHandle,
}

impl Watched {
    /// Watches the page of `plan` from now on.
    pub(super) fn begin(plan: SmokePlan) -> Self {
        let availability = Arc::new(Mutex::new(None));
        let latest = Arc::clone(&availability);
        let watch = async move {
            let tell = |now| *latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
            smoke::watch(&plan, tell).await;
        };
        Self { availability, task: tokio::spawn(watch).abort_handle() }
    }

    /// How it has answered until now; none: it was not asked.
    pub(super) fn availability(&self) -> Option<Availability> {
        *self.availability.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}
