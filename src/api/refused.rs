//! Calls that were refused.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

/// The calls that were refused since the server was started, for its operator.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RefusedCalls {
    /// How many calls failed each check.
    pub counts: BTreeMap<String, u64>,
    /// The last refused calls, newest first; calls of one kind from one address are counted together. During a flood, some calls are only
    /// counted in `counts`.
    pub calls: Vec<RefusedCall>,
}

/// Calls of one kind from one address.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RefusedCall {
    /// The check that failed: `signature`, `clock`, `token`, `scope`, …
    pub check: String,
    /// What is wrong and what to look at.
    pub why: String,
    /// The key, if its secret was right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The address of the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// How many calls.
    pub count: u64,
    /// When the first came, ms since 1970 (UTC).
    pub first_ms: i64,
    /// When the last came.
    pub last_ms: i64,
}
