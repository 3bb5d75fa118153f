//! `too_many_redirects`.

use crate::report::Effect;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// There are more redirects than the plan follows.
pub(crate) const RULE: Rule = Rule {
    name: "too_many_redirects",
    severity: Severity::Error,
    effect: Effect::PageFails,
    wait: Wait::Page,
    meaning: "There are more redirects than the plan follows.",
    fix: "Give the final address in the plan, or raise max_redirects.",
};
