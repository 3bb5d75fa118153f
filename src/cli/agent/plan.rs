//! What the control plane's command line and the tagalong on a host say to each other over ssh.

use serde::Deserialize;
use serde::Serialize;

use crate::model::AgentName;

/// How a host stands.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Standing {
    /// The name that it is enrolled as.
    pub(super) enrolled: Option<AgentName>,
    /// The name of `[agent]` in its configuration.
    pub(super) configured: Option<AgentName>,
    /// Whether the server runs.
    pub(super) is_running: bool,
}

/// What is wanted of a host.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    /// The agent that dials its control plane; none: the control plane dials.
    pub(super) agent: Option<PlannedAgent>,
    /// The user that ssh logs in as.
    pub(super) uid: u32,
}

/// An agent that dials.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PlannedAgent {
    pub(super) name: AgentName,
    /// The control plane.
    pub(super) url: url::Url,
    /// Certificates that are trusted besides the host's own (PEM).
    pub(super) ca_pem: Option<String>,
}

/// What was changed, each in a few words.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Changed {
    pub(super) changed: Vec<String>,
}

/// How the server is to be started.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Starting {
    /// Something was changed that counts only after a restart.
    pub(super) again: bool,
}
