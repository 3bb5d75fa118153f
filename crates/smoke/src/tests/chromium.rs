//! The static check beside Chromium itself: every page of the tables in `mixed_content.rs`, over local https.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use url::Url;

use crate::browser::program::Chromium;
use crate::browser::session::Session;
use crate::browser::watch::Watched;
use crate::mixed;
use crate::page::PageHeaders;
use crate::page::scan;
use crate::plan::BrowserPlan;
use crate::plan::SmokePlan;
use crate::report::Severity;
use crate::tests::mixed_content::TABLES;
use crate::tests::served::MALFORMED;
use crate::tests::served::SERVED;
use crate::tests::served::XHTML;
use crate::tests::server::Server;
use crate::tests::server::http;

/// Where the two part, by a part of the page that no other page has, and why ours stays as it is.
const DISAGREEMENTS: &[(&str, &str)] = &[
    ("preload=none autoplay", "headless Chromium does not autoplay and requests nothing; Chromium with a window does"),
    (
        "supports(not (display:grid))",
        "Chromium raises an issue for a sheet whose condition does not hold; by the standard it is not asked for",
    ),
    (
        "src:local(a),url(http://x.test/a.svg)",
        "with local() first Chromium named no address when the page had loaded; a visitor without that font needs it",
    ),
    (
        "<img src=http://localhost/a>",
        "Chromium warns of pictures of this machine and asks for them in the clear; by the standard they are no mixed content",
    ),
    ("<img src=http://127.0.0.1/a>", "the same for its addresses"),
    ("<img src=http://93.184.216.34/a>", "Chromium says of a picture at a public address that it is blocked, and warns of it as well"),
    ("<img src=http://[2606:2800:220::1]/a>", "the same for IPv6"),
];

/// `blocked URL`, `upgraded URL`, `warned URL` and `rescued URL` (asked for over https without an issue), without fragments: Chromium keeps them, we do not.
type Seen = BTreeSet<String>;

/// What the static check says: what must be seen, and what may be.
fn ours(html: &str, headers: &PageHeaders) -> (Seen, Seen) {
    let page = Url::parse("https://site.test/dir/page").unwrap();
    let (mut must, mut may) = (Seen::new(), Seen::new());
    for finding in mixed::judge(&scan(html, &page, headers), &page, &crate::plan::RuleLevels::new()).findings {
        let effect = match finding.rule.as_str() {
            "blocked_asset" => "blocked",
            "upgraded_asset" => "upgraded",
            "rescued_asset" => "rescued",
            "private_asset" => "warned",
            _ => continue,
        };
        let line = format!("{effect} {}", finding.resolved.unwrap().split('#').next().unwrap());
        if finding.severity == Severity::Error || matches!(effect, "rescued" | "warned") {
            must.insert(line)
        } else {
            may.insert(line)
        };
    }
    (must, may)
}

fn chromiums(watched: &Watched) -> Seen {
    let line = |effect: &str, url: &str| format!("{effect} {}", url.split('#').next().unwrap());
    let mixed = watched.mixed.iter().filter_map(|mixed| match mixed.resolution.as_str() {
        "MixedContentBlocked" => Some(line("blocked", &mixed.url)),
        "MixedContentAutomaticallyUpgraded" => Some(line("upgraded", &mixed.url)),
        "MixedContentWarning" if mixed.kind != "Form" => Some(line("warned", &mixed.url)),
        _ => None,
    });
    let mixed: Seen = mixed.collect();
    // Every page names http alone for x.test: what is asked for over https there, and is in no issue, was rewritten by the policy.
    let rescued = watched.requests.iter().filter_map(|request| {
        let written = request.url.replacen("https://x.test/", "http://x.test/", 1);
        let is_issue = mixed.iter().any(|known| known.ends_with(&line("", &written)));
        (written != request.url && !is_issue).then(|| line("rescued", &written))
    });
    let rescued: Vec<String> = rescued.collect();
    mixed.into_iter().chain(rescued).collect()
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

/// Whether Chromium did all that we say, and nothing that we do not say.
fn agree(page: &Page, chromium: &Seen) -> bool {
    let (must, may) = ours(page.html, &page.read_headers);
    must.is_subset(chromium) && chromium.iter().all(|line| must.contains(line) || may.contains(line))
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
    let trusted = server.keys().await;
    let browser = BrowserPlan { program: None, is_optional: false, deadline: Duration::from_mins(10), screenshots: None, har: None };
    // Whatever host a page names, nobody answers and nothing leaves this machine: every other address leads to a closed port.
    let rules = plan.connect_to.as_ref().map(|to| format!("{to},MAP *:80 127.0.0.1:1,MAP *:443 127.0.0.1:1,MAP *:8080 127.0.0.1:1"));
    let closed_in = SmokePlan { connect_to: rules, ..plan.clone() };
    let (chromium, mut cdp) = Chromium::start(&closed_in, &browser, &trusted, &[]).unwrap();
    let mut seen = Vec::new();
    for (number, page) in pages.iter().enumerate() {
        let mut said = Seen::new();
        // An issue comes when the browser has time for it: where it does not say yet what is expected, it is given more.
        let parts = DISAGREEMENTS.iter().any(|(part, _)| page.html.contains(part));
        for quiet in [Duration::from_millis(150), Duration::from_secs(2), Duration::from_secs(8)] {
            let mut session = Session::open(&mut cdp, &plan, None).await.unwrap();
            session.navigate(&format!("https://site.test/dir/page?{number}")).await.unwrap();
            let is_loaded = session.wait_until_loaded(Instant::now() + Duration::from_mins(1), quiet).await.unwrap();
            let watched = session.close().await;
            assert!(is_loaded, "{}: {:?}", page.html, watched.requests);
            said = chromiums(&watched);
            if agree(page, &said) != parts {
                break;
            }
        }
        seen.push(said);
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
    for (page, chromium) in pages.iter().zip(&seen) {
        let Page { html, read_headers, .. } = page;
        let (must, may) = ours(html, read_headers);
        let agrees = agree(page, chromium);
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

#[test]
fn every_page_of_the_corpus_is_another_one() {
    let pages = pages();
    let same =
        |page: &Page| (page.html.replace("y.test", "x.test").replace(".css", "").replace(".js", "").replace(".png", ""), page.headers);
    let mut known = std::collections::BTreeMap::new();
    let twice: Vec<_> = pages.iter().filter_map(|page| known.insert(same(page), page.html).map(|first| (first, page.html))).collect();
    assert!(twice.is_empty(), "{twice:#?}");
    assert!(pages.len() >= 300, "{} pages", pages.len());
}
