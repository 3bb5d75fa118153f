//! `body_size`.

use crate::config::SmokePlan;
use crate::model::Effect;
use crate::model::Finding;
use crate::model::Severity;

use crate::smoke::client::Answer;
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

/// Whether the body of `answer` has as many bytes as the plan asks for.
pub(in crate::smoke) fn judge(plan: &SmokePlan, answer: &Answer) -> Option<Finding> {
    let (fewest, size) = (plan.demands.min_body_bytes, answer.body.len());
    if size >= fewest {
        return None;
    }
    if !answer.cut {
        return Some(RULE.finding(format!("The body has {size} bytes; the plan asks for at least {fewest}.")));
    }
    let mut finding = RULE.finding(format!("Only {size} bytes of the body were read; the plan asks for at least {fewest}."));
    "Raise max_body_kib above min_body_bytes, or lower min_body_bytes.".clone_into(&mut finding.fix);
    Some(finding)
}
