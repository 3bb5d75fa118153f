//! `header`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// A header that the plan expects is missing or has another value.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "header",
    severity: Severity::Error,
    effect: Effect::Nothing,
    wait: Wait::Page,
    meaning: "A header that the plan expects is missing or has another value.",
    fix: "Send the header from the app or the proxy, or correct expect_headers in the plan.",
};
