//! `browser_console`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// The page writes an error to the browser's console.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "browser_console",
    severity: Severity::Warning,
    effect: Effect::Nothing,
    wait: Wait::No,
    meaning: "The page writes an error to the browser's console.",
    fix: "Look at what it says; visitors may miss something.",
};
