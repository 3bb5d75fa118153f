//! `body_size`.

use crate::catalogue::BODY_SIZE;
use crate::client::Answer;
use crate::plan::SmokePlan;
use crate::report::Finding;

/// Whether the body of `answer` has as many bytes as the plan asks for.
pub(crate) fn judge(plan: &SmokePlan, answer: &Answer) -> Option<Finding> {
    let fewest = plan.demands.min_body_bytes;
    let size = answer.body.len();
    if fewest == 1 {
        return empty(answer);
    }
    if size >= fewest || answer.is_broken() {
        return None;
    }
    if !answer.cut {
        return Some(BODY_SIZE.finding(format!("The body has {size} bytes; the plan requires at least {fewest}.")));
    }
    let mut finding = BODY_SIZE.finding(format!("Only {size} bytes of the body were read; the plan requires at least {fewest}."));
    "Raise max_body_kib above min_body_bytes, or lower min_body_bytes.".clone_into(&mut finding.fix);
    Some(finding)
}

/// An answer that should have content and has none. Those that never have any (RFC 9110), and redirects, say what they say by
/// their head.
fn empty(answer: &Answer) -> Option<Finding> {
    let has_content = !matches!(answer.status, 100..200 | 204 | 205 | 300..400);
    let is_empty = answer.body.trim_ascii().is_empty() && !answer.cut && !answer.is_broken();
    (has_content && is_empty).then(|| {
        let mut finding = BODY_SIZE.finding("The page is empty: visitors see nothing.".to_owned());
        "Find out why the app answers without content; if that is right (for a health check, say), set min_body_bytes to 0."
            .clone_into(&mut finding.fix);
        finding
    })
}
