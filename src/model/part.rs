//! What a stack consists of, as the record keeps it with a release.

use serde::Deserialize;
use serde::Serialize;

/// A service of the compose file that `docker compose up` would start, as it was when a release was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its name in the compose file.
    pub name: String,
    /// Whether it runs the release: its image is pinned.
    pub is_pinned: bool,
    /// Whether it is meant to end.
    pub is_one_shot: bool,
    /// How many containers it has.
    pub replicas: u32,
}
