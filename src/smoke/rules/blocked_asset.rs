//! `blocked_asset`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// An https page asks for something over http that browsers do not load there.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "blocked_asset",
    severity: Severity::Error,
    effect: Effect::Blocked,
    wait: Wait::Confirm,
    meaning: "An https page asks for something over http that browsers do not load there.",
    fix: "Write https:// instead of http://, or an address without scheme and host.",
};
