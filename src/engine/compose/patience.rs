//! What an engine that waits for Docker knows about the daemon's outages.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::engine::compose::events::Need;

/// How often something may still be done again, and how many outages were seen when it was begun.
pub(super) struct Turn {
    pub(super) left: u32,
    pub(super) since: u32,
}

/// What a patient engine knows of its daemon.
pub(super) struct Patience {
    pub(super) limit: Duration,
    pub(super) tell: Box<dyn Fn(&str) + Send + Sync>,
    /// tagalong waited for it without success, and it has not answered since.
    pub(super) given_up: AtomicBool,
    /// One caller waits for Docker on behalf of all.
    pub(super) waiting: tokio::sync::Mutex<()>,
    pub(super) _events: Need,
}

impl std::fmt::Debug for Patience {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Patience").field("limit", &self.limit).finish_non_exhaustive()
    }
}
