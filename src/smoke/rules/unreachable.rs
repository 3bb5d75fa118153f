//! `unreachable`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// No connection was made, or it broke before the answer was whole.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "unreachable",
    severity: Severity::Error,
    effect: Effect::PageFails,
    wait: Wait::Page,
    meaning: "No connection was made, or it broke before the answer was whole.",
    fix: "Check that the reverse proxy runs, listens on this port and is not kept away by a firewall.",
};
