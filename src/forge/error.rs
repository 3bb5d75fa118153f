//! Why a forge did not do what it was asked.

use std::time::Duration;

/// Why a forge did not do what it was asked: a sentence, and what can be done about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct ForgeError {
    /// What can be done about it.
    pub kind: ForgeErrorKind,
    /// What it answered; none: it did not answer, or was not asked.
    pub status: Option<u16>,
    why: String,
}

/// What can be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForgeErrorKind {
    /// It says no (401, 403, 422 and their kin), or we have no login: the same call will fail until somebody changes something.
    Refused,
    /// There is no such thing, or we may not see it (404, 410).
    NotFound,
    /// It wants no more calls before this time (ms since 1970, UTC).
    RateLimited {
        /// When it may be called again.
        until_ms: i64,
    },
    /// It cannot be reached, is too slow or has a fault of its own (5xx): another time may do.
    Unreachable,
    /// It answers something that its API does not describe, or redirects.
    Odd,
}

impl ForgeError {
    pub(super) fn new(kind: ForgeErrorKind, why: String) -> Self {
        Self { kind, status: None, why }
    }

    /// It was not asked, since what it would have been asked is not known.
    #[must_use]
    pub fn not_asked(why: &str) -> Self {
        Self::new(ForgeErrorKind::Refused, why.to_owned())
    }

    /// All that it was asked was not answered in time.
    #[must_use]
    pub fn too_slow(limit: Duration) -> Self {
        Self::new(ForgeErrorKind::Unreachable, format!("The forge did not answer within {} s.", limit.as_secs()))
    }

    pub(super) fn answered(self, status: u16) -> Self {
        Self { status: Some(status), ..self }
    }
}
