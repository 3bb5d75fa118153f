//! What the guards of a service would say now.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::Guard;

/// What a guard would say to an order of CI now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GuardNow {
    /// The guard.
    pub guard: Guard,
    /// What it would say.
    pub says: Says,
    /// Why, as one sentence or more.
    pub why: String,
}

/// What a guard would say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Says {
    /// It has nothing against an order.
    Passes,
    /// That depends on the order.
    Asks,
    /// An order would wait.
    Waits,
    /// An order would be refused.
    Refuses,
}

impl Says {
    /// The text form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passes => "passes",
            Self::Asks => "asks",
            Self::Waits => "waits",
            Self::Refuses => "refuses",
        }
    }
}
