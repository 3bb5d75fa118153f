//! `dns`.

use crate::report::Effect;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// The host's name does not resolve.
pub(crate) const RULE: Rule = Rule {
    name: "dns",
    severity: Severity::Error,
    effect: Effect::PageFails,
    wait: Wait::Page,
    meaning: "The host's name does not resolve.",
    fix: "Check the DNS record of the name and that this host's resolver knows it; for a name that only leads here later, set connect_to.",
};
