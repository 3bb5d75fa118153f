//! `rescued_asset`.

use crate::report::Effect;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// An https page writes an http address and its own policy upgrade-insecure-requests rewrites it.
pub(crate) const RULE: Rule = Rule {
    name: "rescued_asset",
    severity: Severity::Warning,
    effect: Effect::Rescued,
    wait: Wait::Confirm,
    meaning: "An https page writes an http address and its own policy upgrade-insecure-requests rewrites it.",
    fix: "Nothing is broken now; write https:// so that the page does not depend on the policy.",
};
