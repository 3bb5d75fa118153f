//! `address_family`.

use crate::model::Effect;
use crate::model::Severity;

use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// The name has IPv4 and IPv6 addresses, and those of one kind take no connection.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "address_family",
    severity: Severity::Warning,
    effect: Effect::Nothing,
    wait: Wait::No,
    meaning: "The name has IPv4 and IPv6 addresses, and those of one kind take no connection.",
    fix: "Let the proxy listen on both, or remove the A or AAAA record that leads nowhere.",
};
