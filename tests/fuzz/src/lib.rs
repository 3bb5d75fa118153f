//! The page scanner from its own sources, and what must hold for any input.

use url::Url;

#[path = "../../../crates/smoke/src/page/mod.rs"]
#[allow(dead_code, unused_imports, unreachable_pub)]
mod page;
#[path = "../../../crates/smoke/src/page/srcset.rs"]
#[allow(dead_code)]
mod srcset;

fn site() -> Url {
    Url::parse("https://site.test/dir/page").unwrap()
}

/// Scans `bytes` as a page, and checks what is said of its assets. The first byte says how it is served.
pub fn page(bytes: &[u8]) {
    let content_type = match bytes.first() {
        Some(b'l') => Some("text/html; charset=latin1"),
        Some(b'u') => Some("text/html; charset=utf-8"),
        Some(b'x') => Some("application/xhtml+xml"),
        _ => None,
    };
    let is_xhtml = bytes.first() == Some(&b'x');
    let text = page::decode(&bytes[usize::from(content_type.is_some())..], content_type);
    let headers = page::PageHeaders { is_xhtml, ..page::PageHeaders::default() };
    let scan = page::scan(&text, &site(), &headers);
    judge(&scan, &text);
    assert_eq!(scan, page::scan(&text, &site(), &headers), "two scans differ");
}

/// As HTML and CSS count them.
fn lines(text: &str) -> u32 {
    text.matches(['\n', '\r', '\u{c}']).count() as u32 + 1
}

fn judge(scan: &page::PageScan, text: &str) {
    let lines = lines(text);
    for asset in &scan.assets {
        assert!(!asset.written.is_empty(), "an empty address is never asked for: {asset:?}");
        assert!((1..=lines).contains(&asset.line), "{asset:?} is not one of {lines} lines");
        assert!(!asset.element.is_empty(), "{asset:?} stands nowhere");
    }
}

/// Reads `bytes` as a style element, a style attribute and a linked sheet.
pub fn css(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let attribute = text.replace('&', "&amp;").replace('"', "&quot;");
    let html = format!("<p class=a id=b><svg><rect fill=\"{attribute}\"/></svg><p style=\"{attribute}\"><style>{text}");
    let mut scan = page::scan(&html, &site(), &page::PageHeaders::default());
    judge(&scan, &html);
    let link = page::scan("<link rel=stylesheet href=a>", &site(), &page::PageHeaders::default()).assets.remove(0);
    let lines = lines(&text);
    for asset in scan.styles.read(&text, &site(), &link) {
        // What a custom property of the page holds may come into use by the sheet.
        assert!(asset.sheet.is_none() || asset.line <= lines, "{asset:?} is not one of {lines} lines");
        assert!(!asset.written.starts_with('#'), "{asset:?} names something in the page");
    }
}

/// Reads `bytes` as a `srcset`: each candidate is a word of it, without spaces and without commas at its end.
pub fn srcset(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for candidate in srcset::parse(&text) {
        assert!(!candidate.url.is_empty() && text.contains(&candidate.url), "{candidate:?}");
        assert!(!candidate.url.contains([' ', '\t', '\n', '\r', '\u{c}']), "{candidate:?}");
        assert!(!candidate.url.starts_with(',') && !candidate.url.ends_with(','), "{candidate:?}");
    }
}

/// Reads the first line as a `Link` header, the second as a policy, the third as a content type, and decodes the rest by it.
pub fn headers(bytes: &[u8]) {
    let mut lines = bytes.splitn(4, |byte| *byte == b'\n');
    let mut line = || String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let (link, policy, content_type, body) = (line(), line(), line(), bytes);
    let encoding = page::encoding_of(body, Some(&content_type));
    let text = page::decode(body, Some(&content_type));
    let upgrades = page::upgrades_insecure_requests(&policy);
    let headers = page::PageHeaders { upgrades, policies: vec![policy], encoding, links: vec![link], ..page::PageHeaders::default() };
    let html = format!("<base href=//other.test/><img src='a?{text}'>");
    for asset in page::scan(&html, &site(), &headers).assets {
        assert!(asset.line > 0 || asset.element == "Link header", "{asset:?}");
        assert_eq!(asset.rescued, upgrades, "{asset:?}");
    }
}
