//! `certificate_untrusted`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// No browser trusts whoever issued the certificate.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "certificate_untrusted",
    severity: Severity::Error,
    effect: Effect::PageFails,
    wait: Wait::No,
    meaning: "No browser trusts whoever issued the certificate.",
    fix: "Serve a certificate of a public authority together with its intermediate; for an authority of your own, set ca_file.",
};
