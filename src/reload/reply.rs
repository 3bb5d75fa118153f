//! A request for a dataset, and its result.

use std::sync::Arc;
use std::time::Duration;

use crate::api;
use crate::model::Commit;
use crate::model::CommitName;
use crate::model::DatasetName;
use crate::reload::ran::Load;
use crate::reload::ran::Ran;

/// A request for a dataset.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// The branch that moved, if the caller knows it.
    pub branch: Option<String>,
    /// The commit that should be served, if the caller knows it.
    pub commit: Option<CommitName>,
    /// When peers are told.
    pub peers: TellPeers,
}

/// When peers are told about new data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TellPeers {
    /// After the answer.
    #[default]
    Later,
    /// Before it; their answers are part of it.
    Now,
    /// Not by us: the caller tells them.
    Never,
}

/// The result of an [`Ask`].
#[derive(Debug, Clone)]
pub struct Reply {
    /// What was done.
    pub done: Done,
    /// The commit that the app loaded last.
    pub loaded: Option<Commit>,
    /// Whether the requested commit is part of it; none: no commit was requested.
    pub contained: Option<bool>,
    /// The answers of peers, if they were called.
    pub peers: Vec<api::PeerAnswer>,
    /// How long it took.
    pub took: Duration,
}

/// What was done for an [`Ask`].
#[derive(Debug, Clone)]
pub enum Done {
    /// Nothing: the call is about another branch.
    Ignored,
    /// Nothing: the commit is part of the loaded data.
    Contained,
    /// A reload that began after the call came.
    Ran(Arc<Ran>),
}

impl Reply {
    /// Whether the data that is served is as new as possible and contains the requested commit.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        let held = match &self.done {
            Done::Ignored | Done::Contained => true,
            Done::Ran(ran) => ran.is_ok(),
        };
        held && self.contained != Some(false)
    }

    /// Why a successful reload is not enough: it did not bring the requested commit.
    #[must_use]
    pub fn missing(&self) -> Option<String> {
        let text = "the requested commit is not part of the loaded data: the remote's branch does not contain it (yet)";
        (self.contained == Some(false)).then(|| text.to_owned())
    }

    /// The body of the API.
    #[must_use]
    pub fn view(&self, dataset: &DatasetName) -> api::Reloaded {
        let ran = match &self.done {
            Done::Ran(ran) => Some(ran),
            Done::Ignored | Done::Contained => None,
        };
        let text = |commit: Option<&Commit>| commit.map(ToString::to_string);
        let missing = self.missing();
        api::Reloaded {
            dataset: dataset.clone(),
            outcome: self.outcome().to_owned(),
            ok: self.is_ok(),
            rebuilt: ran.is_some_and(|ran| ran.load == Load::Loaded),
            from: text(ran.and_then(|ran| ran.from.as_ref())),
            to: text(ran.and_then(|ran| ran.to.as_ref())),
            loaded: text(self.loaded.as_ref()),
            parked: ran.and_then(|ran| ran.parked.clone()),
            pushed: ran.map_or(0, |ran| ran.pushed),
            why: ran.and_then(|ran| ran.why()).or(missing),
            duration_ms: self.took.as_millis() as u64,
            peers: self.peers.clone(),
        }
    }

    /// The outcome's text form.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match &self.done {
            Done::Ignored => "ignored",
            Done::Contained => "in-sync",
            Done::Ran(ran) => ran.outcome(),
        }
    }
}
