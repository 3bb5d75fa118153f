//! `browser_console`.

use crate::report::Effect;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// The page writes an error to the browser's console.
pub(crate) const RULE: Rule = Rule {
    name: "browser_console",
    severity: Severity::Warning,
    effect: Effect::Nothing,
    wait: Wait::No,
    meaning: "The page writes an error to the browser's console.",
    fix: "Look at what it says; visitors may miss something.",
};
