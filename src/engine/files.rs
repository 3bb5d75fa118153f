//! The files that a stack has from a repository: the calls that landing makes, over every engine.

use std::path::Path;

use process::Cancel;

use crate::engine::calls::Engine;
use crate::engine::compose::FilesNow;
use crate::engine::compose::Resolved;
use crate::engine::error::EngineError;
use crate::model::LaidFiles;
use crate::model::StackFiles;

impl Engine {
    /// What the stack would resolve to with `files` in place of those that tagalong has written; nothing is changed. What it would do
    /// is what [`Engine::resolve`] would say once they are laid. `place` is a folder for what is needed only for a moment.
    ///
    /// # Errors
    /// [`EngineError::Stack`] when these files name a program of the host, or make no stack that can be pinned.
    pub async fn resolve_with(&self, files: &StackFiles, place: &Path, key: &[u8], cancel: &Cancel) -> Result<Resolved, EngineError> {
        match self {
            Self::Compose(compose) => compose.resolve_with(files, place, key, cancel).await,
        }
    }

    /// How the stack's files stand beside `wanted`.
    ///
    /// # Errors
    /// [`EngineError::Stack`] when one of `wanted` is not for a repository to bring; and when they cannot be read.
    pub async fn files_now(&self, wanted: &StackFiles) -> Result<FilesNow, EngineError> {
        match self {
            Self::Compose(compose) => compose.files_now(wanted).await,
        }
    }

    /// How the files stand that tagalong has written; none: it has written none.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn files_laid(&self) -> Result<Option<FilesNow>, EngineError> {
        match self {
            Self::Compose(compose) => compose.files_laid().await,
        }
    }

    /// Replaces the files that tagalong has written, and those that `before` has, by `wanted`. What anybody else has written stays;
    /// gives the paths of those that stay where others are wanted.
    ///
    /// # Errors
    /// When one cannot be written: some may be replaced by then, and another call finishes it.
    pub async fn lay(&self, wanted: &StackFiles, before: &LaidFiles) -> Result<Vec<String>, EngineError> {
        match self {
            Self::Compose(compose) => compose.lay(wanted, before).await,
        }
    }
}
