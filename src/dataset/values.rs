//! What work on a dataset comes to, and how it stands: values alone.

use std::path::PathBuf;

use crate::model::Commit;
use crate::model::Reconcile;

/// What [`Dataset::ready`](crate::dataset::Dataset::ready) found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ready {
    /// The commit that is checked out.
    pub head: Option<Commit>,
    /// What was healed, a sentence each; empty when all was well.
    pub healed: Vec<String>,
    /// The names of what was parked.
    pub parked: Vec<String>,
    /// Folders that were moved aside and that a person should look at.
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
    /// Whether the branch lacks what the remote was seen to have, since a push must come first.
    pub is_behind: bool,
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
    /// What is kept on this host alone.
    pub kept: Vec<Kept>,
    /// Links of what is published that lead out of it.
    pub outward: Vec<String>,
    /// Folders that were moved aside.
    pub aside: Vec<PathBuf>,
}

/// What is kept on a ref of this host and never pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The ref, in full.
    pub name: String,
    /// The commit.
    pub commit: Commit,
    /// What it holds: the first files of it.
    pub holds: Vec<String>,
    /// How many more files it holds.
    pub more: u64,
}

/// Work that did not fit and waits for an operator.
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
