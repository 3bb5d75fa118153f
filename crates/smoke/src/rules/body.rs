//! `body`.

use crate::catalogue::BODY;
use crate::client::Answer;
use crate::plan::SmokePlan;
use crate::redirect::excerpt;
use crate::report::Finding;

/// Whether the body of `answer`, which reads `text`, matches the plan's pattern.
pub(crate) fn judge(plan: &SmokePlan, answer: &Answer, text: Option<&str>) -> Option<Finding> {
    let pattern = plan.body.as_ref()?;
    let message = match text {
        Some(text) if pattern.is_match(text) => return None,
        Some(_) if answer.cut => {
            format!("The first {} bytes of the body do not match {pattern}; the rest was not read.", answer.body.len())
        }
        Some(text) => format!("The body does not match {pattern}; it begins \"{}\".", excerpt(text.trim_start())),
        None => format!("The body does not match {pattern}: it cannot be decompressed."),
    };
    Some(BODY.finding(message))
}
