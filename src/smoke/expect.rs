//! Compares the last answer with what the plan expects: status, headers, body.

use crate::config::SmokePlan;
use crate::model::Finding;

use crate::smoke::client::Answer;
use crate::smoke::client::header_text;
use crate::smoke::redirect::shown;
use crate::smoke::rules;

/// Everything about `answer`, whose body reads `text`, that is not as the plan expects.
pub(super) fn findings(plan: &SmokePlan, answer: &Answer, text: Option<&str>) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(status(plan, answer));
    found.extend(plan.expect_headers.iter().filter_map(|(name, pattern)| header(answer, name, pattern)));
    found.extend(body(plan, answer, text));
    found
}

fn status(plan: &SmokePlan, answer: &Answer) -> Option<Finding> {
    if plan.status.contains(&answer.status) {
        return None;
    }
    let wanted: Vec<String> = plan.status.iter().map(u16::to_string).collect();
    let mut finding = rules::status::RULE.finding(format!("The page answers {} instead of {}.", answer.status, wanted.join(" or ")));
    match answer.status {
        401 => "Set basic_auth (or a header) in the plan, or let the check's address through without a login.",
        404 => "Check the path of the address and the proxy's route to the service.",
        502..=504 => "The proxy does not reach the app: look at the app's log, its port and the proxy's target.",
        _ => rules::status::RULE.fix,
    }
    .clone_into(&mut finding.fix);
    Some(finding)
}

fn header(answer: &Answer, name: &str, pattern: &regex::Regex) -> Option<Finding> {
    let values: Vec<String> = answer.headers.get_all(name).iter().map(header_text).collect();
    if values.iter().any(|value| pattern.is_match(value)) {
        return None;
    }
    let message = match values.first() {
        Some(value) => format!("The header {name} is \"{}\", which does not match {pattern}.", shown(value)),
        None => format!("The header {name} is missing."),
    };
    let mut finding = rules::header::RULE.finding(message);
    finding.element = Some(name.to_owned());
    Some(finding)
}

fn body(plan: &SmokePlan, answer: &Answer, text: Option<&str>) -> Option<Finding> {
    let pattern = plan.body.as_ref()?;
    let message = match text {
        Some(text) if pattern.is_match(text) => return None,
        Some(_) if answer.cut => {
            format!("The first {} bytes of the body do not match {pattern}; the rest was not read.", answer.body.len())
        }
        Some(text) => format!("The body does not match {pattern}; it begins \"{}\".", shown(text.trim_start())),
        None => format!("The body does not match {pattern}: it came packed, although nobody asked for that."),
    };
    Some(rules::body::RULE.finding(message))
}
