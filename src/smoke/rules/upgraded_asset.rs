//! `upgraded_asset`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// An https page asks for something over http that browsers ask for over https instead; it is missing if https does not serve it.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "upgraded_asset",
    severity: Severity::Error,
    effect: Effect::Upgraded,
    wait: Wait::Confirm,
    meaning: "An https page asks for something over http that browsers ask for over https instead; it is missing if https does not serve it.",
    fix: "Write https:// instead of http://, or an address without scheme and host.",
};
