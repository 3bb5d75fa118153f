//! Whether an engine may act on the host, and the leave that is asked for right before each act.

use crate::engine::error::EngineError;
use crate::store;
use crate::store::RunLease;

/// Who an engine acts for.
#[derive(Debug, Clone)]
pub(super) enum Right {
    /// Nobody: it looks.
    Looks,
    /// A run, for as long as it is this server's.
    Run(RunLease),
    /// Whoever has the stack to himself.
    Alone,
}

/// Leave for one act. Whatever changes the host takes one, and only [`Right::leave`] gives it.
#[derive(Debug)]
pub(super) struct Leave(Option<store::Leave>);

impl Right {
    /// # Errors
    /// [`EngineError::LooksOnly`]; [`EngineError::NoLeave`] when the run is not this server's any more.
    pub(super) async fn leave(&self) -> Result<Leave, EngineError> {
        match self {
            Self::Looks => Err(EngineError::LooksOnly),
            Self::Run(lease) => Ok(Leave(Some(lease.leave().await?))),
            Self::Alone => Ok(Leave(None)),
        }
    }
}

impl Leave {
    /// Said at the last moment: it may be old by then.
    ///
    /// # Errors
    /// [`EngineError::NoLeave`] when the run's time is over.
    pub(super) fn still_holds(&self) -> Result<(), EngineError> {
        Ok(self.0.as_ref().map_or(Ok(()), store::Leave::still_holds)?)
    }
}
