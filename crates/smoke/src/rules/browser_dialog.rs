//! `browser_dialog`.

use crate::report::Effect;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// The page opens a dialog before its visitor has done anything.
pub(crate) const RULE: Rule = Rule {
    name: "browser_dialog",
    severity: Severity::Warning,
    effect: Effect::Nothing,
    wait: Wait::No,
    meaning: "The page opens a dialog before its visitor has done anything.",
    fix: "Take the alert(), confirm() or prompt() out of what runs at load, or show its text on the page.",
};
