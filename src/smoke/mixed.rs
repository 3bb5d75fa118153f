//! Mixed content: what a browser does with each http address of an https page.

use std::collections::HashMap;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use reqwest::header::CONTENT_TYPE;
use url::Host;
use url::Url;

use crate::model::Finding;
use crate::model::Severity;

use crate::smoke::client::Answer;
use crate::smoke::client::header_text;
use crate::smoke::page;
use crate::smoke::page::Asset;
use crate::smoke::page::AssetKind;
use crate::smoke::page::Malformed;
use crate::smoke::page::PageHeaders;
use crate::smoke::page::PageScan;
use crate::smoke::page::When;
use crate::smoke::redirect::shown;
use crate::smoke::rules;
use crate::smoke::rules::Rule;

/// A report lists so many findings about assets; a page with more has one cause for them.
const MOST: usize = 200;

/// What the page's assets came to.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// How many assets the page asks for.
    pub(super) assets: u32,
    /// What is not right.
    pub(super) findings: Vec<Finding>,
    /// How many findings more there were.
    pub(super) omitted: u32,
}

/// Looks at an accepted answer whose body reads `text`.
pub(super) async fn look(answer: Answer, text: Option<String>) -> Seen {
    match kind_of(&answer, text.as_deref()) {
        Kind::Html | Kind::Xhtml => {}
        Kind::Other => return Seen::default(),
    }
    let Some(text) = text else {
        return note(Severity::Warning, "The page came packed, although nobody asked for that; its assets are not looked at.");
    };
    let url = answer.url.clone();
    let headers = page_headers(&answer);
    // A large page takes a tenth of a second, which the other tasks of this thread should not wait.
    let scanned = tokio::task::spawn_blocking(move || page::scan(&text, &url, &headers)).await;
    let Ok(scan) = scanned else { return note(Severity::Warning, "The page could not be taken apart; its assets are not looked at.") };
    let mut seen = judge(&scan, &answer.url);
    // One that was cut is never whole.
    if let Some(fault) = scan.malformed.as_ref().filter(|_| !answer.cut) {
        seen.findings.insert(0, malformed(fault));
    }
    if answer.cut {
        seen.findings
            .push(rules::truncated::RULE.finding(format!("Only the first {} bytes of the page were looked at.", answer.body.len())));
    }
    if scan.incomplete {
        let message = "The page's elements stand so deep in one another that only its first part was looked at.";
        let mut finding = rules::truncated::RULE.finding(message.to_owned());
        "Look at why the page nests its elements thousands deep.".clone_into(&mut finding.fix);
        seen.findings.push(finding);
    }
    seen
}

fn note(severity: Severity, message: &str) -> Seen {
    let finding = Finding { severity, ..rules::not_checked::RULE.finding(message.to_owned()) };
    Seen { findings: vec![finding], ..Seen::default() }
}

fn malformed(fault: &Malformed) -> Finding {
    let message = format!("The page is XHTML and browsers stop reading it in line {}: {}.", fault.line, fault.why);
    let mut finding = rules::malformed_page::RULE.finding(message.chars().filter(|c| !c.is_control()).take(2000).collect());
    finding.line = Some(fault.line);
    finding
}

#[derive(PartialEq, Eq)]
enum Kind {
    Html,
    Xhtml,
    Other,
}

fn kind_of(answer: &Answer, text: Option<&str>) -> Kind {
    let content_type = answer.header(CONTENT_TYPE).unwrap_or_default();
    match content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "text/html" => Kind::Html,
        "application/xhtml+xml" => Kind::Xhtml,
        "" if text.is_some_and(looks_like_html) => Kind::Html,
        _ => Kind::Other,
    }
}

/// Browsers look at the first bytes when the type is missing.
fn looks_like_html(text: &str) -> bool {
    let start = text.trim_start_matches(['\u{feff}', ' ', '\t', '\n', '\r', '\u{c}']);
    let begins = |word: &str| start.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
    ["<!doctype html", "<html", "<head", "<body", "<script", "<div", "<!--"].iter().any(|word| begins(word))
}

fn page_headers(answer: &Answer) -> PageHeaders {
    let values = |name: &str| answer.headers.get_all(name).iter().map(header_text).collect::<Vec<_>>();
    let policies = values("content-security-policy");
    PageHeaders {
        upgrades: policies.iter().any(|policy| page::upgrades_insecure_requests(policy)),
        policies,
        encoding: page::encoding_of(&answer.body, answer.header(CONTENT_TYPE).as_deref()),
        links: values("link"),
        is_xhtml: kind_of(answer, None) == Kind::Xhtml,
    }
}

/// The findings of a scan of the page at `page`. A page that is itself served over http mixes nothing.
pub(super) fn judge(scan: &PageScan, page: &Url) -> Seen {
    let assets = scan.assets.iter().filter(|asset| asset.kind != AssetKind::Form).count() as u32;
    let mut seen = Seen { assets, ..Seen::default() };
    if page.scheme() != "https" {
        return seen;
    }
    let mut found: Vec<(Finding, u32)> = Vec::new();
    let mut places = HashMap::new();
    for asset in &scan.assets {
        let Some(finding) = finding(asset, page) else { continue };
        let key = (finding.rule.clone(), finding.resolved.clone(), finding.element.clone(), finding.severity == Severity::Error);
        let at = *places.entry(key).or_insert(found.len());
        match found.get_mut(at) {
            Some((_, times)) => *times += 1,
            None => found.push((finding, 1)),
        }
    }
    found.sort_by_key(|(finding, _)| std::cmp::Reverse(finding.severity));
    seen.omitted = found.len().saturating_sub(MOST) as u32;
    seen.findings = found.into_iter().take(MOST).map(|(finding, times)| repeated(finding, times)).collect();
    seen
}

fn repeated(mut finding: Finding, times: u32) -> Finding {
    if times > 1 {
        finding.message = format!("{} It stands there {times} times.", finding.message);
    }
    finding
}

fn finding(asset: &Asset, page: &Url) -> Option<Finding> {
    let target = asset.resolved.as_ref()?;
    let rule = rule(asset, target)?;
    let mut finding = rule.finding(message(asset, target, &rule));
    if asset.when != When::Load && finding.severity == Severity::Error {
        finding.severity = Severity::Warning;
    }
    if let Some(fix) = fix(asset, target, page, &rule) {
        finding.fix = fix;
    }
    finding.url = Some(shown_url(&asset.written));
    finding.resolved = Some(shown_url(target.as_str()));
    finding.element = Some(asset.element.clone());
    finding.line = (asset.line > 0).then_some(asset.line);
    finding.column = (asset.column > 0).then_some(asset.column);
    finding.sheet = asset.sheet.as_deref().map(str::to_owned);
    Some(finding)
}

fn shown_url(url: &str) -> String {
    url.chars().take(2000).filter(|c| !c.is_control()).collect()
}

fn rule(asset: &Asset, target: &Url) -> Option<Rule> {
    if target.scheme() != "http" {
        return None;
    }
    let place = place(target);
    if place == Place::Loopback {
        return None;
    }
    Some(match (asset.kind, place) {
        (AssetKind::Form, _) => rules::insecure_form::RULE,
        _ if asset.rescued => rules::rescued_asset::RULE,
        (_, Place::Private) => rules::private_asset::RULE,
        (kind, Place::Name) if kind.is_upgraded() => rules::upgraded_asset::RULE,
        _ => rules::blocked_asset::RULE,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// This machine: trusted, so http is allowed.
    Loopback,
    /// A private network: Chromium lets it through with a warning.
    Private,
    /// A name.
    Name,
    /// A public address: never upgraded.
    Address,
}

fn place(url: &Url) -> Place {
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            if name == "localhost" || name.ends_with(".localhost") {
                Place::Loopback
            } else if name.rsplit('.').next() == Some("local") && name.contains('.') {
                Place::Private
            } else {
                Place::Name
            }
        }
        Some(Host::Ipv4(ip)) => address_place(IpAddr::V4(ip)),
        Some(Host::Ipv6(ip)) => address_place(IpAddr::V6(ip)),
        None => Place::Name,
    }
}

fn address_place(ip: IpAddr) -> Place {
    let (loopback, private) = match ip {
        IpAddr::V4(ip) => (ip.is_loopback(), is_private_v4(ip)),
        // An IPv4 loopback written as IPv6 is not trusted, but it is near.
        IpAddr::V6(ip) => (ip == Ipv6Addr::LOCALHOST, is_private_v6(ip)),
    };
    match (loopback, private) {
        (true, _) => Place::Loopback,
        (false, true) => Place::Private,
        (false, false) => Place::Address,
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

fn message(asset: &Asset, target: &Url, rule: &Rule) -> String {
    let target = shown(target.as_str());
    let place = if asset.line > 0 { format!("{}, line {}", asset.element, asset.line) } else { asset.element.clone() };
    let what = match rule.name {
        name if name == rules::blocked_asset::RULE.name => format!("A browser does not load {target} ({place})"),
        name if name == rules::upgraded_asset::RULE.name => format!("A browser asks over https for {target} ({place})"),
        name if name == rules::rescued_asset::RULE.name => format!("Only the page's policy makes {target} ({place}) an https address"),
        name if name == rules::insecure_form::RULE.name => format!("What is typed into the form goes to {target} ({place})"),
        _ => format!("{target} ({place}) is asked for from a private address"),
    };
    let when = match (asset.kind, asset.when) {
        (AssetKind::Form, _) | (_, When::Load) => "",
        (_, When::Later) => ", when it comes to need it",
        (_, When::Scripted) => ", when a script makes its rule match",
    };
    format!("{what}{when}: the page is https and this is http.")
}

fn fix(asset: &Asset, target: &Url, page: &Url, rule: &Rule) -> Option<String> {
    if rule.name == rules::private_asset::RULE.name || rule.name == rules::rescued_asset::RULE.name {
        return None;
    }
    let written_in_full = Url::parse(&asset.written).is_ok();
    if !written_in_full && target.host() != page.host() {
        return Some("The address comes from <base href>: write https:// there.".to_owned());
    }
    (target.host() == page.host()).then(|| {
        "The app takes itself for an http site: have the proxy send X-Forwarded-Proto: https and the app trust it, or set the app's own address \
         to https; or write addresses without scheme and host."
            .to_owned()
    })
}
