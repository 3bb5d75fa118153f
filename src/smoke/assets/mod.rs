//! Looks at what an accepted page asks for: is each address one that a browser loads, and does something usable come?
//!
//! [`look`] is the story. `page/` lists the addresses and `mixed.rs` judges each by itself; where the plan wants them
//! fetched, a round (`round.rs`) asks for each once (`wanted.rs`), of the hosts that may be asked, as a browser
//! would (`courier.rs`), and goes on with what linked sheets name (`imports.rs`). What came is judged by the rules `asset_*`
//! (`rules/`), which say a `Flaw`; a `Tally` lists each fault once.

mod courier;
mod flaw;
mod imports;
mod round;
pub(super) mod sniff;
mod stand;
mod tally;
mod wanted;

use std::net::IpAddr;

use encoding_rs::Encoding;
use reqwest::ClientBuilder;
use reqwest::header::CONTENT_TYPE;
use url::Url;

use crate::config::FetchPlan;
use crate::config::SmokePlan;
use crate::model::Finding;
use crate::model::Severity;

use crate::smoke::assets::courier::Courier;
use crate::smoke::assets::round::Memory;
use crate::smoke::assets::round::Round;
use crate::smoke::client::Answer;
use crate::smoke::client::Visitor;
use crate::smoke::client::header_text;
use crate::smoke::cookies::Cookies;
use crate::smoke::hosts::Guarded;
use crate::smoke::hosts::Hosts;
use crate::smoke::mixed;
use crate::smoke::page;
use crate::smoke::page::PageHeaders;
use crate::smoke::page::PageScan;
use crate::smoke::rules;

pub(super) use courier::Got;
pub(super) use flaw::Flaw;
pub(super) use tally::{Sum, Tally};
pub(super) use wanted::Wanted;

/// What a document is shows in so many.
const FIRST_BYTES: usize = 1024;

/// What the page's assets came to.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// How many assets the page asks for, those of linked style sheets included where these were fetched.
    pub(super) assets: u32,
    /// How many of them were asked for.
    pub(super) fetched: u32,
    /// What is not right.
    pub(super) findings: Vec<Finding>,
    /// How many findings more there were.
    pub(super) omitted: u32,
    /// What was asked for, so that the same look does not ask for it again.
    memory: Memory,
}

/// The page as its assets see it.
struct Page {
    url: Url,
    /// The address of the server that was asked first.
    first: Option<IpAddr>,
    encoding: &'static Encoding,
    cookies: Cookies,
}

/// Looks at an accepted answer. `earlier` is what the same look saw of another answer: what was asked
/// for then is not asked for again.
pub(super) async fn look(visitor: &Visitor, plan: &SmokePlan, mut answer: Answer, cookies: Cookies, earlier: Option<&Seen>) -> Seen {
    if kind_of(&answer) == Kind::Other || answer.is_broken() {
        return Seen::default();
    }
    let headers = page_headers(&answer);
    let page = Page { url: answer.url.clone(), first: visitor.first(), encoding: headers.encoding, cookies };
    let (body, content_type) = (std::mem::take(&mut answer.body), answer.header(CONTENT_TYPE));
    let (bytes, url) = (body.len(), answer.url.clone());
    // A large page takes a tenth of a second, which the other tasks of this thread should not wait.
    let scanned = tokio::task::spawn_blocking(move || page::scan(&page::decode(&body, content_type.as_deref()), &url, &headers)).await;
    let Ok(scan) = scanned else { return note(Severity::Warning, "The page could not be taken apart; its assets are not looked at.") };
    let is_incomplete = scan.incomplete;
    // One that was cut is never whole.
    let malformed = scan.malformed.as_ref().filter(|_| !answer.cut).map(rules::malformed_page::finding);
    let mut seen = match &plan.fetch {
        Some(fetch) => ask(visitor, (plan, fetch), page, scan, earlier).await,
        None => by_address(&scan, &page.url, plan),
    };
    seen.findings.extend(malformed);
    if answer.cut {
        seen.findings.push(rules::truncated::page(bytes));
    }
    if is_incomplete {
        seen.findings.push(rules::truncated::by_depth());
    }
    seen
}

/// Judges the addresses alone.
fn by_address(scan: &PageScan, page: &Url, plan: &SmokePlan) -> Seen {
    let assets = scan.assets.iter().filter(|asset| !asset.kind.is_navigation()).count() as u32;
    let Sum { findings, omitted } = mixed::judge(scan, page, &plan.rules);
    Seen { assets, findings, omitted, ..Seen::default() }
}

/// Judges the addresses and asks for them.
async fn ask(visitor: &Visitor, (plan, fetch): (&SmokePlan, &FetchPlan), page: Page, scan: PageScan, earlier: Option<&Seen>) -> Seen {
    let hosts = Hosts::of(plan, page.first).with_page(&page.url);
    let kept = |builder: ClientBuilder| {
        let builder = builder.pool_max_idle_per_host(fetch.concurrency);
        if hosts.may_be_near() { builder } else { builder.dns_resolver(Guarded) }
    };
    let transport = match visitor.lasting(kept) {
        Ok(transport) => transport,
        Err(finding) => return Seen { findings: vec![*finding], ..Seen::default() },
    };
    let courier = Courier {
        transport,
        cookies: page.cookies,
        hosts,
        page: page.url.clone(),
        timeout: plan.timeout.min(fetch.within),
        max_bytes: fetch.max_bytes,
    };
    let mut round = Round::new(&page.url, fetch, courier, &plan.rules, (page.encoding, scan.styles));
    if let Some(earlier) = earlier {
        round.recall(earlier.memory.clone());
    }
    for asset in scan.assets {
        round.take(asset);
    }
    round.run().await;
    let (assets, fetched) = (round.assets, round.fetched);
    let (tally, memory) = round.into_memory();
    let Sum { findings, omitted } = tally.finish();
    Seen { assets, fetched, findings, omitted, memory }
}

fn note(severity: Severity, message: &str) -> Seen {
    let finding = Finding { severity, ..rules::not_checked::RULE.finding(message.to_owned()) };
    Seen { findings: vec![finding], ..Seen::default() }
}

#[derive(PartialEq, Eq)]
enum Kind {
    Html,
    Xhtml,
    Other,
}

fn kind_of(answer: &Answer) -> Kind {
    let content_type = answer.header(CONTENT_TYPE).unwrap_or_default();
    match content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "text/html" => Kind::Html,
        "application/xhtml+xml" => Kind::Xhtml,
        "" if looks_like_html(&page::decode(&answer.body[..answer.body.len().min(FIRST_BYTES)], None)) => Kind::Html,
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
        is_xhtml: kind_of(answer) == Kind::Xhtml,
    }
}
