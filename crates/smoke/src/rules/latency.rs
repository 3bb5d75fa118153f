//! `latency`.

use crate::client::Answer;
use crate::plan::SmokePlan;
use crate::report::Effect;
use crate::report::Finding;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// The answer began later than the plan allows.
pub(crate) const RULE: Rule = Rule {
    name: "latency",
    severity: Severity::Error,
    effect: Effect::Nothing,
    wait: Wait::Page,
    meaning: "The answer began later than the plan allows.",
    fix: "Look at what the app does for this page; if it may take so long, raise max_latency_ms in the plan.",
};

/// Whether the head of `answer` came in the plan's time. A new connection is a part of it, as for a first visit.
pub(crate) fn judge(plan: &SmokePlan, answer: &Answer) -> Option<Finding> {
    let longest = plan.demands.max_latency?;
    (answer.head_after > longest).then(|| {
        let (took_ms, longest_ms) = (answer.head_after.as_millis(), longest.as_millis());
        RULE.finding(format!("The answer began after {took_ms} ms, with its connection and handshake; the plan allows {longest_ms} ms."))
    })
}
