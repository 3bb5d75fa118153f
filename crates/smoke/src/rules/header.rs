//! `header`.

use crate::catalogue::HEADER;
use crate::client::Answer;
use crate::plan::SmokePlan;
use crate::redirect::excerpt;
use crate::report::Finding;
use crate::written::header_text;

/// The headers of `answer` that are not as the plan expects.
pub(crate) fn judge(plan: &SmokePlan, answer: &Answer) -> Vec<Finding> {
    plan.expect_headers.iter().filter_map(|(name, pattern)| missed(answer, name, pattern)).collect()
}

fn missed(answer: &Answer, name: &str, pattern: &regex::Regex) -> Option<Finding> {
    let values: Vec<String> = answer.headers.get_all(name).iter().map(header_text).collect();
    if values.iter().any(|value| pattern.is_match(value)) {
        return None;
    }
    let message = match values.first() {
        Some(value) => format!("The header {name} is \"{}\", which does not match {pattern}.", excerpt(value)),
        None => format!("The header {name} is missing."),
    };
    let mut finding = HEADER.finding(message);
    finding.element = Some(name.to_owned());
    Some(finding)
}
