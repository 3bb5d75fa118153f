//! What http:// does on an https page: one row for each row of the table that was observed in Chromium.

use url::Url;

use crate::mixed;
use crate::page::PageHeaders;
use crate::page::scan;
use crate::report::Effect;
use crate::report::Severity;
use crate::tests::conditions;
use crate::tests::modules;
use crate::tests::rows;

/// `rule element` of each finding, worst first, `?` behind a warning of a rule that fails otherwise.
pub(super) fn seen_with(html: &str, headers: &PageHeaders) -> Vec<String> {
    let page = Url::parse("https://site.test/dir/page").unwrap();
    let seen = mixed::judge(&scan(html, &page, headers), &page, &crate::plan::RuleLevels::new());
    let mut lines = Vec::new();
    for finding in seen.findings {
        let lesser = finding.severity == Severity::Warning && matches!(finding.effect, Effect::Blocked | Effect::Upgraded);
        lines.push(format!("{} {}{}", finding.rule, finding.element.unwrap_or_default(), if lesser { "?" } else { "" }));
    }
    lines
}

fn seen(html: &str) -> Vec<String> {
    seen_with(html, &PageHeaders::default())
}

/// Pages, each with what is found on it.
pub(super) type Table = &'static [(&'static str, &'static [&'static str])];

/// Every table; `chromium.rs` asks Chromium as well.
pub(super) const TABLES: &[Table] = &[
    LINKS,
    SCRIPTS,
    IMAGES,
    MEDIA_OBJECTS_AND_FRAMES,
    INERT_AND_LIVE_PLACES,
    STYLES,
    SVG,
    BASE,
    SPELLINGS_OF_ADDRESSES,
    FORMS_WARN,
    conditions::SUPPORTS,
    conditions::MEDIA,
    conditions::CHOICES,
    conditions::SANDBOXES,
    conditions::SELECTORS,
    conditions::UNSEEN,
    modules::IMPORTS,
    modules::IMPORT_MAPS,
    rows::HOSTS,
    rows::POLICIES,
    rows::ITEMS,
];

/// Every page of the table has just what is said of it.
pub(super) fn holds(table: Table) {
    let wrong: Vec<String> = table
        .iter()
        .filter(|(html, wanted)| seen(html) != *wanted)
        .map(|(html, wanted)| format!("{html}\n  wanted {wanted:?}\n  saw    {:?}\n", seen(html)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.concat());
}

const LINKS: Table = &[
    ("<link rel=stylesheet href=http://x.test/a.css>", &["blocked_asset link[href]"]),
    ("<link rel='alternate StyleSheet' href=http://x.test/a.css>", &["blocked_asset link[href]"]),
    ("<link rel=stylesheet media=print href=http://x.test/a.css>", &["blocked_asset link[href]"]),
    ("<body><p><link rel=stylesheet type='' href=' http://x.test/a.css '>", &["blocked_asset link[href]"]),
    ("<link rel=stylesheet disabled href=http://x.test/a.css>", &[]),
    ("<link rel=stylesheet type=text/less href=http://x.test/a.css>", &[]),
    ("<link rel=icon href=http://x.test/a.ico>", &["blocked_asset link[href]"]),
    ("<link rel='shortcut icon' href=http://x.test/a.ico>", &["blocked_asset link[href]"]),
    ("<link rel=apple-touch-icon href=http://x.test/a.png><link rel=mask-icon href=http://x.test/a.svg>", &[]),
    ("<link rel=preload as=style href=http://x.test/a>", &["blocked_asset link[href]"]),
    ("<link rel=preload as=font href=http://x.test/a>", &["blocked_asset link[href]"]),
    ("<link rel=preload as=fetch href=http://x.test/a>", &["blocked_asset link[href]"]),
    ("<link rel=preload as=track href=http://x.test/a>", &["blocked_asset link[href]"]),
    ("<link rel=preload as=image href=http://x.test/a>", &["upgraded_asset link[href]"]),
    ("<link rel=preload as=image imagesrcset='http://x.test/a 1x'>", &["upgraded_asset link[imagesrcset]"]),
    ("<link rel=preload href=http://x.test/a><link rel=preload as=rubbish href=http://x.test/a>", &[]),
    ("<link rel=modulepreload href=http://x.test/a>", &["blocked_asset link[href]"]),
    ("<link rel=prefetch href=http://x.test/a>", &["blocked_asset link[href]"]),
    ("<link rel=manifest href=http://x.test/a>", &["blocked_asset link[href]?"]),
    ("<link rel=preconnect href=http://x.test/><link rel=dns-prefetch href=http://x.test/><link rel=canonical href=http://x.test/>", &[]),
    ("<link rel=alternate href=http://x.test/><link rel=next href=http://x.test/><link rel=pingback href=http://x.test/>", &[]),
    ("<link rel=profile href=http://x.test/><link rel=EditURI href=http://x.test/><link rel=me href=http://x.test/>", &[]),
    ("<link rel=license href=http://x.test/><link rel=search href=http://x.test/><link href=http://x.test/>", &[]),
];

#[test]
fn links() {
    holds(LINKS);
}

const SCRIPTS: Table = &[
    ("<script src=http://x.test/a.js></script>", &["blocked_asset script[src]"]),
    ("<script async src=http://x.test/a.js></script>", &["blocked_asset script[src]"]),
    ("<script defer type='' src=http://x.test/a.js></script>", &["blocked_asset script[src]"]),
    ("<script type=module src=http://x.test/a.js></script>", &["blocked_asset script[src]"]),
    ("<script type=' Text/JScript ' src=http://x.test/a.js></script>", &["blocked_asset script[src]"]),
    ("<script language=JavaScript1.2 src=http://x.test/a.js></script>", &["blocked_asset script[src]"]),
    ("<script type=application/ld+json src=http://x.test/a.js></script>", &[]),
    ("<script type=text/template src=http://x.test/a.js></script><script type=importmap src=http://x.test/a></script>", &[]),
    ("<script nomodule src=http://x.test/a.js></script>", &[]),
    ("<script for=a event=onclick src=http://x.test/a.js></script>", &[]),
    ("<script>var s = '<img src=http://x.test/a>'</script>", &[]),
    ("<script type=application/ld+json>{\"@id\": \"http://x.test/\"}</script>", &[]),
    ("<script type=speculationrules>{\"prefetch\":[{\"urls\":[\"http://x.test/\"]}]}</script>", &[]),
    ("<svg><script href=http://x.test/a.js></script></svg>", &["blocked_asset script[href]"]),
    ("<svg><script xlink:href=http://x.test/a.js></script></svg>", &["blocked_asset script[xlink:href]"]),
];

#[test]
fn scripts() {
    holds(SCRIPTS);
}

const IMAGES: Table = &[
    ("<img src=http://x.test/a.png>", &["upgraded_asset img[src]"]),
    ("<img crossorigin src=http://x.test/a.png>", &["upgraded_asset img[src]"]),
    ("<img loading=lazy src=http://x.test/a.png>", &["upgraded_asset img[src]"]),
    ("<image src=http://x.test/a.png>", &["upgraded_asset img[src]"]),
    ("<input type=IMAGE src=http://x.test/a.png>", &["upgraded_asset input[src]"]),
    ("<input src=http://x.test/a.png>", &[]),
    ("<img srcset='http://x.test/a 1x, /b 2x'>", &["blocked_asset img[srcset]"]),
    ("<img srcset='/a 1x' src=http://x.test/old.png>", &[]),
    ("<img srcset='/a 2x' src=http://x.test/old.png>", &["blocked_asset img[src]"]),
    ("<picture><source srcset=http://x.test/a><img src=/b></picture>", &["blocked_asset source[srcset]"]),
    ("<picture><source src=http://x.test/a><img src=/b></picture>", &[]),
    ("<picture><source srcset=http://x.test/a></picture>", &[]),
    ("<source src=http://x.test/a><source srcset=http://x.test/a><track src=http://x.test/a>", &[]),
    ("<img src='http://x.test/a&amp;b'>", &["upgraded_asset img[src]"]),
    ("<select><img src=http://x.test/a></select>", &["upgraded_asset img[src]"]),
    ("<body background=http://x.test/a>", &["upgraded_asset body[background]"]),
    (
        "<table background=http://x.test/a><tr background=http://x.test/a><td background=http://x.test/a>",
        &["upgraded_asset table[background]", "upgraded_asset tr[background]", "upgraded_asset td[background]"],
    ),
    ("<div background=http://x.test/a>", &[]),
];

#[test]
fn images() {
    holds(IMAGES);
}

const MEDIA_OBJECTS_AND_FRAMES: Table = &[
    ("<video src=http://x.test/a></video>", &["upgraded_asset video[src]"]),
    ("<audio src=http://x.test/a></audio>", &["upgraded_asset audio[src]"]),
    ("<video poster=http://x.test/a></video>", &["upgraded_asset video[poster]"]),
    ("<video><source src=http://x.test/a></video>", &["upgraded_asset source[src]"]),
    ("<video><source srcset=http://x.test/a></video>", &[]),
    ("<video src=/b><source src=http://x.test/a></video>", &[]),
    ("<video preload=none src=http://x.test/a></video>", &["upgraded_asset video[src]?"]),
    ("<video preload=none autoplay src=http://x.test/a></video>", &["upgraded_asset video[src]"]),
    ("<video><track src=http://x.test/a></video>", &["blocked_asset track[src]?"]),
    ("<object data=http://x.test/a></object>", &["blocked_asset object[data]"]),
    ("<embed src=http://x.test/a>", &["blocked_asset embed[src]"]),
    ("<object data=/a><embed src=http://x.test/a></object>", &[]),
    ("<object classid=http://x.test/a codebase=http://x.test/a archive=http://x.test/a><param value=http://x.test/a></object>", &[]),
    ("<applet codebase=http://x.test/a archive=http://x.test/a></applet>", &[]),
    ("<iframe src=http://x.test/a></iframe>", &["blocked_asset iframe[src]"]),
    ("<iframe loading=lazy src=http://x.test/a></iframe>", &["blocked_asset iframe[src]"]),
    ("<frameset><frame src=http://x.test/a></frameset>", &["blocked_asset frame[src]"]),
    ("<iframe srcdoc='<img src=http://x.test/a>' src=http://x.test/b></iframe>", &["upgraded_asset iframe[srcdoc] img[src]"]),
    ("<iframe srcdoc='<link rel=stylesheet href=http://x.test/a>'></iframe>", &["blocked_asset iframe[srcdoc] link[href]"]),
    ("<iframe src='data:text/html,<script src=http://x.test/a></script>'></iframe>", &["blocked_asset iframe[src] script[src]"]),
    ("<iframe src=/a><img src=http://x.test/b></iframe>", &[]),
];

#[test]
fn media_objects_and_frames() {
    holds(MEDIA_OBJECTS_AND_FRAMES);
}

const INERT_AND_LIVE_PLACES: Table = &[
    ("<template><img src=http://x.test/a></template>", &[]),
    ("<div><template shadowrootmode=open><img src=http://x.test/a></template></div>", &["upgraded_asset img[src]"]),
    ("<div><template shadowrootmode=closed><link rel=stylesheet href=http://x.test/a></template></div>", &["blocked_asset link[href]"]),
    ("<my-card><template shadowrootmode=open><img src=http://x.test/a></template></my-card>", &["upgraded_asset img[src]"]),
    ("<div><template shadowrootmode=rubbish><img src=http://x.test/a></template></div>", &[]),
    ("<ul><template shadowrootmode=open><img src=http://x.test/a></template></ul>", &[]),
    ("<noscript><img src=http://x.test/a></noscript>", &[]),
    ("<head><noscript><link rel=stylesheet href=http://x.test/a></noscript></head>", &[]),
    ("<pre><code><img src=http://x.test/a></code></pre>", &["upgraded_asset img[src]"]),
    ("<textarea><img src=http://x.test/a></textarea><title><img src=http://x.test/a></title>", &[]),
    ("<xmp><img src=http://x.test/a></xmp><noembed><img src=http://x.test/a></noembed>", &[]),
    ("<noframes><img src=http://x.test/a></noframes><plaintext><img src=http://x.test/a>", &[]),
    ("<!-- <img src=http://x.test/a> --><!--[if IE]><img src=http://x.test/a><![endif]-->", &[]),
    ("<![if !IE]><img src=http://x.test/a><![endif]>", &["upgraded_asset img[src]"]),
    ("<a href=http://x.test/><map><area href=http://x.test/></map><q cite=http://x.test/></q></a>", &[]),
    ("<a download href=http://x.test/ ping=http://x.test/>x</a><meta property=refresh content='0;url=http://x.test/'>", &[]),
    ("<meta http-equiv=Refresh content='0; URL=\"http://x.test/\"'>", &["redirect_to_http meta[content]"]),
    ("<body><meta http-equiv=refresh content='600,http://x.test/'>", &["redirect_to_http meta[content]"]),
    (
        "<meta http-equiv=refresh content='0;url=/a'><meta http-equiv=refresh content=30><meta http-equiv=refresh content='a;url=http://x.test/'>",
        &[],
    ),
    ("<noscript><meta http-equiv=refresh content='0;url=http://x.test/'></noscript>", &[]),
    ("<html xmlns=http://x.test/ xmlns:og=http://x.test/ manifest=http://x.test/><meta property=og:image content=http://x.test/>", &[]),
    ("<div data-src=http://x.test/ itemtype=http://x.test/ itemid=http://x.test/>http://x.test/</div><img usemap=http://x.test/>", &[]),
    ("<img src=//y.test/a><img src=/a><img src=a><img src=''><img src=https://y.test/a>", &[]),
];

#[test]
fn inert_and_live_places() {
    holds(INERT_AND_LIVE_PLACES);
}

const IMAGE: &[&str] = &["upgraded_asset style"];
const SHEET: &[&str] = &["blocked_asset style"];
const STYLES: Table = &[
    ("<p style='background:url(http://x.test/a)'>", &["upgraded_asset p[style]"]),
    ("<p style=\"background: url( 'http://x.test/a' ) no-repeat\">", &["upgraded_asset p[style]"]),
    ("<p style='BACKGROUND:U\\52L(http://x.test/a)'>", &["upgraded_asset p[style]"]),
    ("<p style='list-style-image:url(http://x.test/a);'>", &["upgraded_asset p[style]"]),
    (
        "<p style='mask-image:url(http://x.test/a)'><p style='cursor:url(http://x.test/b),auto'>",
        &["upgraded_asset p[style]", "upgraded_asset p[style]"],
    ),
    ("<p style=\"background-image:image-set('http://x.test/a' 1x, url(/b) 2x)\">", &["upgraded_asset p[style]"]),
    ("<p style=\"background-image:image-set('/a' type('http://x.test/a'))\">", &[]),
    ("<p style='background:url(http://x.test/a);background:none'>", &[]),
    ("<p style='background:none;background:url(http://x.test/a b)'>", &[]),
    ("<p style='color:red /* url(http://x.test/a) */'><p style='quotes:\"http://x.test/\"'>", &[]),
    ("<p style='-moz-binding:url(http://x.test/a);behavior:url(http://x.test/a)'>", &[]),
    ("<p style='--a:url(http://x.test/a);background:var(--a)'>", &["upgraded_asset p[style]"]),
    ("<p style='--a:url(http://x.test/a)'>", &[]),
    ("<style>p{background:url(http://x.test/a)}</style><p>", IMAGE),
    ("<style>@media print{p{background:url(http://x.test/a)}}</style><p>", &["upgraded_asset style?"]),
    ("<style>@media screen{p{background:url(http://x.test/a)}}</style><p>", IMAGE),
    ("<style media=print>p{background:url(http://x.test/a)}</style><p>", &["upgraded_asset style?"]),
    ("<style>p{& b{background:url(http://x.test/a)}}</style><p><b>", IMAGE),
    ("<style>p{b:hover{background:url(http://x.test/a)}}</style><p><b>", &["upgraded_asset style?"]),
    ("<style>.no{background:url(http://x.test/a)}</style><p>", &[]),
    ("<style>.no{background:url(http://x.test/a)}</style><p><script></script>", &["upgraded_asset style?"]),
    ("<style>.yes,.no{background:url(http://x.test/a)}</style><p class='so Yes'>", IMAGE),
    ("<p><style>p{background:url(http://x.test/a", IMAGE),
    ("<style type=text/less>p{background:url(http://x.test/a)}</style><p>", &[]),
    ("<style>@import 'http://x.test/a';</style>", SHEET),
    ("<style>@import url(http://x.test/a) layer(x) supports(display:grid) screen;</style>", SHEET),
    ("<style>@\\69mport 'http://x.test/a'</style>", SHEET),
    ("<style media=print>@import 'http://x.test/a';</style>", SHEET),
    ("<style>@charset 'utf-8'; @layer a, b; <!-- @import 'http://x.test/a';</style>", SHEET),
    ("<style>p{} @import 'http://x.test/a';</style>", &[]),
    ("<style>@media all{@import 'http://x.test/a';}</style>", &[]),
    ("<style>@import 'http://x.test/a' supports(not (display:grid));</style>", &[]),
    ("<style>@namespace url(http://x.test/a); a[href='http://x.test/']{color:red}</style>", &[]),
    ("<style>@font-face{font-family:a;src:url(http://x.test/a)}</style>", SHEET),
    ("<style>@font-face{src:local(a),url(http://x.test/a.svg) format('svg'),url(http://x.test/a) format(woff2)}</style>", SHEET),
    ("<style>@font-face{src:url(/a),url(http://x.test/b)}</style>", &["blocked_asset style?"]),
    ("<style>@font-face{src:url(http://x.test/a);src:url(/a)}</style>", &[]),
    ("<style>@-moz-document url(http://x.test/){p{background:url(http://x.test/a)}}</style><p>", &[]),
    ("<style>@supports not (display:grid){p{background:url(http://x.test/a)}}</style><p>", &[]),
    ("<link rel=stylesheet href='data:text/css,@import \"http://x.test/a\"'>", &["blocked_asset link[href]"]),
    ("<style>@import 'data:text/css,@import%20\"http://x.test/a\"';</style>", SHEET),
];

#[test]
fn styles() {
    holds(STYLES);
}

const SVG: Table = &[
    ("<svg><image href=http://x.test/a /></svg>", &["upgraded_asset image[href]"]),
    ("<svg><image xlink:href=http://x.test/a /></svg>", &["upgraded_asset image[xlink:href]"]),
    ("<svg><image href=/b xlink:href=http://x.test/a /></svg>", &[]),
    ("<svg><filter><feImage href=http://x.test/a /></filter></svg>", &["upgraded_asset feImage[href]"]),
    ("<svg><use href=http://x.test/a#b /></svg>", &["upgraded_asset use[href]"]),
    ("<base href=http://x.test/><svg><use href=#b /><rect fill='url(#c)'/></svg>", &[]),
    ("<svg><rect fill='url(http://x.test/a#b)'/></svg>", &["upgraded_asset rect[fill]"]),
    ("<svg><a href=http://x.test/></a><link rel=stylesheet href=http://x.test/a /></svg>", &[]),
    ("<svg><style>rect{fill:url(http://x.test/a#b)}</style><rect/></svg>", &["upgraded_asset style"]),
    ("<svg><foreignObject><img src=http://x.test/a></foreignObject></svg>", &["upgraded_asset img[src]"]),
    ("<img src=\"data:image/svg+xml,<svg><image href='http://x.test/a'/></svg>\">", &[]),
];

#[test]
fn svg() {
    holds(SVG);
}

const BASE: Table = &[
    ("<base href=http://x.test/><img src=a>", &["upgraded_asset img[src]"]),
    ("<link rel=stylesheet href=a><base href=http://x.test/>", &[]),
    ("<base href=/b/><base href=http://x.test/><img src=a>", &[]),
    ("<base target=a><base href=http://x.test/><img src=a>", &["upgraded_asset img[src]"]),
    ("<base href=data:,x><base href=http://x.test/><img src=a>", &[]),
    ("<base href=javascript:x><img src=a>", &[]),
    ("<template><base href=http://x.test/></template><svg><base href=http://x.test/></base></svg><img src=a>", &[]),
    ("<base href=http://x.test/><img src=//y.test/a>", &["upgraded_asset img[src]"]),
    ("<base href=http://x.test/><iframe srcdoc='<img src=a>'></iframe>", &["upgraded_asset iframe[srcdoc] img[src]"]),
];

#[test]
fn base() {
    holds(BASE);
}

#[test]
fn policies() {
    let meta = "<meta http-equiv=Content-Security-Policy content=upgrade-insecure-requests>";
    let table: [(String, &[&str]); 8] = [
        (format!("<head>{meta}</head><script src=http://x.test/a></script>"), &["rescued_asset script[src]"]),
        (format!("<head><script src=http://x.test/a></script>{meta}</head>"), &["blocked_asset script[src]"]),
        (format!("<body>{meta}<img src=http://x.test/a>"), &["upgraded_asset img[src]"]),
        (format!("<head><!--{meta}--><template>{meta}</template></head><img src=http://x.test/a>"), &["upgraded_asset img[src]"]),
        (format!("<head>{}</head><img src=http://x.test/a>", meta.replace("Policy", "Policy-Report-Only")), &["upgraded_asset img[src]"]),
        (
            format!("<head>{}</head><img src=http://x.test/a>", meta.replace("upgrade-insecure-requests", "block-all-mixed-content")),
            &["upgraded_asset img[src]"],
        ),
        (format!("<head>{meta}</head><iframe srcdoc='<img src=http://x.test/a>'></iframe>"), &["rescued_asset iframe[srcdoc] img[src]"]),
        (format!("<head>{meta}</head><form action=http://x.test/a>"), &["insecure_form form[action]"]),
    ];
    for (html, wanted) in table {
        assert_eq!(seen(&html), wanted, "{html}");
    }
    let headers =
        PageHeaders { upgrades: true, links: vec!["<http://x.test/a>; rel=preload; as=script".to_owned()], ..PageHeaders::default() };
    assert_eq!(seen_with("<img src=http://x.test/b>", &headers), ["rescued_asset Link header", "rescued_asset img[src]"]);
    let headers = PageHeaders {
        upgrades: false,
        links: vec![
            "<http://x.test/a>; rel=preload; as=style, <http://x.test/b>; rel=stylesheet, <http://x.test/c>; rel=preconnect".to_owned(),
        ],
        ..PageHeaders::default()
    };
    assert_eq!(seen_with("", &headers), ["blocked_asset Link header"]);
}

#[test]
fn hosts() {
    for loopback in ["localhost", "localhost.", "a.localhost:8080", "127.0.0.1", "127.9.9.9", "0x7f.1", "[::1]"] {
        assert_eq!(seen(&format!("<script src=http://{loopback}/a></script><form action=http://{loopback}/>")), [""; 0], "{loopback}");
    }
    for private in
        ["10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.0.1", "0.0.0.0", "[::ffff:127.0.0.1]", "[fd00::1]", "[fe80::1]", "nas.local"]
    {
        assert_eq!(seen(&format!("<script src=http://{private}/a></script>")), ["private_asset script[src]"], "{private}");
        assert_eq!(seen(&format!("<img src=http://{private}/a>")), ["private_asset img[src]"], "{private}");
    }
    for public in ["192.0.2.1", "172.32.0.1", "[2001:db8::1]"] {
        assert_eq!(seen(&format!("<img src=http://{public}/a>")), ["blocked_asset img[src]"], "{public}");
    }
    assert_eq!(seen("<img src=http://nas/a>"), ["upgraded_asset img[src]"]);
}

const SPELLINGS_OF_ADDRESSES: Table = &[
    ("<img src='HTTP:\\\\x.test\\a'>", &["upgraded_asset img[src]"]),
    ("<img src='ht\ntp://x.test/a'>", &["upgraded_asset img[src]"]),
    ("<img src='http:x.test/a'>", &["upgraded_asset img[src]"]),
    ("<img src='https:a'><img src='http://'><img src='http://[/'><img src='httpx://x.test/'>", &[]),
];

#[test]
fn spellings_of_addresses() {
    holds(SPELLINGS_OF_ADDRESSES);
}

const FORMS_WARN: Table = &[
    (
        "<form action=http://x.test/a><button formaction=http://x.test/b></button></form>",
        &["insecure_form form[action]", "insecure_form button[formaction]"],
    ),
    (
        "<form action=/a><input type=submit formaction=http://x.test/b><input type=image src=/c formaction=http://x.test/d></form>",
        &["insecure_form input[formaction]", "insecure_form input[formaction]"],
    ),
    ("<form action=/a><button type=button formaction=http://x.test/b></button><input formaction=http://x.test/c></form>", &[]),
    (
        "<button formaction=http://x.test/b></button><form id=f></form><button form=f formaction=http://x.test/c></button>",
        &["insecure_form button[formaction]"],
    ),
    ("<form action=/a></form><form action=''></form><input formaction=http://x.test/b>", &[]),
];

#[test]
fn forms_warn() {
    holds(FORMS_WARN);
}

#[test]
fn findings_name_place_and_cause() {
    let page = Url::parse("https://site.test/").unwrap();
    let html = "<!doctype html>\n<title>x</title>\n<link\n  rel=stylesheet\n  href=http://site.test/a.css\n>\n<style>\np {\n background: url(http://x.test/b)\n}\n</style><p>\n\
                <base href=http://old.test/><img src=c><img src=c>";
    let scanned = scan(html, &page, &PageHeaders::default());
    assert_eq!(scanned.assets.len(), 4);
    let seen = mixed::judge(&scanned, &page, &crate::plan::RuleLevels::new());
    let places: Vec<_> =
        seen.findings.iter().map(|f| (f.element.as_deref().unwrap(), f.line.unwrap(), f.resolved.as_deref().unwrap())).collect();
    assert_eq!(
        places,
        [("link[href]", 5, "http://site.test/a.css"), ("style", 9, "http://x.test/b"), ("img[src]", 12, "http://old.test/c"),]
    );
    assert_eq!(seen.findings[0].url.as_deref(), Some("http://site.test/a.css"));
    assert_eq!(
        seen.findings[0].message,
        "Browsers do not load http://site.test/a.css (link[href], line 5): the page uses https and this uses http."
    );
    assert!(seen.findings[0].fix.contains("X-Forwarded-Proto"));
    assert!(seen.findings[2].fix.contains("<base href>"));
    assert!(seen.findings[2].message.ends_with("The page contains it 2 times."));
}

#[test]
fn a_page_over_http_mixes_nothing_and_many_findings_are_cut() {
    use std::fmt::Write;
    let mut html = String::new();
    for n in 0..500 {
        let _ = write!(html, "<img src=http://x.test/{n}>");
    }
    let judged = |page: &str| {
        let page = Url::parse(page).unwrap();
        mixed::judge(&scan(&html, &page, &PageHeaders::default()), &page, &crate::plan::RuleLevels::new())
    };
    let plain = judged("http://site.test/");
    assert_eq!(plain.findings.len(), 0);
    let secure = judged("https://site.test/");
    assert_eq!((secure.findings.len(), secure.omitted), (200, 300));
}
