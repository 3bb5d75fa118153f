//! A notifier in use.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;

use crate::notify::Notifier;

/// A notifier in use.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) notifier: Notifier,
    /// When it was last sent something.
    last: Mutex<Option<Instant>>,
}

impl Desk {
    /// A notifier that takes the place of one `before`, if there was one.
    pub(super) fn new(notifier: Notifier, before: Option<&Self>) -> Self {
        Self { notifier, last: Mutex::new(before.and_then(Self::last)) }
    }

    /// The wait until the next message may be sent.
    pub(super) fn wait(&self) -> Duration {
        self.last().map_or(Duration::ZERO, |last| self.notifier.pace().gap.saturating_sub(last.elapsed()))
    }

    /// Something was sent just now.
    pub(super) fn is_sent(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn last(&self) -> Option<Instant> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
