//! `status`.

use crate::catalogue::STATUS;
use crate::client::Answer;
use crate::plan::SmokePlan;
use crate::report::Finding;

/// Whether the status of `answer` is one that the plan accepts.
pub(crate) fn judge(plan: &SmokePlan, answer: &Answer) -> Option<Finding> {
    if plan.status.contains(&answer.status) {
        return None;
    }
    let wanted: Vec<String> = plan.status.iter().map(u16::to_string).collect();
    let mut finding = STATUS.finding(format!("The page answers with status {} instead of {}.", answer.status, wanted.join(" or ")));
    match answer.status {
        401 => "Set user and password_file (or a header) in the plan, or let the check's address through without a login.",
        404 => "Check the path of the address and the proxy's route to the service.",
        502..=504 => "The proxy cannot reach the app: check the app's log, its port and the proxy's target.",
        _ => STATUS.fix,
    }
    .clone_into(&mut finding.fix);
    Some(finding)
}
