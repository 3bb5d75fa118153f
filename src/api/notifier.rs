//! How notifiers stand.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

/// How a notifier of the configuration stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Notifier {
    /// Its id.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// How many messages are still to be sent.
    pub owed: usize,
    /// How many messages its service has refused. They are tried again when the configuration is read again or the server starts.
    pub refused: usize,
    /// How many messages were dropped so far, because more than 1000 were owed.
    #[serde(default)]
    pub dropped: u64,
    /// Since when the oldest of them was not sent (ms since 1970, UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<i64>,
    /// How often that was tried.
    pub tries: i64,
    /// What stood in the way the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}
