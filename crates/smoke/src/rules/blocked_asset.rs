//! `blocked_asset`.

use crate::report::Effect;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// An https page asks for something over http that browsers do not load there.
pub(crate) const RULE: Rule = Rule {
    name: "blocked_asset",
    severity: Severity::Error,
    effect: Effect::Blocked,
    wait: Wait::Confirm,
    meaning: "An https page asks for something over http that browsers do not load there.",
    fix: "Write https:// instead of http://, or an address without scheme and host.",
};
