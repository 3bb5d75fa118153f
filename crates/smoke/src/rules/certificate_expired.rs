//! `certificate_expired`.

use crate::report::Effect;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// The certificate is past its end, or not valid yet.
pub(crate) const RULE: Rule = Rule {
    name: "certificate_expired",
    severity: Severity::Error,
    effect: Effect::PageFails,
    wait: Wait::No,
    meaning: "The certificate is past its end, or not valid yet.",
    fix: "Renew the certificate and look at why its renewal failed; when it is \"not valid yet\", check the clocks of both hosts.",
};
