//! Why a story stops before its end.

use crate::engine::EngineError;
use crate::model::Guard;
use crate::store::StoreError;

/// Why the story stops before its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// A guard says no: nothing may have been changed by then.
    Refused(Guard, String),
    /// Something failed.
    Fault(String),
    /// The page has a fault that it had before anything changed: no reason to undo, and no success either.
    OldFault(String),
    /// It was cancelled.
    Cancelled,
    /// Another server has taken over, or the database is gone: this run must not write any more.
    Lost(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Lost(error)
    }
}

impl From<EngineError> for Stop {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Cancelled { .. } => Self::Cancelled,
            EngineError::Stack(why) => Self::Refused(Guard::Stack, why),
            error => Self::Fault(error.to_string()),
        }
    }
}
