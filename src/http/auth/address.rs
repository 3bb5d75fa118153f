//! Where a call comes from: forwarded headers count only when a trusted proxy sends them.

use std::net::IpAddr;

use actix_web::HttpRequest;
use ipnet::IpNet;

use crate::http::auth::Via;

/// Where a call comes from.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) via: Via,
    /// The caller's own address; none over the unix socket.
    client: Option<IpAddr>,
    /// Whether a trusted proxy stands between and says that it was asked over https.
    proxy_says_https: Option<bool>,
}

impl Origin {
    pub(super) fn of(request: &HttpRequest, trusted: &[IpNet]) -> Self {
        let via = request.conn_data::<Via>().copied().unwrap_or(Via::Plain);
        let peer = request.peer_addr().map(|peer| canonical(peer.ip()));
        let Some(proxy) = peer.filter(|peer| trusted.iter().any(|net| net.contains(peer))) else {
            return Self { via, client: peer, proxy_says_https: None };
        };
        let all = |name: &str| -> Vec<String> {
            let values = request.headers().get_all(name).filter_map(|value| value.to_str().ok());
            values.flat_map(|value| value.split(',')).map(|part| part.trim().to_owned()).collect()
        };
        // RFC 7239, or the older pair of headers; the last entry is the one that our own proxy wrote.
        let forwarded = all("forwarded");
        let (hops, scheme): (Vec<String>, Option<String>) = if forwarded.is_empty() {
            (all("x-forwarded-for"), all("x-forwarded-proto").pop())
        } else {
            (forwarded.iter().filter_map(|entry| field(entry, "for")).collect(), forwarded.last().and_then(|entry| field(entry, "proto")))
        };
        let addresses: Vec<IpAddr> = hops.iter().map_while(|hop| hop_address(hop)).collect();
        let client = addresses.iter().rev().find(|ip| !trusted.iter().any(|net| net.contains(*ip))).or(addresses.first()).copied();
        Self { via, client: Some(client.unwrap_or(proxy)), proxy_says_https: Some(scheme.as_deref() == Some("https")) }
    }

    /// The user on the other end of the unix socket.
    pub(super) fn uid(&self) -> Option<u32> {
        match self.via {
            Via::Socket { uid } => Some(uid),
            Via::Tls | Via::Plain => None,
        }
    }

    /// Whether nobody on the way can read what is sent.
    pub(super) fn is_private(&self) -> bool {
        match (self.via, self.proxy_says_https) {
            (Via::Socket { .. } | Via::Tls, _) => true,
            (Via::Plain, Some(https)) => https,
            (Via::Plain, None) => self.client.is_some_and(|ip| ip.is_loopback()),
        }
    }

    /// What failed attempts are counted under: the address, or for IPv6 its /64, which is what one subscriber has.
    pub(super) fn limit_key(&self) -> String {
        match self.client {
            Some(IpAddr::V6(ip)) => {
                let s = ip.segments();
                format!("{:x}:{:x}:{:x}:{:x}::/64", s[0], s[1], s[2], s[3])
            }
            Some(IpAddr::V4(ip)) => ip.to_string(),
            None => "socket".to_owned(),
        }
    }
}

/// An IPv4 address that came over a dual-stack listener is that IPv4 address.
fn canonical(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(six) => six.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}

fn field(entry: &str, name: &str) -> Option<String> {
    entry.split(';').find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim_matches('"').to_ascii_lowercase())
    })
}

/// `1.2.3.4`, `1.2.3.4:80`, `::1` or `[::1]:80`.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let bare = hop.trim_start_matches('[');
    let bare = bare.split(']').next().unwrap_or(bare);
    let parsed = bare.parse().ok().or_else(|| bare.rsplit_once(':').and_then(|(host, _)| host.parse().ok()));
    parsed.map(canonical)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::Origin;

    fn origin(peer: &str, headers: &[(&str, &str)]) -> Origin {
        let mut request = TestRequest::default().peer_addr(peer.parse().expect("an address"));
        for (name, value) in headers {
            request = request.append_header((*name, *value));
        }
        Origin::of(&request.to_http_request(), &["10.0.0.0/8".parse().expect("a network")])
    }

    #[test]
    fn forwarded_headers_count_only_from_trusted_proxies() {
        for (peer, headers, key, private) in [
            ("192.0.2.1:1", vec![("x-forwarded-for", "127.0.0.1"), ("x-forwarded-proto", "https")], "192.0.2.1", false),
            ("10.0.0.2:1", vec![("x-forwarded-for", "127.0.0.1, 192.0.2.7"), ("x-forwarded-proto", "https")], "192.0.2.7", true),
            ("10.0.0.2:1", vec![("x-forwarded-for", "192.0.2.7"), ("x-forwarded-proto", "http")], "192.0.2.7", false),
            ("10.0.0.2:1", vec![("x-forwarded-for", "192.0.2.7, 10.0.0.9"), ("x-forwarded-proto", "https")], "192.0.2.7", true),
            ("10.0.0.2:1", vec![("forwarded", "for=\"[2001:db8:1:2:3::4]:99\";proto=https")], "2001:db8:1:2::/64", true),
            ("10.0.0.2:1", vec![], "10.0.0.2", false),
            ("127.0.0.1:1", vec![], "127.0.0.1", true),
            ("[::ffff:192.0.2.3]:1", vec![], "192.0.2.3", false),
        ] {
            let found = origin(peer, &headers);
            assert_eq!((found.limit_key().as_str(), found.is_private()), (key, private), "{peer} {headers:?}");
        }
    }
}
