//! `too_many_redirects`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// There are more redirects than the plan follows.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "too_many_redirects",
    severity: Severity::Error,
    effect: Effect::PageFails,
    wait: Wait::Page,
    meaning: "There are more redirects than the plan follows.",
    fix: "Give the final address in the plan, or raise max_redirects.",
};
