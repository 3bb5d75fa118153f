//! Whether the page takes connections over IPv4 and over IPv6, where its name has addresses of both kinds: visitors come by
//! either, and a check that comes by one does not see that the other is dead.

use std::io;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::plan::SmokePlan;
use crate::report::Finding;
use crate::rules;

/// Long enough for a lost first packet, which is sent again after a second.
const LONGEST: Duration = Duration::from_secs(3);

/// Tries one address of each kind of the plan's host, side by side. Nothing is asked when the plan says where to connect, or
/// when the host is an address itself; only the host of the plan's own address is, not those that it redirects to.
pub(super) async fn compare(plan: &SmokePlan) -> Option<Finding> {
    let name = plan.url.domain().filter(|_| plan.connect_to.is_none())?;
    let port = plan.url.port_or_known_default()?;
    let limit = LONGEST.min(plan.timeout);
    // That the name resolves has been seen already: what fails now is no fault of the page.
    let addresses: Vec<SocketAddr> = timeout(limit, lookup_host((name, port))).await.ok()?.ok()?.collect();
    try_both(name, &addresses, limit).await
}

/// Tries the first address of each kind in `addresses`, which `name` stands for.
pub(super) async fn try_both(name: &str, addresses: &[SocketAddr], limit: Duration) -> Option<Finding> {
    let four = *addresses.iter().find(|address| address.is_ipv4())?;
    let six = *addresses.iter().find(|address| address.is_ipv6())?;
    match tokio::join!(reach(four, limit), reach(six, limit)) {
        (Reached::Taken, Reached::NotTaken(why)) => Some(rules::address_family::lost(name, six, four, &why)),
        (Reached::NotTaken(why), Reached::Taken) => Some(rules::address_family::lost(name, four, six, &why)),
        _ => None,
    }
}

/// What came of a connection.
enum Reached {
    Taken,
    NotTaken(String),
    /// This machine has no way there, so nothing is known of the page.
    NoWay,
}

async fn reach(to: SocketAddr, limit: Duration) -> Reached {
    if !has_way(to) {
        return Reached::NoWay;
    }
    match timeout(limit, TcpStream::connect(to)).await {
        Ok(Ok(_)) => Reached::Taken,
        Ok(Err(error)) if is_theirs(&error) => Reached::NotTaken(error.to_string()),
        Ok(Err(_)) => Reached::NoWay,
        Err(_) => Reached::NotTaken(format!("it did not answer in {} ms", limit.as_millis())),
    }
}

/// Whether the other side said no. All else (ENETUNREACH, EHOSTUNREACH, EADDRNOTAVAIL, EAFNOSUPPORT, EACCES) may be this
/// machine, its network or its firewall.
fn is_theirs(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::TimedOut)
}

/// Whether this machine has a route to `to`, and an address of its own from which an answer can come back. Connecting a
/// datagram socket asks the routing table and sends nothing.
fn has_way(to: SocketAddr) -> bool {
    let any: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let from = UdpSocket::bind(any).and_then(|socket| socket.connect(to).and_then(|()| socket.local_addr()));
    from.is_ok_and(|from| can_answer(to.ip(), from.ip()))
}

/// A machine that has only local addresses of IPv6 (a container network, say) may have a default route nevertheless; what it
/// sends to the world is lost. IPv4 is translated on the way, so nothing can be told from its addresses.
fn can_answer(to: IpAddr, from: IpAddr) -> bool {
    let is_local = |ip: Ipv6Addr| ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local();
    match (to, from) {
        (IpAddr::V6(to), IpAddr::V6(from)) => is_local(to) || !is_local(from),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::can_answer;

    #[test]
    fn local_addresses_reach_local_ones_alone() {
        let table = [
            ("2001:db8::1", "2001:db8::2", true),
            ("2001:db8::1", "fd00::2", false),
            ("2001:db8::1", "fe80::2", false),
            ("fd00::1", "fd00::2", true),
            ("::1", "::1", true),
            ("192.0.2.1", "10.0.0.1", true),
        ];
        for (to, from, can) in table {
            assert_eq!(can_answer(to.parse().unwrap(), from.parse().unwrap()), can, "{from} to {to}");
        }
    }
}
