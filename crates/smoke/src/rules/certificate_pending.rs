//! `certificate_pending`.

use crate::report::Effect;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// The proxy answers with a placeholder certificate, or with none: the real one is still being issued.
pub(crate) const RULE: Rule = Rule {
    name: "certificate_pending",
    severity: Severity::Error,
    effect: Effect::PageFails,
    wait: Wait::Certificate,
    meaning: "The proxy answers with a placeholder certificate, or with none: the real one is still being issued.",
    fix: "Look at the proxy's ACME log: the name must lead to this host and port 80 or 443 must be open; to wait longer, raise certificate_within.",
};
