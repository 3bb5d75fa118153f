//! `latency`.

use crate::catalogue::LATENCY;
use crate::client::Answer;
use crate::plan::SmokePlan;
use crate::report::Finding;

/// Whether the head of `answer` came in the plan's time. A new connection is a part of it, as for a first visit.
pub(crate) fn judge(plan: &SmokePlan, answer: &Answer) -> Option<Finding> {
    let longest = plan.demands.max_latency?;
    (answer.head_after > longest).then(|| {
        let took_ms = answer.head_after.as_millis();
        let longest_ms = longest.as_millis();
        LATENCY.finding(format!(
            "The response started after {took_ms} ms, including connection and TLS handshake; the plan allows {longest_ms} ms."
        ))
    })
}
