//! What forges are still to be told.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::DeploymentId;

/// What the forge of a service is still to be told.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct OwedResult {
    /// Which deployment it is about.
    pub deployment: DeploymentId,
    /// Whether it is the `status` of its commit or the `deployment` at the forge, and what is said of it: `queued`, `in_progress`,
    /// `ended` or `replaced`.
    pub what: String,
    /// Since when (ms since 1970, UTC).
    pub since_ms: i64,
    /// How often it was tried.
    pub tries: i64,
    /// What stood in the way the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Since when it is not tried any more, because the forge refuses it (ms since 1970, UTC). It is tried again when the configuration is
    /// read again or the server starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_ms: Option<i64>,
}
