//! `address_family`.

use std::net::SocketAddr;

use crate::catalogue::ADDRESS_FAMILY;
use crate::report::Finding;
use crate::report::Severity;

/// `name` stands for both addresses: `other` takes a connection, and `lost` does not because of `why`.
pub(crate) fn lost(name: &str, lost: SocketAddr, other: SocketAddr, why: &str) -> Finding {
    let kind = if lost.is_ipv4() { "IPv4" } else { "IPv6" };
    let lost = lost.ip();
    let other = other.ip();
    let message = format!("{name} resolves to {other} and {lost}, but connecting to {lost} ({kind}) failed: {why}.");
    let mut finding = ADDRESS_FAMILY.finding(message);
    if lost.is_loopback() {
        // This machine's own name for itself: nobody else comes by it.
        finding.severity = Severity::Note;
    }
    finding
}
