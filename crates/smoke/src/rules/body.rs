//! `body`.

use crate::client::Answer;
use crate::plan::SmokePlan;
use crate::redirect::shown;
use crate::report::Effect;
use crate::report::Finding;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// The body does not match the plan's pattern.
pub(crate) const RULE: Rule = Rule {
    name: "body",
    severity: Severity::Error,
    effect: Effect::Nothing,
    wait: Wait::Page,
    meaning: "The body does not match the plan's pattern.",
    fix: "Look at what the page shows now; if that is right, correct body in the plan.",
};

/// Whether the body of `answer`, which reads `text`, matches the plan's pattern.
pub(crate) fn judge(plan: &SmokePlan, answer: &Answer, text: Option<&str>) -> Option<Finding> {
    let pattern = plan.body.as_ref()?;
    let message = match text {
        Some(text) if pattern.is_match(text) => return None,
        Some(_) if answer.cut => {
            format!("The first {} bytes of the body do not match {pattern}; the rest was not read.", answer.body.len())
        }
        Some(text) => format!("The body does not match {pattern}; it begins \"{}\".", shown(text.trim_start())),
        None => format!("The body does not match {pattern}: it cannot be unpacked."),
    };
    Some(RULE.finding(message))
}
