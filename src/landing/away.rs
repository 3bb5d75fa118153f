//! How the page answers while its containers are replaced. It is measured beside the story, decides nothing, and ends with the run.

use std::time::Duration;

use smoke::Availability;
use smoke::SmokePlan;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// How long a page that was away when it was asked last is given to be asked once more.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// A page that is watched. Dropping it ends that.
#[derive(Debug)]
pub(super) struct Watched {
    availability: watch::Receiver<Option<Availability>>,
    task: AbortHandle,
}

impl Watched {
    /// Watches the page of `plan` from now on.
    pub(super) fn begin(plan: SmokePlan) -> Self {
        let (latest, availability) = watch::channel(None);
        let watch = async move {
            let tell = |now| {
                latest.send_replace(Some(now));
            };
            smoke::watch(&plan, tell).await;
        };
        Self { availability, task: tokio::spawn(watch).abort_handle() }
    }

    /// How it has answered until now; none: it was not asked. Where it was away when it was asked last, it may have come back since, so one
    /// more request is waited for.
    pub(super) async fn availability(mut self) -> Option<Availability> {
        let until_now = *self.availability.borrow_and_update();
        if until_now.is_some_and(|now| now.is_away) {
            let _ = timeout(LAST_LOOK, self.availability.changed()).await;
        }
        *self.availability.borrow()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}
