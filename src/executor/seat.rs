//! Whether an agent is there.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::api;
use crate::clock;
use crate::line::FromControl;
use crate::line::Hello;
use crate::model::AgentName;

/// Whether an agent is there, and since when (ms since 1970, UTC).
#[derive(Debug, Clone)]
pub enum Seat {
    /// It was not there since this server has started.
    Never {
        /// When that was.
        since_ms: i64,
    },
    /// It was there, and is not.
    Away {
        /// Since when.
        since_ms: i64,
        /// What it said last.
        hello: Arc<Hello>,
    },
    /// It is there, and what its hello said is stored.
    Here(Attached),
}

/// A line to an agent that is there.
#[derive(Debug, Clone)]
pub struct Attached {
    /// What is sent to it.
    pub(super) to: mpsc::Sender<FromControl>,
    /// Which line it is: a newer one has a greater number.
    pub(super) number: u64,
    /// Since when.
    pub since_ms: i64,
    /// Since when it answers but does not do its part; none: it does.
    pub stuck_ms: Option<i64>,
    /// What it said.
    pub hello: Arc<Hello>,
}

impl Seat {
    /// The line to it; none: it is not there.
    #[must_use]
    pub fn attached(&self) -> Option<&Attached> {
        if let Self::Here(attached) = self { Some(attached) } else { None }
    }

    /// What it said last.
    #[must_use]
    pub fn hello(&self) -> Option<&Arc<Hello>> {
        match self {
            Self::Never { .. } => None,
            Self::Away { hello, .. } => Some(hello),
            Self::Here(attached) => Some(&attached.hello),
        }
    }

    /// What is told of a host that is dialled and has this seat.
    #[must_use]
    pub(super) fn view(&self, name: &AgentName) -> api::Agent {
        let (state, since_ms) = match self {
            Self::Never { since_ms } => (api::AgentState::Never, *since_ms),
            Self::Away { since_ms, .. } => (api::AgentState::Away, *since_ms),
            Self::Here(Attached { stuck_ms: Some(stuck_ms), .. }) => (api::AgentState::Stuck, *stuck_ms),
            Self::Here(attached) => (api::AgentState::Online, attached.since_ms),
        };
        let version = self.hello().map(|hello| hello.program.clone());
        api::Agent { name: name.clone(), state, since_ms, version, enrolled_ms: 0, keys: Vec::new(), clone: None }
    }

    /// Why nothing can be asked of `agent` now, like `the agent micro has been away for 40 s`; none: it is there.
    #[must_use]
    pub fn why_not(&self, agent: &AgentName) -> Option<String> {
        let waited = |since_ms: i64| (clock::now_ms() - since_ms).max(0) / 1000;
        match self {
            Self::Here(_) => None,
            Self::Away { since_ms, .. } => Some(format!("the agent {agent} has been away for {} s", waited(*since_ms))),
            Self::Never { since_ms } => {
                Some(format!("the agent {agent} has not come since this server started {} s ago", waited(*since_ms)))
            }
        }
    }
}
