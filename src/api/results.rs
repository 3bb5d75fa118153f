//! What forges are still to be told.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::DeploymentId;

/// A result that the forge of a service has not received yet.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct OwedResult {
    /// Which deployment it is about.
    pub deployment: DeploymentId,
    /// `status` (of the commit) or `deployment` (at the forge), and what it says: `queued`, `in_progress`, `ended` or `replaced`.
    pub what: String,
    /// Since when (ms since 1970, UTC).
    pub since_ms: i64,
    /// How often it was tried.
    pub tries: i64,
    /// Why the last try failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// When the forge refused it (ms since 1970, UTC). It is tried again at `retry_ms`, and when the configuration is read again or the
    /// server starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_ms: Option<i64>,
    /// When what was refused is tried again by itself (ms since 1970, UTC); none: not any more, since it was refused for a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_ms: Option<i64>,
}
