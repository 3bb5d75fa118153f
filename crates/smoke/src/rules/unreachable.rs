//! `unreachable`.

use crate::report::Effect;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// No connection was made, or it broke before the answer was whole.
pub(crate) const RULE: Rule = Rule {
    name: "unreachable",
    severity: Severity::Error,
    effect: Effect::PageFails,
    wait: Wait::Page,
    meaning: "No connection was made, or it broke before the answer was whole.",
    fix: "Check that the reverse proxy runs, listens on this port and is not kept away by a firewall.",
};
