//! `certificate_days`.

use crate::report::Effect;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// The certificate ends in fewer days than the plan asks for.
pub(crate) const RULE: Rule = Rule {
    name: "certificate_days",
    severity: Severity::Error,
    effect: Effect::Nothing,
    wait: Wait::No,
    meaning: "The certificate ends in fewer days than the plan asks for.",
    fix: "Renew the certificate and look at why the proxy has not done so; or lower certificate_days.",
};
