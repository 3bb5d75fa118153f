//! `private_asset`.

use crate::report::Effect;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// An https page asks for something over http from a private address, which only some browsers and only visitors inside can load.
pub(crate) const RULE: Rule = Rule {
    name: "private_asset",
    severity: Severity::Warning,
    effect: Effect::Nothing,
    wait: Wait::Confirm,
    meaning: "An https page asks for something over http from a private address, which only some browsers and only visitors inside can load.",
    fix: "Serve it from the page's own host over https.",
};
