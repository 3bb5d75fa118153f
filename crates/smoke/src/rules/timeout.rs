//! `timeout`.

use crate::report::Effect;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// The answer did not come in the time of one request.
pub(crate) const RULE: Rule = Rule {
    name: "timeout",
    severity: Severity::Error,
    effect: Effect::PageFails,
    wait: Wait::Page,
    meaning: "The answer did not come in the time of one request.",
    fix: "Look at the log of the app and of the proxy; if the page really needs longer, raise timeout.",
};
