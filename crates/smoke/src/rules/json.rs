//! `json`.

use serde_json::Value;

use crate::catalogue::JSON;
use crate::client::Answer;
use crate::plan::SmokePlan;
use crate::redirect::excerpt;
use crate::report::Finding;

/// What the plan expects of the JSON in `answer`, whose body reads `text`, and does not find there.
pub(crate) fn judge(plan: &SmokePlan, answer: &Answer, text: Option<&str>) -> Vec<Finding> {
    let expected = &plan.demands.json;
    if expected.is_empty() {
        return Vec::new();
    }
    match parsed(answer, text) {
        Ok(json) => expected.iter().filter_map(|(pointer, pattern)| missed(&json, pointer, pattern)).collect(),
        Err(finding) => vec![*finding],
    }
}

fn parsed(answer: &Answer, text: Option<&str>) -> Result<Value, Box<Finding>> {
    if answer.cut {
        let read = answer.body.len();
        let mut finding = JSON.finding(format!("Only the first {read} bytes of the body were read, so the JSON is incomplete."));
        "Raise max_body_kib in the plan, or use expect_json on an address with a smaller response.".clone_into(&mut finding.fix);
        return Err(Box::new(finding));
    }
    let Some(text) = text else {
        return Err(Box::new(JSON.finding("The body cannot be decompressed, so it cannot be read as JSON.".to_owned())));
    };
    // A byte order mark is no part of JSON, and some servers send one (RFC 8259, section 8.1).
    serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|_| {
        let begins =
            if text.trim().is_empty() { "it is empty".to_owned() } else { format!("it begins \"{}\"", excerpt(text.trim_start())) };
        Box::new(JSON.finding(format!("The body is not JSON: {begins}.")))
    })
}

fn missed(json: &Value, pointer: &str, pattern: &regex::Regex) -> Option<Finding> {
    let message = match json.pointer(pointer) {
        None => format!("The JSON has no value at {pointer}."),
        Some(value) => {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            if pattern.is_match(&value) {
                return None;
            }
            format!("The JSON value at {pointer} is \"{}\", which does not match {pattern}.", excerpt(&value))
        }
    };
    let mut finding = JSON.finding(message);
    finding.element = Some(pointer.to_owned());
    Some(finding)
}
