//! What is put to a guard, and what it answers.

use std::time::Duration;

use crate::config::Config;
use crate::config::Service;
use crate::model::Order;
use crate::model::Refusal;
use crate::store::Deployment;
use crate::store::Hold;

/// An order that a guard is asked about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) config: &'a Config,
    pub(super) service: &'a Service,
    pub(super) order: &'a Order,
    /// What the record has of it; none: it is at the door.
    #[allow(dead_code, reason = "of the guards that there are, none goes by it")]
    pub(super) deployment: Option<&'a Deployment>,
    /// What holds its service, or held it until its time was over, where that was looked up.
    pub(super) hold: Option<&'a Hold>,
    /// When the order came (ms since 1970, UTC).
    pub(super) came_ms: i64,
    /// Since when it waits for this guard (ms since 1970, UTC).
    pub(super) since_ms: i64,
    /// How often this guard was asked about it before.
    pub(super) times: u32,
    /// The moment that is judged (ms since 1970, UTC).
    pub(super) now_ms: i64,
}

impl Question<'_> {
    /// How long the order may still wait in all.
    pub(super) fn left(&self) -> Duration {
        let max_wait_ms = i64::try_from(self.service.max_wait.as_millis()).unwrap_or(i64::MAX);
        let ends_ms = self.came_ms.saturating_add(max_wait_ms);
        Duration::from_millis(u64::try_from(ends_ms.saturating_sub(self.now_ms)).unwrap_or_default())
    }
}

/// What a guard says about an order. One that cannot decide refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing speaks against it.
    Passes {
        /// What is worth saying, as sentences for its journal.
        said: Vec<String>,
        /// Until when that counts at most (ms since 1970, UTC); none: nothing that is known ends it.
        until_ms: Option<i64>,
    },
    /// It may pass later: it is asked about again after that time; why it waits.
    Waits(Duration, String),
    /// It is refused.
    Refused(Refusal),
}

impl Answer {
    /// Nothing speaks against it, and nothing is to be said.
    pub(super) fn passes() -> Self {
        Self::Passes { said: Vec::new(), until_ms: None }
    }

    /// Nothing speaks against it, and that is why.
    pub(super) fn passes_since(why: String) -> Self {
        Self::Passes { said: vec![why], until_ms: None }
    }
}
