//! `latency`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// The answer began later than the plan allows.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "latency",
    severity: Severity::Error,
    effect: Effect::Nothing,
    wait: Wait::Page,
    meaning: "The answer began later than the plan allows.",
    fix: "Look at what the app does for this page; if it may take so long, raise max_latency_ms in the plan.",
};
