//! `body_size`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// The page is smaller than the plan allows.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "body_size",
    severity: Severity::Error,
    effect: Effect::Nothing,
    wait: Wait::Page,
    meaning: "The page is smaller than the plan allows.",
    fix: "Look at what the page shows now; if it is right and so small, lower min_body_bytes in the plan.",
};
