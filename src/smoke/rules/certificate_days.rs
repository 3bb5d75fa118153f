//! `certificate_days`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// The certificate ends in fewer days than the plan asks for.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "certificate_days",
    severity: Severity::Error,
    effect: Effect::Nothing,
    wait: Wait::No,
    meaning: "The certificate ends in fewer days than the plan asks for.",
    fix: "Renew the certificate and look at why the proxy has not done so; or lower certificate_days.",
};
