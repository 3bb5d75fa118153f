//! The result of one reload.

use crate::model::Commit;
use crate::model::Reconcile;

/// The result of one reload.
#[derive(Debug, Clone)]
pub struct Ran {
    /// How checkout and remote were brought together; none: the dataset could not be used.
    pub reconciled: Option<Reconcile>,
    /// The reason, if a person should know it.
    pub note: Option<String>,
    /// The commit of the checkout before.
    pub from: Option<Commit>,
    /// The commit of the checkout now.
    pub to: Option<Commit>,
    /// The branch of the remote on which conflicting work is parked.
    pub parked: Option<String>,
    /// How many own commits were pushed.
    pub pushed: u64,
    /// Whether the checkout lacks commits of the remote, because own work must be pushed first and was not.
    pub is_behind: bool,
    /// What it means for readers.
    pub load: Load,
}

/// What a reload means for readers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Load {
    /// There was nothing to load.
    Nothing,
    /// The app serves the new commit.
    Loaded,
    /// It does not: the old data stays in service, and the next reload tries again.
    Failed(String),
}

impl Ran {
    /// The outcome's text form.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        self.reconciled.map_or(Reconcile::UNUSABLE, Reconcile::as_str)
    }

    /// Whether the data that is served is as new as possible.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        let is_fresh = !matches!(self.reconciled, None | Some(Reconcile::FetchFailed | Reconcile::RemoteBranchMissing));
        is_fresh && !self.is_behind && !matches!(self.load, Load::Failed(_))
    }

    /// The reason, if a person should know it: problems of the app come first.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        match &self.load {
            Load::Failed(why) => Some(why.clone()),
            Load::Nothing | Load::Loaded => self.note.clone(),
        }
    }
}
