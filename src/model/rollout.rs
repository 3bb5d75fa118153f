//! Which hosts a rollout goes to, and how.

use serde::Deserialize;
use serde::Serialize;

use crate::model::AgentName;

/// What becomes of hosts on which a release is live already when it does not hold on another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnPartial {
    /// They are brought back to what they had before.
    #[default]
    Undo,
    /// They keep the release.
    Keep,
}

/// The hosts of a rollout, in their order, and how it goes over them. It is settled when the rollout begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutPlan {
    /// The agents of the hosts; the first one is always alone.
    pub hosts: Vec<AgentName>,
    /// How many of the others are at work at a time, 1 or more.
    pub at_once: usize,
    /// What becomes of those that are live when another does not hold.
    pub on_partial: OnPartial,
}
