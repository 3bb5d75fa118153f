//! Parts of a journal.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::Line;

/// Some lines of a journal, in the order in which they were stored.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Lines {
    /// The lines.
    pub lines: Vec<Line>,
    /// The position of the last line that is stored by now; 0 if there is none.
    pub last: i64,
}

/// Where lines that were searched for are.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FoundLines {
    /// Their positions.
    pub positions: Vec<i64>,
    /// The position up to which the journal was searched. The search goes on after it if `is_whole` is false.
    pub through: i64,
    /// Whether it was searched up to the last line that is stored by now.
    pub is_whole: bool,
}
