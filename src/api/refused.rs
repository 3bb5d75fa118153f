//! Calls that were refused.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

/// What was refused since the server began, for its operator.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RefusedCalls {
    /// How many calls did not pass each check.
    pub counts: BTreeMap<String, u64>,
    /// The last of them, calls of one kind and address together, newest first. Where very many come some are only counted.
    pub calls: Vec<RefusedCall>,
}

/// Calls of one kind from one address.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RefusedCall {
    /// Which check they did not pass: `signature`, `clock`, `token`, `scope`, …
    pub check: String,
    /// What is wrong and what to look at.
    pub why: String,
    /// The key, where its secret was right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Where they came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// How many.
    pub count: u64,
    /// When the first came, ms since 1970 (UTC).
    pub first_ms: i64,
    /// When the last came.
    pub last_ms: i64,
}
