//! `browser_exception`.

use crate::report::Effect;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// A script of the page ends with an exception that nothing catches.
pub(crate) const RULE: Rule = Rule {
    name: "browser_exception",
    severity: Severity::Error,
    effect: Effect::Nothing,
    wait: Wait::No,
    meaning: "A script of the page ends with an exception that nothing catches.",
    fix: "Look at the script where the message says; a part of the page does not work.",
};
