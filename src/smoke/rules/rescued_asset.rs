//! `rescued_asset`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// An https page writes an http address and its own policy upgrade-insecure-requests rewrites it.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "rescued_asset",
    severity: Severity::Warning,
    effect: Effect::Rescued,
    wait: Wait::Confirm,
    meaning: "An https page writes an http address and its own policy upgrade-insecure-requests rewrites it.",
    fix: "Nothing is broken now; write https:// so that the page does not depend on the policy.",
};
