//! How a service stands, in a word.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

/// The state of a service in one word; the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// A container of the stack is not running, or is missing.
    Down,
    /// A health check fails, or a container is in a crash loop.
    Unhealthy,
    /// The running or pinned release is not the live release.
    Drift,
    /// The state is unknown: Docker does not answer, or the pin cannot be read.
    Unknown,
    /// A deployment is being carried out.
    Deploying,
    /// Nothing was deployed yet.
    Empty,
    /// The live release is running, and no fault was found.
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

    /// Whether an operator should look at it.
    #[must_use]
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Down | Self::Unhealthy | Self::Drift | Self::Unknown)
    }
}

/// The state of a service, the reason, and the command that corrects it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Standing {
    /// The state in one word.
    pub word: Word,
    /// What is wrong, or what is being done; none: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The command to run; `tagalong repair SERVICE`, for example.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}
