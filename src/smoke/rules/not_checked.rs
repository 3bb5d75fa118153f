//! `not_checked`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// A part of the page was not looked at.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "not_checked",
    severity: Severity::Note,
    effect: Effect::Nothing,
    wait: Wait::No,
    meaning: "A part of the page was not looked at.",
    fix: "Nothing need be changed; look at that part yourself.",
};
