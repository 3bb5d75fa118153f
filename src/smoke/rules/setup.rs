//! `setup`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// The check itself could not begin.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "setup",
    severity: Severity::Error,
    effect: Effect::Nothing,
    wait: Wait::No,
    meaning: "The check itself could not begin.",
    fix: "Correct the smoke section of the service's configuration.",
};
