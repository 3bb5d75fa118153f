//! What became of each secret and variable.

use serde_json::json;

use crate::cli::output::Output;
use crate::cli::output::Tone;
use crate::config::At;
use crate::config::ProvisionKind;

/// What became of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Became {
    Created,
    Updated,
    Unchanged,
    Removed,
    /// Why nothing came of it.
    Failed(String),
}

impl Became {
    fn name(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
            Self::Removed => "removed",
            Self::Failed(_) => "failed",
        }
    }
}

/// One secret or variable, and what became of it.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(super) kind: ProvisionKind,
    pub(super) name: String,
    pub(super) at: At,
    pub(super) became: Became,
}

impl Line {
    /// Whether it failed.
    pub(crate) fn is_failed(&self) -> bool {
        matches!(self.became, Became::Failed(_))
    }

    /// Whether something is different there now.
    pub(crate) fn is_changed(&self) -> bool {
        matches!(self.became, Became::Created | Became::Updated | Became::Removed)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        let why = if let Became::Failed(why) = &self.became { Some(why) } else { None };
        json!({ "kind": self.kind.as_str(), "name": self.name, "at": self.at.to_string(), "result": self.became.name(), "why": why })
    }
}

/// One line each, for people; nothing is changed on a `dry_run`.
pub(crate) fn say(output: &Output, lines: &[Line], dry_run: bool) {
    for line in lines {
        let tone = match line.became {
            Became::Failed(_) => Tone::Bad,
            Became::Unchanged => Tone::Faint,
            _ => Tone::Good,
        };
        let word = format!("{}{}", if dry_run && line.is_changed() { "would be " } else { "" }, line.became.name());
        let why = if let Became::Failed(why) = &line.became { format!(": {why}") } else { String::new() };
        output.say(&format!("{} {} {} at {}{why}", output.paint(tone, &format!("{word:<9}")), line.kind.as_str(), line.name, line.at));
    }
}
