//! `bad_redirect`.

use crate::report::Effect;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// A redirect leads to something that is no web address.
pub(crate) const RULE: Rule = Rule {
    name: "bad_redirect",
    severity: Severity::Error,
    effect: Effect::PageFails,
    wait: Wait::Page,
    meaning: "A redirect leads to something that is no web address.",
    fix: "Correct the Location header that the app or the proxy sends.",
};
