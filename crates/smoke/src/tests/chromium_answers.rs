//! How an answer comes, beside Chromium itself: packed in every way, ended in every way, and with every certificate. What
//! Chromium shows asks for a picture.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::browser::program::Chromium;
use crate::browser::session::Session;
use crate::plan::BrowserPlan;
use crate::plan::SmokePlan;
use crate::tests::server::Authority;
use crate::tests::server::Server;
use crate::tests::server::Talk;
use crate::tests::server::look;

const PAGE: &str = "<!doctype html><meta charset=utf-8><link rel=icon href=data:,><title>x</title><img src=/seen>";

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(content).unwrap();
    packed.finish().unwrap()
}

fn zlib(content: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(content).unwrap();
    packed.finish().unwrap()
}

fn deflate(content: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(content).unwrap();
    packed.finish().unwrap()
}

fn zstd(content: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(content, ruzstd::encoding::CompressionLevel::Fastest)
}

/// One block that is not packed and an empty last one (RFC 7932), of a page of up to 64 KiB.
fn brotli(content: &[u8]) -> Vec<u8> {
    // Window of 16 bits, then: not last, four nibbles of length - 1, not packed, padding.
    let length = content.len() as u32 - 1;
    let bits = (length << 4) | (1 << 20);
    [&bits.to_le_bytes()[..3], content, &[3]].concat()
}

struct Case {
    what: &'static str,
    /// The lines of its head, with those of its length.
    head: String,
    body: Vec<u8>,
}

fn sized(what: &'static str, encoding: &str, body: Vec<u8>) -> Case {
    Case { what, head: format!("content-encoding: {encoding}\r\ncontent-length: {}\r\n", body.len()), body }
}

fn packed() -> Vec<Case> {
    let page = PAGE.as_bytes();
    let long = PAGE.repeat(400).into_bytes();
    let half = |whole: Vec<u8>| whole[..whole.len() / 2].to_vec();
    let mut wrong_sum = gzip(page);
    let end = wrong_sum.len();
    wrong_sum[end - 6] ^= 1;
    vec![
        sized("gzip", "gzip", gzip(page)),
        sized("x-gzip", "X-GZIP", gzip(page)),
        sized("gzip with something behind it", "gzip", [gzip(page), b"something".to_vec()].concat()),
        sized("half of a gzip", "gzip", half(gzip(&long))),
        sized("gzip with a wrong sum", "gzip", wrong_sum),
        sized("no gzip at all", "gzip", page.to_vec()),
        sized("deflate", "deflate", zlib(page)),
        sized("bare deflate", "deflate", deflate(page)),
        sized("no deflate at all", "deflate", page.to_vec()),
        sized("br", "br", brotli(page)),
        sized("half of a br", "br", half(brotli(page))),
        sized("no br at all", "br", page.to_vec()),
        sized("zstd", "zstd", zstd(page)),
        sized("half of a zstd", "zstd", half(zstd(page))),
        sized("no zstd at all", "zstd", page.to_vec()),
        sized("deflate and then gzip", "deflate, gzip", gzip(&zlib(page))),
        sized("gzip and then br", "gzip, br", brotli(&gzip(page))),
        sized("gzip in the wrong order", "gzip, br", gzip(&brotli(page))),
        sized("identity", "identity", page.to_vec()),
        sized("nothing", "", page.to_vec()),
        sized("an unknown word", "utf-8", page.to_vec()),
        sized("an unknown word beside gzip", "gzip, utf-8", gzip(page)),
        sized("an empty gzip", "gzip", gzip(b"")),
        sized("nothing as gzip", "gzip", Vec::new()),
    ]
}

fn ended() -> Vec<Case> {
    let page = PAGE.as_bytes();
    let case = |what, head: &str, body: Vec<u8>| Case { what, head: head.to_owned(), body };
    let length = format!("content-length: {}\r\n", page.len());
    let longer = format!("content-length: {}\r\n", page.len() + 10);
    let chunk = format!("{:x}\r\n{PAGE}\r\n", page.len());
    let chunked = "transfer-encoding: chunked\r\n";
    vec![
        case("as long as it said", &length, page.to_vec()),
        case("shorter than it said", &longer, page.to_vec()),
        case("a last chunk", chunked, format!("{chunk}0\r\n\r\n").into_bytes()),
        case("no last chunk", chunked, chunk.clone().into_bytes()),
        case("half a chunk", chunked, chunk.as_bytes()[..chunk.len() - 20].to_vec()),
        case("until the connection ends", "", page.to_vec()),
    ]
}

async fn serve(authority: &Authority, talk: Talk, cases: Vec<Case>) -> Server {
    Server::start_with_bytes(
        authority,
        move |_| talk.clone(),
        Box::new(move |_, head| {
            let number = head.split("GET /page/").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok());
            let Some(case) = number.and_then(|number| cases.get(number)) else {
                return Some(b"HTTP/1.1 204 X\r\nconnection: close\r\n\r\n".to_vec());
            };
            let start = format!("HTTP/1.1 200 X\r\ncontent-type: text/html; charset=utf-8\r\n{}connection: close\r\n\r\n", case.head);
            Some([start.as_bytes(), &case.body].concat())
        }),
    )
    .await
}

fn plan_of(server: &Server, number: usize) -> SmokePlan {
    let plan = server.plan();
    SmokePlan { url: plan.url.join(&format!("/page/{number}")).unwrap(), ..plan }
}

/// Whether Chromium showed each page: it asked for its picture.
async fn shown(server: &Server, count: usize) -> Vec<bool> {
    let plan = server.plan();
    let trusted = server.keys().await;
    let browser = BrowserPlan { program: None, is_optional: false, deadline: Duration::from_mins(10), screenshots: None, har: None };
    let (chromium, mut cdp) = Chromium::start(&plan, &browser, &trusted, &[]).unwrap();
    let mut shown = Vec::new();
    for number in 0..count {
        let mut session = Session::open(&mut cdp, &plan, None).await.unwrap();
        session.navigate(plan_of(server, number).url.as_str()).await.unwrap();
        let is_over = session.wait_until_loaded(Instant::now() + Duration::from_mins(1), Duration::from_millis(100)).await.unwrap();
        let watched = session.close().await;
        assert!(is_over, "{number}: {:?}", watched.requests);
        let failed = watched.requests.iter().any(|request| request.kind == "Document" && request.failed.is_some());
        shown.push(!failed && watched.requests.iter().any(|request| request.url.ends_with("/seen")));
    }
    chromium.end().await;
    shown
}

/// Compares what is said of each case; `part` are those where Chromium shows the page and it is a fault nevertheless.
async fn agree(what: &str, talk: impl Fn(Arc<rustls::ServerConfig>) -> Talk, cases: fn() -> Vec<Case>, part: &[&str]) {
    let authority = Authority::new("Test Authority");
    let config = Arc::new(authority.leaf(&["site.test"], |_| {}));
    let server = serve(&authority, talk(config), cases()).await;
    let shown = shown(&server, cases().len()).await;
    let mut wrong = Vec::new();
    for (number, (case, shown)) in cases().iter().zip(shown).enumerate() {
        let report = look(&plan_of(&server, number), None).await;
        let ours = report.passed() && report.assets > 0;
        if ours != shown && !part.contains(&case.what) {
            wrong.push(format!("{what}, {}: Chromium showed it: {shown}; ours: {:?}\n", case.what, report.findings));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.concat());
}

#[tokio::test]
async fn what_comes_packed_is_read_as_chromium_reads_it() {
    agree("packed", Talk::Tls, packed, &[]).await;
}

#[tokio::test]
async fn an_answer_ends_where_it_ends_for_chromium() {
    agree("ended", Talk::Tls, ended, &[]).await;
    agree("cut", Talk::Cut, ended, &[]).await;
}
