//! `bad_redirect`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// A redirect leads to something that is no web address.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "bad_redirect",
    severity: Severity::Error,
    effect: Effect::PageFails,
    wait: Wait::Page,
    meaning: "A redirect leads to something that is no web address.",
    fix: "Correct the Location header that the app or the proxy sends.",
};
