//! `status`.

use crate::client::Answer;
use crate::plan::SmokePlan;
use crate::report::Effect;
use crate::report::Finding;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// The status is none that the plan accepts.
pub(crate) const RULE: Rule = Rule {
    name: "status",
    severity: Severity::Error,
    effect: Effect::PageFails,
    wait: Wait::Page,
    meaning: "The status is none that the plan accepts.",
    fix: "Look at the log of the app and of the proxy; if this status is right, add it to status in the plan.",
};

/// Whether the status of `answer` is one that the plan accepts.
pub(crate) fn judge(plan: &SmokePlan, answer: &Answer) -> Option<Finding> {
    if plan.status.contains(&answer.status) {
        return None;
    }
    let wanted: Vec<String> = plan.status.iter().map(u16::to_string).collect();
    let mut finding = RULE.finding(format!("The page answers {} instead of {}.", answer.status, wanted.join(" or ")));
    match answer.status {
        401 => "Set user and password_file (or a header) in the plan, or let the check's address through without a login.",
        404 => "Check the path of the address and the proxy's route to the service.",
        502..=504 => "The proxy does not reach the app: look at the app's log, its port and the proxy's target.",
        _ => RULE.fix,
    }
    .clone_into(&mut finding.fix);
    Some(finding)
}
