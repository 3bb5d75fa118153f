//! `truncated`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// Only the first part of the page was looked at.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "truncated",
    severity: Severity::Warning,
    effect: Effect::Nothing,
    wait: Wait::No,
    meaning: "Only the first part of the page was looked at.",
    fix: "Raise max_body_bytes in the plan so that the whole page is read.",
};
