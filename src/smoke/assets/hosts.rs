//! Who may be asked: the page's own origin, the hosts that the plan allows, and nobody nearer than the page itself.

use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;

use reqwest::dns::Addrs;
use reqwest::dns::Name;
use reqwest::dns::Resolve;
use reqwest::dns::Resolving;
use url::Origin;
use url::Url;

use crate::config::HostPattern;

use crate::smoke::place::Place;

/// Who may be asked for assets.
#[derive(Debug, Clone)]
pub(super) struct Hosts {
    own: Vec<Origin>,
    allowed: Vec<HostPattern>,
    /// Whether private addresses may be asked, because the page itself came from one.
    pub(super) may_be_near: bool,
}

impl Hosts {
    /// For a page that was asked at `asked`, came from `page`, and was served by `server`.
    pub(super) fn new(asked: &Url, page: &Url, server: Option<IpAddr>, allowed: &[HostPattern]) -> Self {
        let may_be_near = server.is_some_and(|ip| Place::of_ip(ip).is_near());
        Self { own: vec![page.origin(), asked.origin()], allowed: allowed.to_vec(), may_be_near }
    }

    /// Whether `url` may be asked, as far as its name or address tells. Names are looked at again when they are resolved.
    pub(super) fn allows(&self, url: &Url) -> bool {
        let origin = url.origin();
        if self.own.contains(&origin) {
            return true;
        }
        (self.may_be_near || !Place::of(url).is_near()) && self.allowed.iter().any(|pattern| pattern.matches(url))
    }

    /// How names are resolved.
    pub(super) fn resolver(&self) -> Guarded {
        Guarded { may_be_near: self.may_be_near }
    }
}

/// Resolves names, and leaves private addresses out where the page is public: a name may lead anywhere.
pub(super) struct Guarded {
    may_be_near: bool,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let may_be_near = self.may_be_near;
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let is_some = !found.is_empty();
            let allowed: Vec<_> = found.into_iter().filter(|address| may_be_near || !is_near(address.ip())).collect();
            if is_some && allowed.is_empty() {
                return Err(io::Error::other("it leads to a private address, and the page does not come from one").into());
            }
            let allowed: Addrs = Box::new(allowed.into_iter());
            Ok(allowed)
        })
    }
}

/// Whether an address leads to this machine, to a private network, or to nobody in the world: also where an IPv4 address hides in
/// one of IPv6 (RFC 6052, RFC 3056, RFC 4291), and the networks of RFC 6890 that are not global.
fn is_near(ip: IpAddr) -> bool {
    let hidden = match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) => match ip.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] | [0, 0, 0, 0, 0, 0, high, low] => {
                Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
            }
            _ => None,
        },
    };
    let is_special = |ip: Ipv4Addr| {
        let [a, b, c, _] = ip.octets();
        (a == 198 && (b & 0xfe) == 18) || (a, b, c) == (192, 0, 0) || a >= 224
    };
    match (ip, hidden) {
        (_, Some(hidden)) if is_near(IpAddr::V4(hidden)) => true,
        (IpAddr::V4(ip), _) if is_special(ip) => true,
        _ => Place::of_ip(ip).is_near() || ip.is_multicast(),
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::Guarded;
    use super::Hosts;
    use super::Resolve;
    use super::is_near;

    #[test]
    fn only_the_page_s_origin_and_allowed_hosts_are_asked() {
        let url = |text: &str| Url::parse(text).unwrap();
        let allowed: Vec<_> = ["cdn.test", "*.img.test", "10.0.0.7"].map(|host| crate::config::HostPattern::parse(host).unwrap()).into();
        let page = (url("https://site.test/"), url("https://www.site.test/de/"));
        let far = Hosts::new(&page.0, &page.1, Some([93, 184, 216, 34].into()), &allowed);
        let near = Hosts::new(&page.0, &page.1, Some([192, 168, 0, 2].into()), &allowed);
        for (target, from_afar, from_near) in [
            ("https://site.test/a.css", true, true),
            ("https://www.site.test/a.css", true, true),
            ("https://site.test:8443/a.css", false, false),
            ("https://cdn.test/a.css", true, true),
            ("https://a.img.test/a.png", true, true),
            ("https://other.test/a.css", false, false),
            ("https://10.0.0.7/a.css", false, true),
        ] {
            assert_eq!((far.allows(&url(target)), near.allows(&url(target))), (from_afar, from_near), "{target}");
        }
    }

    #[test]
    fn addresses_that_lead_home_are_known_in_every_dress() {
        let near = [
            "127.0.0.1",
            "10.1.2.3",
            "169.254.169.254",
            "100.64.0.1",
            "198.18.0.1",
            "192.0.0.8",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::1",
            "::10.0.0.1",
            "ff02::1",
        ];
        for ip in near {
            assert!(is_near(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["93.184.216.34", "198.20.0.1", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1"] {
            assert!(!is_near(ip.parse().unwrap()), "{ip}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_home_is_not_followed_from_afar() {
        let name = || "localhost".parse().unwrap();
        let refused = Guarded { may_be_near: false }.resolve(name()).await.err().unwrap();
        assert!(refused.to_string().contains("private address"), "{refused}");
        assert!(Guarded { may_be_near: true }.resolve(name()).await.unwrap().next().is_some());
    }
}
