//! `private_asset`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// An https page asks for something over http from a private address, which only some browsers and only visitors inside can load.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "private_asset",
    severity: Severity::Warning,
    effect: Effect::Nothing,
    wait: Wait::Confirm,
    meaning: "An https page asks for something over http from a private address, which only some browsers and only visitors inside can load.",
    fix: "Serve it from the page's own host over https.",
};
