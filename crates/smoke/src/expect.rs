//! Compares the last answer with what the plan expects of it; each rule says so in its own file.

use crate::client::Answer;
use crate::plan::SmokePlan;
use crate::report::Finding;
use crate::rules;

/// Everything about `answer`, whose body reads `text`, that is not as the plan expects.
pub(super) fn findings(plan: &SmokePlan, answer: &Answer, text: Option<&str>) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(rules::status::judge(plan, answer));
    found.extend(rules::header::judge(plan, answer));
    found.extend(rules::content_encoding::judge(answer));
    // That it cannot be unpacked says why it cannot be read.
    if !answer.is_broken() {
        found.extend(rules::body::judge(plan, answer, text));
        found.extend(rules::body_size::judge(plan, answer));
        found.extend(rules::json::judge(plan, answer, text));
    }
    found.extend(rules::latency::judge(plan, answer));
    found.extend(rules::http_version::judge(plan, answer));
    found
}
