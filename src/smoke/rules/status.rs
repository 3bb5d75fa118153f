//! `status`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// The status is none that the plan accepts.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "status",
    severity: Severity::Error,
    effect: Effect::PageFails,
    wait: Wait::Page,
    meaning: "The status is none that the plan accepts.",
    fix: "Look at the log of the app and of the proxy; if this status is right, add it to status in the plan.",
};
