//! `body`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// The body does not match the plan's pattern.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "body",
    severity: Severity::Error,
    effect: Effect::Nothing,
    wait: Wait::Page,
    meaning: "The body does not match the plan's pattern.",
    fix: "Look at what the page shows now; if that is right, correct body in the plan.",
};
