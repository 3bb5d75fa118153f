//! What is judged.

use std::collections::BTreeMap;

use serde_json::Value;

/// A stack as compose has resolved it.
#[derive(Debug, Clone, Copy)]
pub struct Stack<'a> {
    /// What `docker compose config --format json` writes.
    pub config: &'a Value,
    /// The services that are started.
    pub active: &'a [&'a str],
    /// Those of them whose image is pinned.
    pub pinned: &'a [&'a str],
    /// The folders and files of the host that are behind named volumes.
    pub devices: &'a BTreeMap<String, Vec<String>>,
}
