//! Why nothing could be done with a dataset at all. How a reconcile ended is no error but a value.

use std::path::PathBuf;

use process::LockError;

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
    /// The checkout's git folder leads elsewhere.
    #[error(
        "{0} is a file that points to a git folder elsewhere: a dataset needs its own repository in its folder, not a linked worktree or \
        a submodule. Set `dir` to another folder, or move this one away."
    )]
    Elsewhere(PathBuf),
    /// Something in the checkout's git folder is neither a plain file nor a folder.
    #[error(
        "{0} is {1}: tagalong reads and writes only regular files and folders in the git folder of a dataset. Restore what belongs there, \
        or move the folder away to have it cloned again."
    )]
    NotPlain(PathBuf, &'static str),
    /// The configuration wants git to be confined, and the kernel cannot.
    #[error(
        "{0} was not touched: `confine = \"always\"` is set, but this kernel cannot confine git (it needs Landlock, Linux 5.13 or newer; \
        a container's seccomp profile may block it). Make Landlock available, or set `confine = \"where_possible\"`."
    )]
    NotConfined(PathBuf),
    /// Another process works on the dataset.
    #[error(transparent)]
    Locked(#[from] LockError),
    /// A git of somebody else holds a lock in the repository.
    #[error("{0} is in use by another git ({1}): wait until it has finished, or stop it.")]
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
    #[error("{0} is in the way of the remote's files and cannot be moved aside: {1}. Move it away; until then nothing is changed.")]
    InTheWay(PathBuf, #[source] std::io::Error),
    /// The place of the symlink is taken.
    #[error("{0} is not a symlink: move what is there, or set `link` to another path.")]
    NotALink(PathBuf),
    /// It was stopped.
    #[error("it was stopped before it had finished")]
    Cancelled,
}
