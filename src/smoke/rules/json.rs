//! `json`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// A value of the JSON answer is missing or is not what the plan expects.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "json",
    severity: Severity::Error,
    effect: Effect::Nothing,
    wait: Wait::Page,
    meaning: "A value of the JSON answer is missing or is not what the plan expects.",
    fix: "Look at what the address answers now; if that is right, correct expect_json in the plan.",
};
