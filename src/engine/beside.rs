//! The calls of a tagalong that deploys the stack it runs in, over every engine: containers beside its own.

use std::path::Path;
use std::time::Duration;

use process::Cancel;
use process::Stream;

use crate::engine::calls::Engine;
use crate::engine::compose::Beside;
use crate::engine::compose::Own;
use crate::engine::error::EngineError;

impl Engine {
    /// The container of this stack that this process runs in, or beside; none: it runs in none.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn own(&self, cancel: &Cancel) -> Result<Option<Own>, EngineError> {
        match self {
            Self::Compose(compose) => compose.own(cancel).await,
        }
    }

    /// The id of the image of the container called `name`; none: there is no such container.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn image_beside(&self, name: &str, cancel: &Cancel) -> Result<Option<String>, EngineError> {
        match self {
            Self::Compose(compose) => compose.image_beside(name, cancel).await,
        }
    }

    /// Afterwards `beside` runs; what bore its name is gone. `passing` is a folder for what is needed only for a moment.
    ///
    /// # Errors
    /// When it cannot be made or started: the engine's words.
    pub async fn start_beside(&self, own: &Own, beside: &Beside, passing: &Path, cancel: &Cancel) -> Result<(), EngineError> {
        match self {
            Self::Compose(compose) => compose.start_beside(own, beside, passing, cancel).await,
        }
    }

    /// Runs `beside` to its end, at most as long as the limit, giving on each line that it writes. Afterwards it is gone.
    ///
    /// # Errors
    /// When it cannot be made, does not end in time, or ends badly: its last words.
    pub async fn run_beside(
        &self,
        own: &Own,
        beside: &Beside,
        passing_and_limit: (&Path, Duration),
        cancel: &Cancel,
        each: impl FnMut(Stream, String),
    ) -> Result<(), EngineError> {
        match self {
            Self::Compose(compose) => compose.run_beside(own, beside, passing_and_limit, cancel, each).await,
        }
    }

    /// Afterwards there is no container called `name`.
    ///
    /// # Errors
    /// When the engine does not remove it.
    pub async fn remove_beside(&self, name: &str, cancel: &Cancel) -> Result<(), EngineError> {
        match self {
            Self::Compose(compose) => compose.remove_beside(name, cancel).await,
        }
    }
}
