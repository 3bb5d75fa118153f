//! Where the browser may go: as far as the check itself would, and no nearer than the server that was asked first.
//!
//! Every request is held until it is judged here. Where the page is public, the hosts that it may lead to are pinned to the
//! addresses at which the check met them (`program.rs`), so that no name can lead elsewhere meanwhile; other names are resolved
//! here first, and Chromium judges the address that it connects to once more by itself (Local Network Access).

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;
use url::Url;

use crate::hosts;
use crate::hosts::Hosts;
use crate::hosts::LeadsHome;
use crate::hosts::Stray;
use crate::place::Place;
use crate::plan::SmokePlan;

/// This many refusals are told.
const MOST: usize = 50;

/// What was refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Refused {
    /// The page leads its visitors from https to this http address.
    Downgrade(Url),
    /// The page leads its visitors somewhere else.
    Left(Url, Stray),
    /// Something that the page asks for is redirected to another host.
    Redirected(Url),
    /// Something that the page asks for is at a private address.
    Near(Url),
}

impl Refused {
    /// The address that was not asked.
    pub(super) fn url(&self) -> &Url {
        match self {
            Self::Downgrade(url) | Self::Left(url, _) | Self::Redirected(url) | Self::Near(url) => url,
        }
    }

    /// Whether it would have taken the page's place.
    pub(super) fn is_navigation(&self) -> bool {
        matches!(self, Self::Downgrade(_) | Self::Left(..))
    }
}

/// The limits of one rendered check.
pub(crate) struct Fence {
    page: Url,
    pub(super) hosts: Hosts,
    /// Hosts that are pinned to an address which was judged.
    pinned: BTreeSet<String>,
    /// Which names stand for private addresses alone.
    leads_home: BTreeMap<String, bool>,
    /// The last address of each chain of redirects.
    chains: BTreeMap<String, Url>,
    pub(super) refused: BTreeSet<Refused>,
}

impl Fence {
    /// For the page of `plan`, on whose way the check met these hosts.
    pub(super) fn new(plan: &SmokePlan, met: &[(String, IpAddr)]) -> Self {
        let hosts = Hosts::of(plan, met.first().map(|(_, ip)| *ip));
        let pinned = met.iter().map(|(host, _)| host.clone()).collect();
        Self { page: plan.url.clone(), hosts, pinned, leads_home: BTreeMap::new(), chains: BTreeMap::new(), refused: BTreeSet::new() }
    }

    /// What to refuse of a request that is held, if anything is; `main` is the page's own frame.
    pub(super) async fn judge(&mut self, params: &Value, main: &Value) -> Option<Refused> {
        let url = Url::parse(params["request"]["url"].as_str().unwrap_or_default()).ok()?;
        if !matches!(url.scheme(), "http" | "https" | "ws" | "wss") {
            return None;
        }
        let is_page = params["resourceType"] == "Document" && params["frameId"] == *main;
        let before = match params["networkId"].as_str() {
            Some(chain) => self.chains.insert(chain.to_owned(), url.clone()),
            None => None,
        };
        // Not every hop names the one before it (those of fetch() do not), but all of a chain share its number.
        let before = before.filter(|before| *before != url);
        let refused = if is_page { self.page_goes(&url) } else { self.asset_goes(&url, before.as_ref()) };
        let refused = match refused {
            None if self.leads_home(&url).await => Some(if is_page { Refused::Left(url, Stray::Near) } else { Refused::Near(url) }),
            refused => refused,
        };
        if let Some(refused) = &refused
            && self.refused.len() < MOST
        {
            self.refused.insert(refused.clone());
        }
        refused
    }

    fn page_goes(&self, url: &Url) -> Option<Refused> {
        if self.page.scheme() == "https" && url.scheme() == "http" && Place::of(url) != Place::Loopback {
            return Some(Refused::Downgrade(url.clone()));
        }
        if let Err(stray) = self.hosts.judge_hop(url) {
            return Some(Refused::Left(url.clone(), stray));
        }
        // What the check itself did not meet is not pinned, and so it may lead anywhere by the time it is asked.
        let is_pinned = self.hosts.may_be_near() || url.host_str().is_some_and(|host| self.pinned.contains(host));
        (!is_pinned).then(|| Refused::Left(url.clone(), Stray::Elsewhere))
    }

    /// What a page names itself, its visitors' browsers ask for; where a redirect leads from there is judged.
    fn asset_goes(&self, url: &Url, before: Option<&Url>) -> Option<Refused> {
        let stays =
            before.is_none_or(|before| before.host() == url.host() && before.port_or_known_default() == url.port_or_known_default());
        let is_secured = before.is_some_and(|before| before.host() == url.host() && before.scheme() == "http" && url.scheme() == "https");
        let may = stays || is_secured || self.hosts.allows(url) || self.hosts.judge_hop(url).is_ok();
        (!may).then(|| Refused::Redirected(url.clone()))
    }

    async fn leads_home(&mut self, url: &Url) -> bool {
        if self.hosts.may_be_near() {
            return false;
        }
        let Some(host) = url.host_str().filter(|host| !self.pinned.contains(*host)) else { return false };
        if self.hosts.is_too_near(url) {
            return true;
        }
        let Some(name) = url.domain() else { return false };
        if let Some(known) = self.leads_home.get(host) {
            return *known;
        }
        // One that does not resolve here is the browser's to report.
        let leads_home = hosts::guarded(name).await.is_err_and(|error| error.is::<LeadsHome>());
        self.leads_home.insert(host.to_owned(), leads_home);
        leads_home
    }
}
