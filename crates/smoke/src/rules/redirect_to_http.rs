//! `redirect_to_http`.

use crate::report::Effect;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// The page, asked over https, sends its visitors to http.
pub(crate) const RULE: Rule = Rule {
    name: "redirect_to_http",
    severity: Severity::Error,
    effect: Effect::PageFails,
    wait: Wait::Confirm,
    meaning: "The page, asked over https, sends its visitors to http.",
    fix: "Let the app see that visitors come over https: have the proxy send X-Forwarded-Proto and the app trust it; or make its redirects relative.",
};
