//! One line of the journal.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::Stage;
use crate::model::word::WordError;

/// What kind of line it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LineKind {
    /// A step begins.
    Step,
    /// What tagalong has to say.
    Note,
    /// What a person should look at, though nothing failed.
    Warning,
    /// Why something failed.
    Error,
    /// Output of a program or a container.
    Output,
    /// How the deployment ended: the last line.
    Outcome,
}

impl LineKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [Self::Step, Self::Note, Self::Warning, Self::Error, Self::Output, Self::Outcome];

    /// The text form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Output => "output",
            Self::Outcome => "outcome",
        }
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// When it is no kind of line.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        let error = || WordError::new("The kind of line", given, "it is step, note, warning, error, output or outcome");
        Self::ALL.into_iter().find(|kind| kind.as_str() == given).ok_or_else(error)
    }
}

/// A line before it is stored: anybody who writes it numbers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineDraft {
    /// Its number within its run, from 1 without gaps.
    pub seq: i64,
    /// When, in ms since 1970 (UTC).
    pub at_ms: i64,
    /// The step it belongs to.
    pub step: Stage,
    /// What kind of line it is.
    pub kind: LineKind,
    /// The text: one line, control characters escaped, secrets masked.
    pub text: String,
}

/// One stored line of a deployment's journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Line {
    /// Its place among all lines of the deployment: greater than that of every line that was stored before.
    pub position: i64,
    /// The run that wrote it; 0: it is the deployment's own.
    pub run: i64,
    /// Its number within the run.
    pub seq: i64,
    /// When, in ms since 1970 (UTC).
    pub at_ms: i64,
    /// The step it belongs to.
    pub step: Stage,
    /// What kind of line it is.
    pub kind: LineKind,
    /// The text: one line, control characters escaped, secrets masked.
    pub text: String,
}
