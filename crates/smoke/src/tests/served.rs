//! Pages that are more than their HTML: XHTML, and policies and links that come as headers.

use url::Url;

use crate::page::PageHeaders;
use crate::page::encoding_of;
use crate::page::scan;
use crate::page::upgrades_insecure_requests;
use crate::tests::mixed_content::seen_with;

/// A page, with the lines of its head and what is found on it.
pub(super) struct Served {
    /// Its header lines, without that of its length.
    pub(super) headers: &'static [&'static str],
    /// Its body.
    pub(super) html: &'static str,
    wanted: &'static [&'static str],
}

impl Served {
    /// What the page's headers say, as they are read from an answer.
    pub(super) fn page_headers(&self) -> PageHeaders {
        let values = |name: &str| {
            let lines = self.headers.iter().filter_map(|line| line.split_once(": ")).filter(|(other, _)| *other == name);
            lines.map(|(_, value)| value.to_owned()).collect::<Vec<_>>()
        };
        let policies = values("content-security-policy");
        PageHeaders {
            upgrades: policies.iter().any(|policy| upgrades_insecure_requests(policy)),
            policies,
            links: values("link"),
            encoding: encoding_of(self.html.as_bytes(), values("content-type").first().map(String::as_str)),
            is_xhtml: self.headers == XHTML,
            ..PageHeaders::default()
        }
    }
}

const HTML: &str = "content-type: text/html; charset=utf-8";
pub(super) const XHTML: &[&str] = &["content-type: application/xhtml+xml"];

/// Every table.
pub(super) const SERVED: &[&[Served]] = &[WELL_FORMED, BY_HEADER, ENCODED];

const fn xhtml(html: &'static str, wanted: &'static [&'static str]) -> Served {
    Served { headers: XHTML, html, wanted }
}

const fn html(headers: &'static [&'static str], html: &'static str, wanted: &'static [&'static str]) -> Served {
    Served { headers, html, wanted }
}

const WELL_FORMED: &[Served] = &[
    xhtml(
        r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><img src="http://x.test/a"/></body></html>"#,
        &["upgraded_asset img[src]"],
    ),
    xhtml(
        r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><IMG src="http://x.test/a"/></body></html>"#,
        &[],
    ),
    xhtml(
        r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><noscript><img src="http://x.test/a"/></noscript></body></html>"#,
        &["upgraded_asset img[src]"],
    ),
    xhtml(
        r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><template><img src="http://x.test/a"/></template></body></html>"#,
        &[],
    ),
    xhtml(
        r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><div><template shadowrootmode="open"><img src="http://x.test/a"/></template></div></body></html>"#,
        &[],
    ),
    xhtml(
        r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title><style>body{background:url(http://x.test/a)}</style></head><body></body></html>"#,
        &["upgraded_asset style"],
    ),
    xhtml(
        r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title><style><![CDATA[body{background:url(http://x.test/a?x&y)}]]></style></head><body></body></html>"#,
        &["upgraded_asset style"],
    ),
    xhtml(
        r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title><style><!-- body{background:url(http://x.test/a)} --></style></head><body></body></html>"#,
        &[],
    ),
    xhtml(
        r#"<?xml-stylesheet type="text/css" href="http://x.test/a"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body></body></html>"#,
        &["blocked_asset ?xml-stylesheet[href]"],
    ),
    xhtml(
        r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><?xml-stylesheet type="text/css" href="http://x.test/a"?></body></html>"#,
        &[],
    ),
    xhtml(
        r#"<?xml-stylesheet href="http://x.test/a"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body></body></html>"#,
        &["blocked_asset ?xml-stylesheet[href]"],
    ),
    xhtml(
        r#"<?xml-stylesheet type="text/xsl" href="http://x.test/a"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body></body></html>"#,
        &[],
    ),
    xhtml(
        r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><s:svg xmlns:s="http://www.w3.org/2000/svg" xmlns:k="http://www.w3.org/1999/xlink"><s:image k:href="http://x.test/a"/></s:svg></body></html>"#,
        &["upgraded_asset image[xlink:href]"],
    ),
    xhtml(
        r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><svg><image href="http://x.test/a"/></svg></body></html>"#,
        &[],
    ),
    xhtml(r#"<html><body><img src="http://x.test/a"/></body></html>"#, &[]),
    xhtml(
        r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><textarea><img src="http://x.test/a"/></textarea></body></html>"#,
        &["upgraded_asset img[src]"],
    ),
    xhtml(
        r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><iframe><img src="http://x.test/a"/></iframe></body></html>"#,
        &["upgraded_asset img[src]"],
    ),
    xhtml(
        r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title><link rel="stylesheet" href="http://x.test/a"/></head><body></body></html>"#,
        &["blocked_asset link[href]"],
    ),
    xhtml(
        r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title><base href="http://x.test/"/></head><body><img src="a"/></body></html>"#,
        &["upgraded_asset img[src]"],
    ),
    xhtml(
        r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><div xml:base="http://x.test/"><img src="a"/></div></body></html>"#,
        &[],
    ),
    xhtml(
        r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><iframe srcdoc="&lt;img src=http://x.test/a>"/></body></html>"#,
        &["upgraded_asset iframe[srcdoc] img[src]"],
    ),
    xhtml(
        r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><p style="background:url(http://x.test/a)"/></body></html>"#,
        &["upgraded_asset p[style]"],
    ),
    xhtml(
        r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><script type="module">import "http://x.test/a"</script></body></html>"#,
        &["blocked_asset script"],
    ),
    xhtml(
        r#"<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd"><html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><p>&nbsp;</p><img src="http://x.test/a"/></body></html>"#,
        &["upgraded_asset img[src]"],
    ),
    xhtml(
        r#"<!DOCTYPE html [<!ENTITY u "http://x.test/e">]><html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><img src="&u;"/></body></html>"#,
        &["upgraded_asset img[src]"],
    ),
];

const UPGRADES: &str = "content-security-policy: upgrade-insecure-requests";

const BY_HEADER: &[Served] = &[
    html(&[HTML, UPGRADES], "<script src=http://x.test/a></script>", &["rescued_asset script[src]"]),
    html(&[HTML, UPGRADES], "<iframe src=http://x.test/a></iframe>", &["rescued_asset iframe[src]"]),
    html(&[HTML, UPGRADES], r#"<img srcset="http://x.test/a 1x">"#, &["rescued_asset img[srcset]"]),
    html(
        &[HTML, UPGRADES],
        "<iframe srcdoc='<link rel=stylesheet href=http://x.test/a>'></iframe>",
        &["rescued_asset iframe[srcdoc] link[href]"],
    ),
    html(&[HTML, UPGRADES], r#"<style>@import "http://x.test/a"</style>"#, &["rescued_asset style"]),
    html(
        &[HTML, "content-security-policy-report-only: upgrade-insecure-requests"],
        "<script src=http://x.test/a></script>",
        &["blocked_asset script[src]"],
    ),
    html(&[HTML, "content-security-policy: block-all-mixed-content"], "<img src=http://x.test/a>", &["upgraded_asset img[src]"]),
    html(
        &[HTML, "content-security-policy: img-src *; Upgrade-Insecure-Requests"],
        "<script src=http://x.test/a></script>",
        &["rescued_asset script[src]"],
    ),
    html(&[HTML, "content-security-policy: base-uri 'self'"], "<base href=http://x.test/><img src=a>", &[]),
    html(&[HTML, "content-security-policy: base-uri http://x.test"], "<base href=http://x.test/><img src=a>", &["upgraded_asset img[src]"]),
    html(&[HTML, "content-security-policy: base-uri 'none'"], "<base href=http://x.test/><link rel=stylesheet href=a>", &[]),
    html(&[HTML, "link: <http://x.test/a>; rel=preload; as=style"], "<p>", &["blocked_asset Link header"]),
    html(&[HTML, "link: <http://x.test/a>; rel=preload; as=image"], "<p>", &["upgraded_asset Link header"]),
    html(&[HTML, "link: <http://x.test/a>; rel=modulepreload"], "<p>", &["blocked_asset Link header"]),
    html(&[HTML, "link: <http://x.test/a>; rel=stylesheet"], "<p>", &[]),
    html(&[HTML, "link: <http://x.test/a>; rel=preconnect"], "<p>", &[]),
    html(&[HTML, "link: <http://x.test/a>; rel=preload"], "<p>", &[]),
    html(&[HTML, "link: <http://x.test/a,b>; rel=\"preload\"; as=\"script\", <b>; rel=next"], "<p>", &["blocked_asset Link header"]),
    html(&[HTML, UPGRADES, "link: <http://x.test/a>; rel=preload; as=script"], "<p>", &["rescued_asset Link header"]),
];

/// An address shows in which encoding its page was read: its query is written in it.
const ENCODED: &[Served] = &[
    html(&["content-type: text/html; charset=windows-1252"], "<img src='http://x.test/?&eacute;'>", &["upgraded_asset img[src]"]),
    html(&["content-type: text/html; charset=shift_jis"], "<img src='http://x.test/?&#x3042;'>", &["upgraded_asset img[src]"]),
    html(&["content-type: text/html"], "<meta charset=latin1><img src='http://x.test/?&eacute;'>", &["upgraded_asset img[src]"]),
    html(&["content-type: text/html"], "<meta charset=utf-16><img src='http://x.test/?&eacute;'>", &["upgraded_asset img[src]"]),
    html(&[HTML], "<meta charset=latin1><img src='http://x.test/?&eacute;'>", &["upgraded_asset img[src]"]),
    html(&["content-type: text/html; charset=latin1"], "\u{feff}<img src='http://x.test/?&eacute;'>", &["upgraded_asset img[src]"]),
];

#[test]
fn pages_as_they_are_served() {
    let pages = SERVED.iter().copied().flatten();
    let wrong: Vec<String> = pages
        .filter(|page| seen_with(page.html, &page.page_headers()) != page.wanted)
        .map(|page| format!("{}\n  wanted {:?}\n  saw    {:?}\n", page.html, page.wanted, seen_with(page.html, &page.page_headers())))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.concat());
}

/// Chromium shows its error for each of these, and not what stands behind the fault: an image, mostly.
pub(super) const MALFORMED: &[&str] = &[
    r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><!-- a -- b --><img src="http://x.test/a"/></body></html>"#,
    r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><p>a</b><img src="http://x.test/a"/></body></html>"#,
    r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><p>&nbsp;</p><img src="http://x.test/a"/></body></html>"#,
    r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><x:p/><img src="http://x.test/a"/></body></html>"#,
    r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><p x:a="1"/><img src="http://x.test/a"/></body></html>"#,
    r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><p a="1" a="2"/><img src="http://x.test/a"/></body></html>"#,
    r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><p a=1/><img src="http://x.test/a"/></body></html>"#,
    r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><p a="&lt;<"/><img src="http://x.test/a"/></body></html>"#,
    r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><p a/><img src="http://x.test/a"/></body></html>"#,
    r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body>]]><img src="http://x.test/a"/></body></html>"#,
    r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><img src="http://x.test/a"/></body></html>text"#,
    r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><img src="http://x.test/a"/></body></html><p/>"#,
    r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><img src="http://x.test/a"/></body>"#,
    r#"  <?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><img src="http://x.test/a"/></body></html>"#,
    r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body>a & b<img src="http://x.test/a"/></body></html>"#,
    r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body>&#0;<img src="http://x.test/a"/></body></html>"#,
    r#"<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><script>if (a && b) 1</script><img src="http://x.test/a"/></body></html>"#,
];

#[test]
fn malformed_pages_are_found_out() {
    let page = Url::parse("https://site.test/dir/page").unwrap();
    let headers = PageHeaders { is_xhtml: true, ..PageHeaders::default() };
    for html in MALFORMED {
        assert!(scan(html, &page, &headers).malformed.is_some(), "{html}");
        // Only what stands before the fault is asked for: nothing, where the root element is not closed yet.
        let is_late = html.ends_with("text") || html.ends_with("<p/>") || html.ends_with("</body>") || html.contains("<x:");
        assert_eq!(!scan(html, &page, &headers).assets.is_empty(), is_late, "{html}");
    }
    for served in WELL_FORMED {
        assert_eq!(scan(served.html, &page, &headers).malformed, None, "{}", served.html);
    }
    let ends_early = scan(
        "<p xmlns='http://www.w3.org/1999/xhtml'>\n<img src='http://x.test/a'/>\n</b><img src='http://x.test/b'/></p>",
        &page,
        &headers,
    );
    assert_eq!((ends_early.assets.len(), ends_early.malformed.unwrap().line), (1, 3));
}
