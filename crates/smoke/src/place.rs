//! Where an address leads, as browsers tell it apart: this machine, a private network, or the world.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use url::Host;
use url::Url;

/// Where an address leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// This machine: trusted, so http is allowed.
    Loopback,
    /// A private network: Chromium lets it through with a warning.
    Private,
    /// A name.
    Name,
    /// A public address: never upgraded.
    Address,
}

impl Place {
    /// Where the host of `url` is, by its name or address alone: nothing is resolved.
    pub(super) fn of(url: &Url) -> Self {
        match url.host() {
            Some(Host::Domain(name)) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                if name == "localhost" || name.ends_with(".localhost") {
                    Self::Loopback
                } else if name.rsplit('.').next() == Some("local") && name.contains('.') {
                    Self::Private
                } else {
                    Self::Name
                }
            }
            Some(Host::Ipv4(ip)) => Self::of_ip(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => Self::of_ip(IpAddr::V6(ip)),
            None => Self::Name,
        }
    }

    /// Where this IP address is.
    pub(super) fn of_ip(ip: IpAddr) -> Self {
        let (loopback, private) = match ip {
            IpAddr::V4(ip) => (ip.is_loopback(), is_private_v4(ip)),
            // An IPv4 loopback written as IPv6 is not trusted, but it is near.
            IpAddr::V6(ip) => (ip == Ipv6Addr::LOCALHOST, is_private_v6(ip)),
        };
        match (loopback, private) {
            (true, _) => Self::Loopback,
            (false, true) => Self::Private,
            (false, false) => Self::Address,
        }
    }

    /// Whether it is this machine or a private network.
    pub(super) fn is_near(self) -> bool {
        matches!(self, Self::Loopback | Self::Private)
    }
}

fn is_private_v4(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    ip.is_private() || ip.is_link_local() || a == 0 || (a == 100 && (64..128).contains(&b))
}

fn is_private_v6(ip: Ipv6Addr) -> bool {
    let mapped = ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback() || is_private_v4(ip));
    mapped || ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_unspecified()
}
