//! `release`.

use crate::report::Effect;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// The page does not show the release that was deployed: an old one may still be answering.
pub(crate) const RULE: Rule = Rule {
    name: "release",
    severity: Severity::Error,
    effect: Effect::Nothing,
    wait: Wait::Page,
    meaning: "The page does not show the release that was deployed: an old one may still be answering.",
    fix: "Check that the new container got the requests (the proxy's target, a second copy, a cache) and that the app shows its tag or commit.",
};
