//! `not_checked`.

use crate::report::Effect;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// A part of the page was not looked at.
pub(crate) const RULE: Rule = Rule {
    name: "not_checked",
    severity: Severity::Note,
    effect: Effect::Nothing,
    wait: Wait::No,
    meaning: "A part of the page was not looked at.",
    fix: "Nothing need be changed; look at that part yourself.",
};
