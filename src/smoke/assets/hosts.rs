//! Who may be asked: the page's own origin, the hosts that the plan allows, and nobody nearer than the page itself.

use std::io;
use std::net::IpAddr;

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
            let allowed: Vec<_> = found.into_iter().filter(|address| may_be_near || !Place::of_ip(address.ip()).is_near()).collect();
            if is_some && allowed.is_empty() {
                return Err(io::Error::other("it leads to a private address, and the page does not come from one").into());
            }
            let allowed: Addrs = Box::new(allowed.into_iter());
            Ok(allowed)
        })
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::Guarded;
    use super::Hosts;
    use super::Resolve;

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

    #[tokio::test]
    async fn a_name_that_leads_home_is_not_followed_from_afar() {
        let name = || "localhost".parse().unwrap();
        let refused = Guarded { may_be_near: false }.resolve(name()).await.err().unwrap();
        assert!(refused.to_string().contains("private address"), "{refused}");
        assert!(Guarded { may_be_near: true }.resolve(name()).await.unwrap().next().is_some());
    }
}
