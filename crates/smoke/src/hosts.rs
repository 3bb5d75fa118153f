//! Which hosts may be contacted: the page's own, those that the plan allows, and no private addresses unless the first server had one.

use std::error::Error;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use reqwest::dns::Addrs;
use reqwest::dns::Name;
use reqwest::dns::Resolve;
use reqwest::dns::Resolving;
use url::Host;
use url::Origin;
use url::Url;

use crate::place::Place;
use crate::plan::HostPattern;
use crate::plan::SmokePlan;

/// The hosts that may be contacted for the page.
#[derive(Debug, Clone)]
pub(super) struct Hosts {
    asked: Url,
    own: Vec<Origin>,
    allowed: Vec<HostPattern>,
    /// Whether private addresses may be asked, because the server that was asked first has one.
    may_be_near: bool,
}

/// Why an address may not be contacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stray {
    /// Another host, which the plan does not name.
    Elsewhere,
    /// A private address, and the first server that was asked has a public one.
    Near,
}

impl Hosts {
    /// For the page of `plan`, when the server that was asked first has the address `first`.
    pub(super) fn of(plan: &SmokePlan, first: Option<IpAddr>) -> Self {
        let may_be_near = first.is_none_or(|ip| Place::of_ip(ip).is_near());
        Self { asked: plan.url.clone(), own: vec![plan.url.origin()], allowed: plan.allowed_hosts.clone(), may_be_near }
    }

    /// The same for what the page asks for, which in the end came from `page`.
    pub(super) fn with_page(mut self, page: &Url) -> Self {
        self.own.push(page.origin());
        self
    }

    /// Whether private addresses may be asked.
    pub(super) fn may_be_near(&self) -> bool {
        self.may_be_near
    }

    /// Whether `url` may be asked for an asset, as far as its name or address tells. Names are looked at again when they are
    /// resolved.
    pub(super) fn allows(&self, url: &Url) -> bool {
        self.own.contains(&url.origin()) || (self.is_allowed(url) && !self.is_too_near(url))
    }

    /// Whether a redirect may lead the page to `url`: on its own host, from http to https, with or without `www.`, and to
    /// hosts that the plan allows.
    ///
    /// # Errors
    /// Why it may not.
    pub(super) fn judge_hop(&self, url: &Url) -> Result<(), Stray> {
        if self.own.contains(&url.origin()) {
            return Ok(());
        }
        if !self.is_allowed(url) && !self.is_same_site(url) {
            return Err(Stray::Elsewhere);
        }
        if self.is_too_near(url) { Err(Stray::Near) } else { Ok(()) }
    }

    /// Whether `url` has a private address written into it that may not be asked.
    pub(super) fn is_too_near(&self, url: &Url) -> bool {
        !self.may_be_near && is_near_by_name(url)
    }

    /// Whether `url` has the host that the plan names, whatever its port.
    pub(super) fn is_own_host(&self, url: &Url) -> bool {
        self.asked.host() == url.host()
    }

    fn is_allowed(&self, url: &Url) -> bool {
        self.allowed.iter().any(|pattern| pattern.matches(url))
    }

    /// Who owns a name owns the one with `www.` in front of it. A port may change only on the way from http to https, where a
    /// certificate shows who answers.
    fn is_same_site(&self, url: &Url) -> bool {
        let (Some(asked), Some(next)) = (self.asked.host_str(), url.host_str()) else { return false };
        let is_www = |long: &str, short: &str| long.strip_prefix("www.") == Some(short);
        let is_sibling = self.asked.domain().is_some() && (is_www(asked, next) || is_www(next, asked));
        let is_secured = self.asked.scheme() == "http" && url.scheme() == "https";
        let is_same_port = self.asked.scheme() == url.scheme() && self.asked.port() == url.port();
        (asked == next || is_sibling) && (is_same_port || is_secured)
    }
}

/// Resolves names, and leaves private addresses out: a name may lead anywhere. What is connected to is what was judged.
pub(super) struct Guarded;

/// A name stands for private addresses alone.
#[derive(Debug, Clone, thiserror::Error)]
#[error("it points to a private address ({0}), and the page does not come from one")]
pub(super) struct LeadsHome(IpAddr);

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = guarded(name.as_str()).await?;
            let addresses: Addrs = Box::new(found.into_iter().map(|ip| (ip, 0).into()));
            Ok(addresses)
        })
    }
}

/// The public addresses of `name`.
///
/// # Errors
/// It does not resolve, or ([`LeadsHome`]) to private addresses alone.
pub(super) async fn guarded(name: &str) -> Result<Vec<IpAddr>, Box<dyn Error + Send + Sync>> {
    let found: Vec<IpAddr> = tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect();
    let public: Vec<IpAddr> = found.iter().copied().filter(|ip| !is_near(*ip)).collect();
    match found.first() {
        Some(ip) if public.is_empty() => Err(LeadsHome(*ip).into()),
        _ => Ok(public),
    }
}

fn is_near_by_name(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => is_near(ip.into()),
        Some(Host::Ipv6(ip)) => is_near(ip.into()),
        _ => Place::of(url).is_near(),
    }
}

/// Whether an address leads to this machine, to a private network, or to nobody in the world: also where an IPv4 address hides in
/// one of IPv6, and the networks of RFC 6890 that are not global.
fn is_near(ip: IpAddr) -> bool {
    let is_special = |ip: Ipv4Addr| {
        let [a, b, c, _] = ip.octets();
        (a == 198 && (b & 0xfe) == 18) || (a, b, c) == (192, 0, 0) || a >= 224
    };
    match ip {
        IpAddr::V4(v4) => is_special(v4) || Place::of_ip(ip).is_near(),
        IpAddr::V6(v6) => {
            hidden(v6).is_some_and(|hidden| is_near(hidden.into()))
                || Place::of_ip(ip).is_near()
                || ip.is_multicast()
                // Site-local of old (RFC 3879), NAT64 of a network's own (RFC 8215).
                || v6.segments()[0] & 0xffc0 == 0xfec0
                || v6.segments()[..3] == [0x64, 0xff9b, 1]
        }
    }
}

/// The IPv4 address that hides in one of IPv6: NAT64 (RFC 6052), 6to4 (RFC 3056), mapped, compatible (RFC 4291) and translated
/// (RFC 2765) ones, Teredo (RFC 4380, where it is written inverted) and ISATAP (RFC 5214).
fn hidden(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match ip.segments() {
        [0x2001, 0, _, _, _, _, high, low] => v4(!high, !low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..]
        | [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => v4(high, low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::Guarded;
    use super::HostPattern;
    use super::Hosts;
    use super::LeadsHome;
    use super::Resolve;
    use super::Stray;
    use super::is_near;
    use crate::plan::SmokePlan;

    fn plan(url: &str, allowed: &[&str]) -> SmokePlan {
        let allowed_hosts = allowed.iter().map(|host| HostPattern::parse(host).unwrap()).collect();
        SmokePlan { allowed_hosts, ..SmokePlan::new(Url::parse(url).unwrap()) }
    }

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn only_the_page_s_origin_and_allowed_hosts_are_asked() {
        let plan = plan("https://site.test/", &["cdn.test", "*.img.test", "10.0.0.7", "[64:ff9b::a00:1]", "localhost"]);
        let hosts = |first: [u8; 4]| Hosts::of(&plan, Some(first.into())).with_page(&url("https://www.site.test/de/"));
        let (far, near) = (hosts([93, 184, 216, 34]), hosts([192, 168, 0, 2]));
        for (target, from_afar, from_near) in [
            ("https://site.test/a.css", true, true),
            ("https://www.site.test/a.css", true, true),
            ("https://site.test:8443/a.css", false, false),
            ("https://cdn.test/a.css", true, true),
            ("https://a.img.test/a.png", true, true),
            ("https://other.test/a.css", false, false),
            ("https://10.0.0.7/a.css", false, true),
            ("https://[64:ff9b::a00:1]/a.css", false, true),
            ("https://localhost/a.css", false, true),
        ] {
            assert_eq!((far.allows(&url(target)), near.allows(&url(target))), (from_afar, from_near), "{target}");
        }
    }

    #[test]
    fn a_page_is_led_where_its_visitors_are() {
        let table: [(&str, &str, Result<(), Stray>); 17] = [
            ("https://site.test/", "https://site.test/de/", Ok(())),
            ("https://site.test/", "https://www.site.test/", Ok(())),
            ("https://www.site.test/", "https://site.test/", Ok(())),
            ("http://site.test/", "https://site.test/", Ok(())),
            ("http://site.test/", "https://www.site.test/", Ok(())),
            ("http://nas.test:5000/", "https://nas.test:5001/", Ok(())),
            ("https://site.test/", "https://site.test:8443/", Err(Stray::Elsewhere)),
            ("http://site.test/", "http://site.test:2375/", Err(Stray::Elsewhere)),
            ("https://site.test/", "https://login.test/", Ok(())),
            ("https://site.test/", "https://login.test:8443/", Ok(())),
            ("https://site.test/", "https://other.test/", Err(Stray::Elsewhere)),
            ("https://site.test/", "https://sub.site.test/", Err(Stray::Elsewhere)),
            ("https://site.test/", "https://www.www.site.test/", Err(Stray::Elsewhere)),
            ("https://site.test/", "https://site.test.evil.test/", Err(Stray::Elsewhere)),
            ("https://site.test/", "https://127.0.0.1/", Err(Stray::Elsewhere)),
            ("https://site.test/", "https://10.0.0.7/", Err(Stray::Near)),
            ("https://1.1.1.1/", "https://www.1.1.1.1/", Err(Stray::Elsewhere)),
        ];
        for (asked, next, wanted) in table {
            let Ok(next) = Url::parse(next) else { continue };
            let hosts = Hosts::of(&plan(asked, &["login.test", "10.0.0.7"]), Some([93, 184, 216, 34].into()));
            assert_eq!(hosts.judge_hop(&next), wanted, "{asked} {next}");
        }
        let near = Hosts::of(&plan("https://site.test/", &["10.0.0.7"]), Some([10, 0, 0, 1].into()));
        assert_eq!(near.judge_hop(&url("https://10.0.0.7/")), Ok(()));
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
            "fec0::1",
            "::ffff:10.0.0.1",
            "::ffff:0:10.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::808:808",
            "2002:a00:1::1",
            "2001:0:808:808:0:0:f5ff:fffe",
            "2606:4700::5efe:10.0.0.1",
            "2606:4700::200:5efe:10.0.0.1",
            "::10.0.0.1",
            "ff02::1",
        ];
        for ip in near {
            assert!(is_near(ip.parse().unwrap()), "{ip}");
        }
        let far = ["93.184.216.34", "198.20.0.1", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1", "2001:0:a00:1:0:0:f7f7:f7f7"];
        for ip in far {
            assert!(!is_near(ip.parse().unwrap()), "{ip}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_home_is_not_followed_from_afar() {
        let refused = Guarded.resolve("localhost".parse().unwrap()).await.err().unwrap();
        assert!(refused.is::<LeadsHome>() && refused.to_string().contains("private address"), "{refused}");
    }
}
