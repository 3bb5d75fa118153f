//! `certificate_untrusted`.

use crate::report::Effect;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// No browser trusts whoever issued the certificate.
pub(crate) const RULE: Rule = Rule {
    name: "certificate_untrusted",
    severity: Severity::Error,
    effect: Effect::PageFails,
    wait: Wait::No,
    meaning: "No browser trusts whoever issued the certificate.",
    fix: "Serve a certificate of a public authority together with its intermediate; for an authority of your own, set ca_file.",
};
