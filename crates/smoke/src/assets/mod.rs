//! Looks at what an accepted page asks for: is each address one that a browser loads, and does something usable come?
//!
//! [`judge_all`] is the story. `page/` lists the addresses and `mixed.rs` judges each by itself; where the plan wants them
//! fetched, a round (`round.rs`) asks for each once (`wanted.rs`), of the hosts that may be asked, as a browser
//! would (`courier.rs`), and goes on with what linked sheets name (`imports.rs`). What came is judged by the rules `asset_*`
//! (`rules/`), which say a `Flaw`; a `Tally` lists each fault once.

mod courier;
mod flaw;
mod imports;
mod judge;
mod round;
pub(super) mod sniff;
mod stand;
mod tally;
mod wanted;

use std::collections::HashSet;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use encoding_rs::Encoding;
use reqwest::ClientBuilder;
use reqwest::header::CONTENT_TYPE;
use reqwest::header::HeaderMap;
use tokio::time::Instant;
use url::Url;

use crate::assets::courier::Courier;
use crate::assets::round::Memory;
use crate::assets::round::Round;
use crate::catalogue;
use crate::client::Answer;
use crate::client::Visitor;
use crate::cookies::Cookies;
use crate::hosts::Guarded;
use crate::hosts::Hosts;
use crate::mixed;
use crate::page;
use crate::page::Asset;
use crate::page::PageHeaders;
use crate::page::PageScan;
use crate::plan::FetchPlan;
use crate::plan::SmokePlan;
use crate::report::Finding;
use crate::report::Severity;
use crate::rules;
use crate::written::header_text;

pub(super) use courier::Got;
pub(super) use flaw::Flaw;
pub(super) use tally::{Sum, Tally};
pub(super) use wanted::Wanted;

/// Framed documents are looked into up to so many, and so deep in one another.
const MOST_FRAMES: usize = 10;
const DEEPEST_FRAME: u8 = 3;
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
pub(super) async fn judge_all(visitor: &Visitor, plan: &SmokePlan, mut answer: Answer, cookies: Cookies, earlier: Option<&Seen>) -> Seen {
    let kind = kind_of(answer.header(CONTENT_TYPE).as_deref(), &answer.body);
    if kind == Kind::Other || answer.is_broken() {
        return Seen::default();
    }
    let headers = page_headers(&answer.headers, &answer.body, kind);
    let page = Page { url: answer.url.clone(), first: visitor.first(), encoding: headers.encoding, cookies };
    let body = std::mem::take(&mut answer.body);
    let content_type = answer.header(CONTENT_TYPE);
    let bytes = body.len();
    let url = answer.url.clone();
    // A large page takes a tenth of a second, which the other tasks of this thread should not wait.
    let scanned = tokio::task::spawn_blocking(move || page::scan(&page::decode(&body, content_type.as_deref()), &url, &headers)).await;
    let Ok(scan) = scanned else { return note(Severity::Warning, "The page could not be parsed; its assets were not checked.") };
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

/// Judges the addresses and asks for them, and for what the documents in frames of the page's own origin ask for.
async fn ask(visitor: &Visitor, (plan, fetch): (&SmokePlan, &FetchPlan), page: Page, scan: PageScan, earlier: Option<&Seen>) -> Seen {
    let hosts = Hosts::of(plan, page.first).with_page(&page.url);
    let kept = |builder: ClientBuilder| {
        let builder = builder.pool_max_idle_per_host(fetch.concurrency);
        if hosts.may_be_near() { builder } else { builder.dns_resolver(Guarded) }
    };
    let transport = match visitor.lasting(kept) {
        Ok(transport) => Arc::new(transport),
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
    let until = Instant::now() + fetch.within;
    let memory = earlier.map(|earlier| earlier.memory.clone());
    let judged = Judged { url: page.url.clone(), encoding: page.encoding, scan };
    let (mut seen, frames) = round(judged, (plan, fetch), courier.clone(), memory, until).await;
    let mut waiting: VecDeque<_> = frames.into_iter().map(|frame| (frame, 1)).collect();
    let mut looked = HashSet::new();
    while let Some(((got, link), depth)) = waiting.pop_front() {
        if looked.contains(&got.url) {
            continue;
        }
        if looked.len() == MOST_FRAMES || depth > DEEPEST_FRAME {
            let message = format!(
                "The page frames more than {MOST_FRAMES} documents, or nests them deeper than {DEEPEST_FRAME}; the others were not checked."
            );
            seen.findings.extend(rules::settled(rules::truncated::by_number(message), &plan.rules));
            break;
        }
        looked.insert(got.url.clone());
        let Some(judged) = document(&got, &link).await else { continue };
        let courier = Courier { page: judged.url.clone(), ..courier.clone() };
        let (inner, frames) = round(judged, (plan, fetch), courier, Some(seen.memory.for_a_frame()), until).await;
        waiting.extend(frames.into_iter().map(|frame| (frame, depth + 1)));
        seen.take_in(inner);
    }
    seen
}

/// A document that is judged.
struct Judged {
    url: Url,
    encoding: &'static Encoding,
    scan: PageScan,
}

/// One round for one document.
async fn round(
    judged: Judged,
    (plan, fetch): (&SmokePlan, &FetchPlan),
    courier: Courier,
    memory: Option<Memory>,
    until: Instant,
) -> (Seen, Vec<(Arc<Got>, Asset)>) {
    let Judged { url, encoding, scan } = judged;
    let mut round = Round::new(&url, fetch, courier, &plan.rules, (encoding, scan.styles));
    if let Some(memory) = memory {
        round.recall(memory);
    }
    for asset in scan.assets {
        round.take(asset);
    }
    round.run(until).await;
    let assets = round.assets;
    let fetched = round.fetched;
    let (tally, memory, frames) = round.into_memory();
    let Sum { findings, omitted } = tally.finish();
    (Seen { assets, fetched, findings, omitted, memory }, frames)
}

impl Seen {
    /// Takes what was seen of a document in a frame.
    fn take_in(&mut self, inner: Self) {
        self.assets += inner.assets;
        self.omitted += inner.omitted;
        for finding in inner.findings {
            if !self.findings.contains(&finding) {
                self.findings.push(finding);
            }
        }
        self.memory.learn(inner.memory);
        self.fetched = self.fetched.max(self.memory.len() as u32);
    }
}

/// Takes a framed document apart: what it asks for stands in it, and not in the page.
async fn document(got: &Arc<Got>, link: &Asset) -> Option<Judged> {
    let kind = kind_of(got.content_type.as_deref(), &got.body);
    if kind == Kind::Other {
        return None;
    }
    let mut headers = page_headers(&got.headers, &got.body, kind);
    // A policy holds for what the page frames as well (Upgrade Insecure Requests, section 3.3).
    headers.upgrades |= link.rescued;
    headers.is_framed = true;
    headers.is_sandboxed = link.terms.is_sandboxed;
    let encoding = headers.encoding;
    let url = got.url.clone();
    let document = Arc::clone(got);
    let scanned = tokio::task::spawn_blocking(move || {
        page::scan(&page::decode(&document.body, document.content_type.as_deref()), &document.url, &headers)
    });
    let mut scan = scanned.await.ok()?;
    let place: Arc<str> = Arc::from(url.as_str());
    for asset in &mut scan.assets {
        asset.sheet.get_or_insert_with(|| Arc::clone(&place));
    }
    Some(Judged { url, encoding, scan })
}

fn note(severity: Severity, message: &str) -> Seen {
    let finding = Finding { severity, ..catalogue::NOT_CHECKED.finding(message.to_owned()) };
    Seen { findings: vec![finding], ..Seen::default() }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Html,
    Xhtml,
    Other,
}

fn kind_of(content_type: Option<&str>, body: &[u8]) -> Kind {
    match content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "text/html" => Kind::Html,
        "application/xhtml+xml" => Kind::Xhtml,
        "" if looks_like_html(&page::decode(&body[..body.len().min(FIRST_BYTES)], None)) => Kind::Html,
        _ => Kind::Other,
    }
}

/// Browsers look at the first bytes when the type is missing.
fn looks_like_html(text: &str) -> bool {
    let start = text.trim_start_matches(['\u{feff}', ' ', '\t', '\n', '\r', '\u{c}']);
    let begins = |word: &str| start.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
    ["<!doctype html", "<html", "<head", "<body", "<script", "<div", "<!--"].iter().any(|word| begins(word))
}

fn page_headers(headers: &HeaderMap, body: &[u8], kind: Kind) -> PageHeaders {
    let values = |name: &str| headers.get_all(name).iter().map(header_text).collect::<Vec<_>>();
    let policies = values("content-security-policy");
    PageHeaders {
        upgrades: policies.iter().any(|policy| page::upgrades_insecure_requests(policy)),
        policies,
        encoding: page::encoding_of(body, headers.get(CONTENT_TYPE).map(header_text).as_deref()),
        links: values("link"),
        is_xhtml: kind == Kind::Xhtml,
        ..PageHeaders::default()
    }
}
