//! `asset_redirect`.

use crate::report::Effect;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// Something that the page asks for is redirected to http, in a circle, or to no web address.
pub(crate) const RULE: Rule = Rule {
    name: "asset_redirect",
    severity: Severity::Error,
    effect: Effect::Missing,
    wait: Wait::Confirm,
    meaning: "Something that the page asks for is redirected to http, in a circle, or to no web address.",
    fix: "Write the final https address into the page, or correct the redirect.",
};
