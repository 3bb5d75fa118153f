//! What becomes of fetched assets, beside Chromium itself: each page tells the server whether the browser used what came.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::Digest as _;
use tokio::time::Instant;
use url::Url;

use crate::browser::program::Chromium;
use crate::browser::session::Session;
use crate::plan::BrowserPlan;
use crate::plan::SmokePlan;
use crate::tests::server::Server;
use crate::tests::server::http;
use crate::tests::server::look;

const CSS: &str = "body { color: red }";
const JS: &str = "window.ran = 1";
const HTML: &str = "<!doctype html><title>Not found</title><p>Nothing is here";
const SVG: &str = "<svg xmlns='http://www.w3.org/2000/svg' width='1' height='1'/>";
const VTT: &str = "WEBVTT\n\n00:00.000 --> 00:01.000\nHello\n";

/// How the asset is asked for. `URL` and `OTHER` stand for its address on the page's origin and on another one.
const STYLE: &str = "<link rel=stylesheet href=URL onload=red() onerror=bad()>";
const SCRIPT: &str = "<script src=URL onload='window.ran ? ok() : bad()' onerror=bad()></script>";
const MODULE: &str = "<script type=module src=URL onload=ok() onerror=bad()></script>";
const IMAGE: &str = "<img src=URL onload=ok() onerror=bad()>";
const FONT: &str =
    "<style>@font-face{font-family:f;src:url(URL)}p{font-family:f}</style><p>x<script>document.fonts.load('12px f').then(ok,bad)</script>";
const TRACK: &str =
    "<video><track default src=URL onload=ok() onerror=bad()></video><script>document.querySelector('track').track.mode='showing'</script>";

struct Case {
    what: &'static str,
    page: String,
    /// Status, header lines and body of the asset.
    answer: (u16, Vec<&'static str>, &'static str),
}

fn case(what: &'static str, page: &str, status: u16, headers: &[&'static str], body: &'static str) -> Case {
    Case { what, page: format!("<!doctype html>{page}"), answer: (status, headers.to_vec(), body) }
}

fn hash(algorithm: &str, body: &str) -> String {
    let digest = match algorithm {
        "sha256" => sha2::Sha256::digest(body).to_vec(),
        "sha384" => sha2::Sha384::digest(body).to_vec(),
        _ => sha2::Sha512::digest(body).to_vec(),
    };
    format!("{algorithm}-{}", STANDARD.encode(digest))
}

fn with(page: &str, attributes: &str) -> String {
    page.replacen("URL", &format!("URL {attributes}"), 1)
}

fn types() -> Vec<Case> {
    let nosniff = "x-content-type-options: nosniff";
    let css = "content-type: text/css; charset=utf-8";
    let js = "content-type: text/javascript";
    let html = "content-type: text/html; charset=utf-8";
    let plain = "content-type: text/plain";
    let octets = "content-type: application/octet-stream";
    vec![
        case("a style sheet", STYLE, 200, &[css], CSS),
        case("a style sheet as html", STYLE, 200, &[html], HTML),
        case("a style sheet of good content as html", STYLE, 200, &[html], CSS),
        case("a page as a style sheet", STYLE, 200, &[css], HTML),
        case("a style sheet as text", STYLE, 200, &[plain], CSS),
        case("a style sheet without a type", STYLE, 200, &[], CSS),
        case("a style sheet without a type, nosniff", STYLE, 200, &[nosniff], CSS),
        case("a style sheet of any type", STYLE, 200, &["content-type: */*"], CSS),
        case("a style sheet of half a type", STYLE, 200, &["content-type: css"], CSS),
        case("a style sheet of half a type, nosniff", STYLE, 200, &["content-type: css", nosniff], CSS),
        case("a module as json", MODULE, 200, &["content-type: application/json"], "{}"),
        case("a module as css", MODULE, 200, &["content-type: text/css"], CSS),
        case("a style sheet as text, nosniff", STYLE, 200, &[plain, nosniff], CSS),
        case("a missing style sheet of the right type", STYLE, 404, &[css], CSS),
        case("a failing style sheet", STYLE, 500, &[css], CSS),
        Case { page: STYLE.to_owned(), ..case("a style sheet as text, no doctype", "", 200, &[plain], CSS) },
        Case { page: STYLE.to_owned(), ..case("a style sheet as text, nosniff, no doctype", "", 200, &[plain, nosniff], CSS) },
        Case { page: STYLE.replace("URL", "OTHER"), ..case("a foreign style sheet as text, no doctype", "", 200, &[plain], CSS) },
        case("a script", SCRIPT, 200, &[js], JS),
        case("a script as text", SCRIPT, 200, &[plain], JS),
        case("a script as html", SCRIPT, 200, &[html], JS),
        case("a page instead of a script", SCRIPT, 200, &[html], HTML),
        case("a page as a script", SCRIPT, 200, &[js], HTML),
        case("a page behind a comment instead of a script", SCRIPT, 200, &[html], "<!-- build 7 -->\n<!doctype html><p>Nothing"),
        case("a script behind a comment", SCRIPT, 200, &[js], "<!-- hidden\nwindow.ran = 1;\n//-->"),
        case("a script without a type", SCRIPT, 200, &[], JS),
        case("a script without a type, nosniff", SCRIPT, 200, &[nosniff], JS),
        case("a script as text, nosniff", SCRIPT, 200, &[plain, nosniff], JS),
        case("a script, nosniff", SCRIPT, 200, &["content-type: application/javascript", nosniff], JS),
        case("a script as an image", SCRIPT, 200, &["content-type: image/png"], JS),
        case("a script as csv", SCRIPT, 200, &["content-type: text/csv"], JS),
        case("a script as json", SCRIPT, 200, &["content-type: application/json"], JS),
        case("a module", MODULE, 200, &[js], JS),
        case("a module as text", MODULE, 200, &[plain], JS),
        case("a module without a type", MODULE, 200, &[], JS),
        case("a module as html", MODULE, 200, &[html], HTML),
        case("a picture", IMAGE, 200, &["content-type: image/svg+xml"], SVG),
        case("a picture as xml", IMAGE, 200, &["content-type: text/xml"], SVG),
        case("a picture as octets", IMAGE, 200, &[octets], SVG),
        case("a page instead of a picture", IMAGE, 200, &[html], HTML),
        case("a page as a picture", IMAGE, 200, &["content-type: image/png"], HTML),
        case("a missing picture", IMAGE, 404, &[html], HTML),
        case("an empty picture", IMAGE, 200, &["content-type: image/png"], ""),
        case("a page instead of a font", FONT, 200, &[html], HTML),
        case("an empty font", FONT, 200, &["content-type: font/woff2"], ""),
        case("subtitles", TRACK, 200, &["content-type: text/vtt"], VTT),
        case("subtitles as text", TRACK, 200, &[plain], VTT),
        case("a page instead of subtitles", TRACK, 200, &[html], HTML),
    ]
}

fn terms() -> Vec<Case> {
    let css = "content-type: text/css";
    let js = "content-type: text/javascript";
    let any = "access-control-allow-origin: *";
    let own = "access-control-allow-origin: https://site.test";
    let not = "access-control-allow-origin: https://other.test";
    let other = |page: &str| page.replace("URL", "OTHER");
    let (good, wrong) = (hash("sha384", CSS), hash("sha384", "something else"));
    vec![
        case("integrity", &with(STYLE, &format!("integrity={good}")), 200, &[css], CSS),
        case("wrong integrity", &with(STYLE, &format!("integrity={wrong}")), 200, &[css], CSS),
        case("one of two hashes", &with(STYLE, &format!("integrity='{wrong} {good}'")), 200, &[css], CSS),
        case("the strongest hash counts", &with(STYLE, &format!("integrity='{} {wrong}'", hash("sha256", CSS))), 200, &[css], CSS),
        case("a weaker wrong hash does not", &with(STYLE, &format!("integrity='{} {good}'", hash("sha256", "x"))), 200, &[css], CSS),
        case("a hash that was never filled in", &with(STYLE, "integrity=sha384-{{hash}}"), 200, &[css], CSS),
        case("no hash behind its kind", &with(STYLE, "integrity=sha384-"), 200, &[css], CSS),
        case("a hash of another length", &with(STYLE, "integrity=sha384-abcd"), 200, &[css], CSS),
        case("an unknown kind of hash", &with(STYLE, "integrity=md5-abcd"), 200, &[css], CSS),
        case("a hash without padding", &with(STYLE, &format!("integrity={}", hash("sha256", CSS).trim_end_matches('='))), 200, &[css], CSS),
        case("a script's integrity", &with(SCRIPT, &format!("integrity={}", hash("sha512", JS))), 200, &[js], JS),
        case("a script's wrong integrity", &with(SCRIPT, &format!("integrity={}", hash("sha512", "y"))), 200, &[js], JS),
        case("foreign integrity without crossorigin", &other(&with(STYLE, &format!("integrity={good}"))), 200, &[css, any], CSS),
        case("foreign integrity", &other(&with(STYLE, &format!("crossorigin integrity={good}"))), 200, &[css, any], CSS),
        case("foreign, not allowed", &other(&with(STYLE, "crossorigin")), 200, &[css], CSS),
        case("foreign, allowed by name", &other(&with(STYLE, "crossorigin")), 200, &[css, own], CSS),
        case("foreign, another is allowed", &other(&with(STYLE, "crossorigin")), 200, &[css, not], CSS),
        case("foreign, with cookies, any allowed", &other(&with(STYLE, "crossorigin=use-credentials")), 200, &[css, any], CSS),
        case(
            "foreign, with cookies, allowed",
            &other(&with(STYLE, "crossorigin=use-credentials")),
            200,
            &[css, own, "access-control-allow-credentials: true"],
            CSS,
        ),
        case("a foreign module", &other(MODULE), 200, &[js, any], JS),
        case("a foreign module, not allowed", &other(MODULE), 200, &[js], JS),
        case("a foreign script", &other(SCRIPT), 200, &[js], JS),
        case("a redirect", STYLE, 302, &["location: /good.css"], ""),
        case("a redirect to http", STYLE, 302, &["location: http://site.test/good.css"], ""),
        case("a script's redirect to http", SCRIPT, 302, &["location: http://site.test/good.js"], ""),
        case("a module's redirect to http", MODULE, 302, &["location: http://site.test/good.js"], ""),
        case("a font's redirect to http", FONT, 302, &["location: http://site.test/good.woff2"], ""),
        case("subtitles' redirect to http", TRACK, 302, &["location: http://site.test/good.vtt"], ""),
        case("a picture's redirect to http", IMAGE, 302, &["location: http://site.test/good.svg"], ""),
        case(
            "a picture's redirect to http in a set",
            "<img srcset=URL onload=ok() onerror=bad()>",
            302,
            &["location: http://site.test/good.svg"],
            "",
        ),
        case("a redirect to no address", STYLE, 302, &["location: https://"], ""),
        case("a redirect in a circle", STYLE, 302, &["location: ?again"], ""),
    ]
}

/// Serves page and asset of each case, and keeps in its log what the browser told.
async fn serve(cases: &Arc<Vec<Case>>) -> Server {
    let cases = Arc::clone(cases);
    Server::https_of_two_origins(Box::new(move |_, head| {
        let path = head.split(' ').nth(1).unwrap_or_default();
        let number = |prefix: &str| path.strip_prefix(prefix)?.split('?').next()?.parse::<usize>().ok();
        match path {
            "/good.css" => return Some(http(200, &["content-type: text/css"], CSS)),
            "/good.js" => return Some(http(200, &["content-type: text/javascript"], JS)),
            "/good.svg" => return Some(http(200, &["content-type: image/svg+xml"], SVG)),
            "/good.vtt" => return Some(http(200, &["content-type: text/vtt"], VTT)),
            _ => {}
        }
        if let Some(case) = number("/asset/").and_then(|number| cases.get(number)) {
            return Some(http(case.answer.0, &case.answer.1, case.answer.2));
        }
        let Some((number, case)) = number("/page/").and_then(|number| Some((number, cases.get(number)?))) else {
            return Some(http(204, &[], ""));
        };
        let port = head.split("port=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or("1");
        let page = case.page.replace("URL", &format!("/asset/{number}")).replace("OTHER", &format!("https://localhost:{port}/asset/{number}"));
        let told = "<script>let said;function tell(it){if(!said){said=1;fetch('/told/'+it+'/'+N)}}function ok(){tell('ok')}function bad(){tell('bad')}
                    function red(){getComputedStyle(document.body).color=='rgb(255, 0, 0)'?ok():bad()}</script>";
        let (doctype, rest) = page.strip_prefix("<!doctype html>").map_or(("", page.as_str()), |rest| ("<!doctype html>", rest));
        let told = told.replace("+N", &format!("+{number}"));
        let page = format!("{doctype}<meta charset=utf-8><link rel=icon href=data:,>{told}{rest}");
        Some(http(200, &["content-type: text/html; charset=utf-8"], &page))
    }))
    .await
}

fn page_of(server: &Server, number: usize) -> Url {
    Url::parse(&format!("https://site.test/page/{number}?port={}", server.port)).unwrap()
}

fn is_told(server: &Server, number: usize) -> bool {
    let heads = server.heads.lock().unwrap();
    heads
        .iter()
        .filter_map(|head| head.split(' ').nth(1)?.strip_prefix("/told/")?.split_once('/'))
        .any(|(_, told)| told == number.to_string())
}

/// What the server was told: whether the browser used the asset of each case.
async fn ask_chromium(server: &Server, cases: usize) -> BTreeMap<usize, bool> {
    let plan = SmokePlan { url: page_of(server, 0), ..server.plan() };
    let trusted = server.keys().await;
    let browser = BrowserPlan { program: None, is_optional: false, deadline: Duration::from_mins(10), screenshots: None, har: None };
    let (chromium, mut cdp) = Chromium::start(&plan, &browser, &trusted, &[]).unwrap();
    for number in 0..cases {
        let mut session = Session::open(&mut cdp, &plan, None).await.unwrap();
        session.navigate(page_of(server, number).as_str()).await.unwrap();
        // The page tells the server; until then the tab is kept open, however long a loaded machine takes.
        let until = Instant::now() + Duration::from_mins(1);
        while !is_told(server, number) && Instant::now() < until {
            session.wait_until_loaded(Instant::now() + Duration::from_millis(100), Duration::from_millis(50)).await.unwrap();
        }
        session.close().await;
    }
    chromium.end().await;
    let heads = server.heads.lock().unwrap();
    let told = heads.iter().filter_map(|head| {
        let mut parts = head.split(' ').nth(1)?.strip_prefix("/told/")?.split('/');
        Some((parts.next()? == "ok", parts.next()?.parse().ok()?))
    });
    told.map(|(used, number)| (number, used)).collect()
}

#[tokio::test]
async fn an_asset_is_faulty_for_us_when_chromium_cannot_use_it() {
    let cases = Arc::new([types(), terms()].into_iter().flatten().collect::<Vec<_>>());
    let server = serve(&cases).await;
    let used = ask_chromium(&server, cases.len()).await;
    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let plan = SmokePlan { url: page_of(&server, number), ..server.fetching_plan() };
        let report = look(&plan, None).await;
        assert!(report.fetched > 0, "{}: {report:?}", case.what);
        match used.get(&number) {
            Some(used) if *used == report.passed() => {}
            told => wrong.push(format!("{}: Chromium used it: {told:?}; ours: {:?}\n", case.what, report.findings)),
        }
    }
    println!("{} assets, {} agree", cases.len(), cases.len() - wrong.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.concat());
}
