//! `setup`.

use crate::report::Effect;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// The check itself could not begin.
pub(crate) const RULE: Rule = Rule {
    name: "setup",
    severity: Severity::Error,
    effect: Effect::Nothing,
    wait: Wait::No,
    meaning: "The check itself could not begin.",
    fix: "Correct the smoke section of the service's configuration.",
};
