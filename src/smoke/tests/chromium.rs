//! The static check beside Chromium itself: every page of the tables in `mixed_content.rs`, over local https.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use url::Url;

use crate::config::BrowserPlan;
use crate::config::SmokePlan;
use crate::model::Severity;
use crate::smoke::browser::program::Chromium;
use crate::smoke::browser::session::Session;
use crate::smoke::browser::watch::Watched;
use crate::smoke::certificate;
use crate::smoke::client::Visitor;
use crate::smoke::cookies::Cookies;
use crate::smoke::mixed;
use crate::smoke::page::PageHeaders;
use crate::smoke::page::scan;
use crate::smoke::tests::mixed_content::TABLES;
use crate::smoke::tests::served::MALFORMED;
use crate::smoke::tests::served::SERVED;
use crate::smoke::tests::served::XHTML;
use crate::smoke::tests::server::Server;
use crate::smoke::tests::server::http;

/// Where the two part, by a part of the page that no other page has, and why ours stays as it is.
const DISAGREEMENTS: &[(&str, &str)] = &[
    ("preload=none autoplay", "headless Chromium does not play by itself and asks for nothing; one with a window asks"),
    (
        "<video><track src=http://x.test/a>",
        "a track of another host is refused before it counts as mixed content; the page goes without it either way",
    ),
    (
        "supports(not (display:grid))",
        "Chromium raises an issue for a sheet whose condition does not hold; by the standard it is not asked for",
    ),
    (
        "src:local(a),url(http://x.test/a.svg)",
        "with local() first Chromium named no address when the page had loaded; a visitor without that font needs it",
    ),
];

/// `blocked URL` and `upgraded URL`, without fragments: Chromium keeps them, we do not.
type Seen = BTreeSet<String>;

/// What the static check says: what must be seen, and what may be.
fn ours(html: &str, headers: &PageHeaders) -> (Seen, Seen) {
    let page = Url::parse("https://site.test/dir/page").unwrap();
    let (mut must, mut may) = (Seen::new(), Seen::new());
    for finding in mixed::judge(&scan(html, &page, headers), &page, &crate::config::RuleLevels::new()).findings {
        let Some(effect) = finding.rule.strip_suffix("_asset").filter(|effect| matches!(*effect, "blocked" | "upgraded")) else { continue };
        let line = format!("{effect} {}", finding.resolved.unwrap().split('#').next().unwrap());
        if finding.severity == Severity::Error {
            must.insert(line)
        } else {
            may.insert(line)
        };
    }
    (must, may)
}

fn chromiums(watched: &Watched) -> Seen {
    let line = |effect: &str, url: &str| format!("{effect} {}", url.split('#').next().unwrap());
    watched
        .mixed
        .iter()
        .filter_map(|mixed| match mixed.resolution.as_str() {
            "MixedContentBlocked" => Some(line("blocked", &mixed.url)),
            "MixedContentAutomaticallyUpgraded" => Some(line("upgraded", &mixed.url)),
            _ => None,
        })
        .collect()
}

/// A page of any table.
#[derive(Clone)]
struct Page {
    html: &'static str,
    headers: &'static [&'static str],
    read_headers: PageHeaders,
}

fn pages() -> Vec<Page> {
    let plain = TABLES.iter().copied().flatten().map(|(html, _)| Page {
        html,
        headers: &["content-type: text/html; charset=utf-8"],
        read_headers: PageHeaders::default(),
    });
    let served =
        SERVED.iter().copied().flatten().map(|page| Page { html: page.html, headers: page.headers, read_headers: page.page_headers() });
    let xhtml = PageHeaders { is_xhtml: true, ..PageHeaders::default() };
    let malformed = MALFORMED.iter().map(|html| Page { html, headers: XHTML, read_headers: xhtml.clone() });
    plain.chain(served).chain(malformed).collect()
}

/// Chromium's view of each page, in a tab of its own.
async fn ask_chromium(pages: Vec<Page>) -> Vec<Seen> {
    let bodies = Arc::new(pages.clone());
    let server = Server::https(Box::new(move |_, head| {
        let number = head.split("/dir/page?").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok());
        let page = number.and_then(|number| bodies.get(number));
        Some(page.map_or_else(|| http(200, &["content-type: text/plain"], ""), |page| http(200, page.headers, page.html)))
    }))
    .await;
    let plan = SmokePlan { url: Url::parse("https://site.test/dir/page?0").unwrap(), ..server.plan() };
    let visitor = Visitor::new(&plan).await.unwrap();
    visitor.get(&plan.url, &Cookies::default()).await.unwrap();
    let trusted: Vec<String> = visitor.handshakes.take().iter().filter_map(certificate::key_hash).collect();
    let browser = BrowserPlan { program: None, is_optional: false, deadline: Duration::from_mins(10), screenshots: None, har: None };
    let (chromium, mut cdp) = Chromium::start(&plan, &browser, &trusted).unwrap();
    let mut seen = Vec::new();
    for (number, page) in pages.iter().enumerate() {
        let mut session = Session::open(&mut cdp, &plan).await.unwrap();
        session.navigate(&format!("https://site.test/dir/page?{number}")).await.unwrap();
        let is_loaded = session.wait_until_loaded(Instant::now() + Duration::from_mins(1), Duration::from_millis(150)).await.unwrap();
        let watched = session.close().await;
        assert!(is_loaded, "{}: {:?}", page.html, watched.requests);
        seen.push(chromiums(&watched));
    }
    chromium.end().await;
    seen
}

#[tokio::test]
async fn the_static_check_says_what_chromium_does() {
    let pages = pages();
    // Most of the time is waiting for a page to stay quiet: two browsers wait at once.
    let (first, second) = pages.split_at(pages.len() / 2);
    let (mut seen, rest) = tokio::join!(ask_chromium(first.to_vec()), ask_chromium(second.to_vec()));
    seen.extend(rest);
    let (mut wrong, mut parted) = (Vec::new(), BTreeSet::new());
    for (Page { html, read_headers, .. }, chromium) in pages.iter().zip(&seen) {
        let (must, may) = ours(html, read_headers);
        let agrees = must.is_subset(chromium) && chromium.iter().all(|line| must.contains(line) || may.contains(line));
        match DISAGREEMENTS.iter().find(|(part, _)| html.contains(part)) {
            Some((part, why)) if !agrees => {
                println!("they part at {html}: {why}");
                parted.insert(*part);
            }
            _ if agrees => {}
            _ => wrong.push(format!("{html}\n  ours {must:?}, perhaps {may:?}\n  Chromium {chromium:?}\n")),
        }
    }
    println!("{} pages, {} agree, {} part for a reason", pages.len(), pages.len() - wrong.len() - parted.len(), parted.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), pages.len(), wrong.concat());
    let stale: Vec<_> = DISAGREEMENTS.iter().filter(|(part, _)| !parted.contains(part)).collect();
    assert!(stale.is_empty(), "these agree by now: {stale:?}");
}
