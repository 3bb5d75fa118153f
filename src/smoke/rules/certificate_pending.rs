//! `certificate_pending`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// The proxy answers with a placeholder certificate, or with none: the real one is still being issued.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "certificate_pending",
    severity: Severity::Error,
    effect: Effect::PageFails,
    wait: Wait::Certificate,
    meaning: "The proxy answers with a placeholder certificate, or with none: the real one is still being issued.",
    fix: "Look at the proxy's ACME log: the name must lead to this host and port 80 or 443 must be open; to wait longer, raise certificate_within.",
};
