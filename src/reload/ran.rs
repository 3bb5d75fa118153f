//! What one reload came to.

use crate::model::Commit;
use crate::model::Reconcile;

/// What one reload came to.
#[derive(Debug, Clone)]
pub struct Ran {
    /// How checkout and remote were brought together; none: nothing could be done with the dataset.
    pub reconciled: Option<Reconcile>,
    /// Why, where a person should know.
    pub note: Option<String>,
    /// The checkout before.
    pub from: Option<Commit>,
    /// The checkout now.
    pub to: Option<Commit>,
    /// The branch of the remote where work is parked that did not fit.
    pub parked: Option<String>,
    /// How many own commits the remote took.
    pub pushed: u64,
    /// Whether the checkout lacks what the remote has, since own work must be pushed first and was not.
    pub is_behind: bool,
    /// What readers have of it.
    pub load: Load,
}

/// What readers have of a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Load {
    /// There was nothing to load.
    Nothing,
    /// The app serves the new commit.
    Loaded,
    /// It does not: the old data is served on, and the next reload tries again.
    Failed(String),
}

impl Ran {
    /// The outcome's text form.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        self.reconciled.map_or(Reconcile::UNUSABLE, Reconcile::as_str)
    }

    /// Whether what is served is as new as it can be had.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        let is_fresh = !matches!(self.reconciled, None | Some(Reconcile::FetchFailed | Reconcile::RemoteBranchMissing));
        is_fresh && !self.is_behind && !matches!(self.load, Load::Failed(_))
    }

    /// Why, where a person should know: what stands in the way of the app comes first.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        match &self.load {
            Load::Failed(why) => Some(why.clone()),
            Load::Nothing | Load::Loaded => self.note.clone(),
        }
    }
}
