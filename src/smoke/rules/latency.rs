//! `latency`.

use crate::config::SmokePlan;
use crate::model::Effect;
use crate::model::Finding;
use crate::model::Severity;

use crate::smoke::client::Answer;
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

/// Whether the head of `answer` came in the plan's time. A new connection is a part of it, as for a first visit.
pub(in crate::smoke) fn judge(plan: &SmokePlan, answer: &Answer) -> Option<Finding> {
    let longest = plan.demands.max_latency?;
    (answer.head_after > longest).then(|| {
        let (took_ms, longest_ms) = (answer.head_after.as_millis(), longest.as_millis());
        RULE.finding(format!("The answer began after {took_ms} ms, with its connection and handshake; the plan allows {longest_ms} ms."))
    })
}
