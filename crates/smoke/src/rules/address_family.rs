//! `address_family`.

use std::net::SocketAddr;

use crate::report::Effect;
use crate::report::Finding;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// The name has IPv4 and IPv6 addresses, and those of one kind take no connection.
pub(crate) const RULE: Rule = Rule {
    name: "address_family",
    severity: Severity::Warning,
    effect: Effect::Nothing,
    wait: Wait::No,
    meaning: "The name has IPv4 and IPv6 addresses, and those of one kind take no connection.",
    fix: "Let the proxy listen on both, or remove the A or AAAA record that leads nowhere.",
};

/// `name` stands for both addresses: `other` takes a connection, and `lost` does not because of `why`.
pub(crate) fn lost(name: &str, lost: SocketAddr, other: SocketAddr, why: &str) -> Finding {
    let kind = if lost.is_ipv4() { "IPv4" } else { "IPv6" };
    let (lost, other) = (lost.ip(), other.ip());
    let message = format!("{name} stands for {other} and {lost}, and {lost} ({kind}) takes no connection: {why}.");
    let mut finding = RULE.finding(message);
    if lost.is_loopback() {
        // This machine's own name for itself: nobody else comes by it.
        finding.severity = Severity::Note;
    }
    finding
}
