//! How a service stands, in a word.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

/// How a service stands, in one word; the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// Something of it does not run.
    Down,
    /// A health check fails, or a container is in a crash loop.
    Unhealthy,
    /// Something else runs or is pinned than what the record has as live.
    Drift,
    /// It cannot be told: Docker does not answer, or the stack's files cannot be read.
    Unknown,
    /// A deployment is being carried out.
    Deploying,
    /// Nothing was deployed yet.
    Empty,
    /// What the record has as live runs, and nothing speaks against it.
    Ok,
}

impl Word {
    /// Every word.
    pub const ALL: [Self; 7] = [Self::Down, Self::Unhealthy, Self::Drift, Self::Unknown, Self::Deploying, Self::Empty, Self::Ok];

    /// The text form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Unhealthy => "unhealthy",
            Self::Drift => "drift",
            Self::Unknown => "unknown",
            Self::Deploying => "deploying",
            Self::Empty => "empty",
            Self::Ok => "ok",
        }
    }

    /// Whether a person should look at it.
    #[must_use]
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Down | Self::Unhealthy | Self::Drift | Self::Unknown)
    }
}

/// How a service stands, why, and what mends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Standing {
    /// In one word.
    pub word: Word,
    /// What is wrong, or what is being done; none: nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The command that mends it, or that a person begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}
