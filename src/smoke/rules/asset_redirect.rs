//! `asset_redirect`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// Something that the page asks for is redirected to http, in a circle, or to no web address.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "asset_redirect",
    severity: Severity::Error,
    effect: Effect::Missing,
    wait: Wait::Confirm,
    meaning: "Something that the page asks for is redirected to http, in a circle, or to no web address.",
    fix: "Write the final https address into the page, or correct the redirect.",
};
