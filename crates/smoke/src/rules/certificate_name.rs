//! `certificate_name`.

use crate::report::Effect;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// The certificate is for other names.
pub(crate) const RULE: Rule = Rule {
    name: "certificate_name",
    severity: Severity::Error,
    effect: Effect::PageFails,
    wait: Wait::No,
    meaning: "The certificate is for other names.",
    fix: "Add this name to the proxy's router or virtual host, so that a certificate for it is asked for and served.",
};
