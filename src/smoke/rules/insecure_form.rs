//! `insecure_form`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// A form on an https page sends what is typed into it over http; browsers warn before they send it.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "insecure_form",
    severity: Severity::Warning,
    effect: Effect::Nothing,
    wait: Wait::Confirm,
    meaning: "A form on an https page sends what is typed into it over http; browsers warn before they send it.",
    fix: "Write https:// in the form's action, or a relative address.",
};
