//! `insecure_form`.

use crate::report::Effect;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// A form on an https page sends what is typed into it over http; browsers warn before they send it.
pub(crate) const RULE: Rule = Rule {
    name: "insecure_form",
    severity: Severity::Warning,
    effect: Effect::Nothing,
    wait: Wait::Confirm,
    meaning: "A form on an https page sends what is typed into it over http; browsers warn before they send it.",
    fix: "Write https:// in the form's action, or a relative address.",
};
