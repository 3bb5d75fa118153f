//! The results of work on a dataset, and its state: only values.

use std::path::PathBuf;

use crate::model::Commit;
use crate::model::Reconcile;

/// What [`Dataset::ready`](crate::dataset::Dataset::ready) found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ready {
    /// The commit that is checked out.
    pub head: Option<Commit>,
    /// What was repaired, one sentence each; empty if nothing was wrong.
    pub healed: Vec<String>,
    /// The names of parked work.
    pub parked: Vec<String>,
    /// Folders that were moved aside and that a person should look at.
    pub aside: Vec<PathBuf>,
}

/// The result of one pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciled {
    /// The outcome.
    pub outcome: Reconcile,
    /// The branch before.
    pub from: Option<Commit>,
    /// The branch now. If it differs, the app has something to load.
    pub to: Option<Commit>,
    /// The remote's branch with the work that was parked in this pass, `conflicts/…`.
    pub parked: Option<String>,
    /// How many commits were pushed.
    pub pushed: u64,
    /// The reason, if a person should know it.
    pub why: Option<String>,
    /// Whether the branch lacks commits that the remote was seen to have, because a push must come first.
    pub is_behind: bool,
}

/// The state of a dataset, read only from the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The branch.
    pub head: Option<Commit>,
    /// The remote's tip as last seen.
    pub remote: Option<Commit>,
    /// The commit that the app loaded last.
    pub loaded: Option<Commit>,
    /// How many commits the remote does not have yet, as far as we know.
    pub pending: u64,
    /// Work that was parked and is not settled.
    pub parked: Vec<Parked>,
    /// Work that is kept only on this host.
    pub kept: Vec<Kept>,
    /// Links in the published data that lead out of it.
    pub outward: Vec<String>,
    /// Folders that were moved aside.
    pub aside: Vec<PathBuf>,
}

/// Work that is kept on a ref of this host and never pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The ref, in full.
    pub name: String,
    /// The commit.
    pub commit: Commit,
    /// The first files that it contains.
    pub holds: Vec<String>,
    /// How many more files it contains.
    pub more: u64,
}

/// Work that conflicted and waits for an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// Its branch on the remote, `conflicts/…`.
    pub branch: String,
    /// The commit.
    pub commit: Commit,
    /// Whether the remote has it. It is settled when somebody has removed the branch there.
    pub published: bool,
}

/// All files of one commit, for readers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The commit.
    pub commit: Commit,
    /// The folder.
    pub path: PathBuf,
}

/// The state of the push daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Push {
    /// The remote has everything.
    Done,
    /// It is pushing.
    Working,
    /// A transient failure; the daemon tries again.
    Waiting {
        /// What failed.
        why: String,
        /// The time until the next attempt, in ms.
        next_ms: u64,
    },
    /// The remote refused the push or the credential; the daemon tries again after a long pause.
    Refused {
        /// What the remote said.
        why: String,
    },
    /// The remote has moved on: a reconcile is due, and then the daemon must be woken.
    Behind,
}
