//! Why a message could not be sent.

use std::time::Duration;

/// Why a message could not be sent: a sentence, and what can be done about it. No address and no credential stands in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct NotifyError {
    /// What can be done about it.
    pub kind: NotifyErrorKind,
    why: String,
}

/// What can be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotifyErrorKind {
    /// The service answered with this status, and may want to be left alone for a while.
    Answered {
        /// The status, which is no success.
        status: u16,
        /// For how long it wants no more messages.
        after: Option<Duration>,
    },
    /// It will not be taken as it is, however often it is sent.
    Refused,
    /// The service cannot be reached, is too slow, or what is needed to call it cannot be read: another time may do.
    Unreachable,
}

impl NotifyError {
    pub(super) fn new(kind: NotifyErrorKind, why: String) -> Self {
        Self { kind, why }
    }

    pub(super) fn refused(why: String) -> Self {
        Self::new(NotifyErrorKind::Refused, why)
    }

    pub(super) fn unreachable(why: String) -> Self {
        Self::new(NotifyErrorKind::Unreachable, why)
    }
}
