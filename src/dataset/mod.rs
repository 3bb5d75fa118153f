//! A dataset: a git checkout that follows a branch of its remote, and never loses work.
//!
//! [`Dataset::reconcile`] is where to begin reading: it observes, [`decide`] says what is to be done, and the files beside
//! it do it. Everything goes through git's own command line. Own refs hold what must survive a restart:
//!
//! | ref | what it remembers |
//! |---|---|
//! | `refs/tagalong/upstream/BRANCH` | the remote's tip as last followed: only commits above it are our own |
//! | `refs/tagalong/fetched/BRANCH` | the remote's tip as last fetched |
//! | `refs/tagalong/loaded` | the commit that the app loaded last |
//! | `refs/tagalong/parked/NAME` | work that did not fit and is not on the remote yet |
//! | `refs/tagalong/published/NAME` | the same, on the remote as `conflicts/NAME` |

mod error;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::sync::watch;

use crate::config;
use crate::model::Commit;
use crate::model::CommitName;
use crate::model::Reconcile;
use crate::process::Cancel;

pub use error::DatasetError;

/// One dataset of this host. Clones share its lock.
#[derive(Debug, Clone)]
pub struct Dataset(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: config::Dataset,
}

/// What [`Dataset::ready`] found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ready {
    /// The commit that is checked out.
    pub head: Option<Commit>,
    /// What was healed, a sentence each; empty when all was well.
    pub healed: Vec<String>,
    /// The names of what was parked.
    pub parked: Vec<String>,
    /// Folders that were set aside and that a person should look at.
    pub aside: Vec<PathBuf>,
}

/// How one pass ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciled {
    /// How.
    pub outcome: Reconcile,
    /// The branch before.
    pub from: Option<Commit>,
    /// The branch now. When it is another, the app has something to load.
    pub to: Option<Commit>,
    /// The branch of the remote that holds work that was parked in this pass, `conflicts/…`.
    pub parked: Option<String>,
    /// How many commits the remote took.
    pub pushed: u64,
    /// Why, where a person should know.
    pub why: Option<String>,
}

/// How a dataset stands, read from the repository alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The branch.
    pub head: Option<Commit>,
    /// The remote's tip as last seen.
    pub remote: Option<Commit>,
    /// The commit that the app loaded last.
    pub loaded: Option<Commit>,
    /// How many commits the remote does not have yet, as far as is known.
    pub pending: u64,
    /// Work that was parked and is not settled.
    pub parked: Vec<Parked>,
    /// Folders that were set aside.
    pub aside: Vec<PathBuf>,
}

/// Work that did not fit and waits for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// Its branch on the remote, `conflicts/…`.
    pub branch: String,
    /// The commit.
    pub commit: Commit,
    /// Whether the remote has it. It is settled when somebody has removed the branch there.
    pub published: bool,
}

/// A whole tree of files of one commit, for readers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The commit.
    pub commit: Commit,
    /// The folder.
    pub path: PathBuf,
}

/// What the push daemon is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Push {
    /// The remote has everything.
    Done,
    /// It is pushing.
    Working,
    /// A transient failure; it tries again by itself.
    Waiting {
        /// What failed.
        why: String,
        /// How long until the next try, ms.
        next_ms: u64,
    },
    /// The remote refused it, or the credential; it is tried again slowly.
    Refused {
        /// What the remote said.
        why: String,
    },
    /// The remote has moved on: a reconcile is due, then the daemon is to be woken.
    Behind,
}

impl Dataset {
    /// A dataset by its settings. Nothing is touched yet.
    #[must_use]
    pub fn new(settings: config::Dataset) -> Self {
        Self(Arc::new(Inner { settings }))
    }

    /// What it was made from.
    #[must_use]
    pub fn settings(&self) -> &config::Dataset {
        &self.0.settings
    }
}
