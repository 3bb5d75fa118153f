//! Why nothing could be done with a dataset at all. How a reconcile ended is no error but a value.

use std::path::PathBuf;

use crate::process::LockError;

/// Nothing could be done with a dataset. Each is one sentence that names what to change; nothing was lost.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// git is not there.
    #[error("git cannot be run: {0}. Install git 2.38 or newer, or set its path in the configuration.")]
    GitMissing(String),
    /// git is too old.
    #[error("git {0} is too old: 2.38 or newer is needed.")]
    GitTooOld(String),
    /// The dataset's folder is something else.
    #[error("{0} is not a folder: set `dir` to a folder, or move what is there.")]
    NotAFolder(PathBuf),
    /// A file or folder cannot be used.
    #[error("{0} cannot be used: {1}.")]
    File(PathBuf, #[source] std::io::Error),
    /// Another process works on the dataset.
    #[error(transparent)]
    Locked(#[from] LockError),
    /// A git of somebody else holds a lock in the repository.
    #[error("{0} is held by another git ({1}): wait until it has ended, or end it.")]
    Busy(PathBuf, String),
    /// There is no data yet and the remote cannot be reached.
    #[error("There is no data in {0} yet, and the remote cannot be read: {1}")]
    NothingYet(PathBuf, String),
    /// There is no data yet and the remote has no such branch.
    #[error("There is no data in {0} yet, and the remote has no branch {1}: push it there first, or correct `branch`.")]
    NoBranchYet(PathBuf, String),
    /// A git command failed in a way that has no other name.
    #[error("git {what} failed: {why}")]
    Git {
        /// Which command.
        what: String,
        /// What it said.
        why: String,
    },
    /// The repository is damaged.
    #[error("The repository in {0} is damaged: {1}")]
    Damaged(PathBuf, String),
    /// Something in the checkout is in the way of the remote's files and stays there.
    #[error("{0} is in the way of the remote's files and cannot be moved aside: {1}. Move it away; nothing is changed until then.")]
    InTheWay(PathBuf, #[source] std::io::Error),
    /// The place of the symlink is taken.
    #[error("{0} is not a symlink: move what is there, or set `link` to another path.")]
    NotALink(PathBuf),
    /// It was stopped.
    #[error("it was stopped before it ended")]
    Cancelled,
}
