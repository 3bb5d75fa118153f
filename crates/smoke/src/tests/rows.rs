//! The items of the observed table's rows that have no page elsewhere, one page each: hosts, policies, kinds of preload,
//! places in style sheets and SVG.

use crate::tests::mixed_content::Table;
use crate::tests::mixed_content::holds;

const IMAGE: &[&str] = &["upgraded_asset p[style]"];

pub(super) const HOSTS: Table = &[
    (
        "<script src=http://localhost/a></script><script src=http://localhost./b></script><script src=http://a.localhost:8080/c></script>",
        &[],
    ),
    ("<script src=http://127.0.0.1/a></script><script src=http://127.9.9.9/b></script><script src=http://0x7f.1/c></script>", &[]),
    ("<script src=http://[::1]/a></script>", &[]),
    ("<img src=http://localhost/a><img src=http://localhost./b><img src=http://a.localhost:8080/c>", &[]),
    ("<img src=http://127.0.0.1/a><img src=http://127.9.9.9/b><img src=http://0x7f.1/c><img src=http://[::1]/d>", &[]),
    ("<script src=http://10.0.0.1/a></script>", &["private_asset script[src]"]),
    ("<img src=http://10.0.0.1/a>", &["private_asset img[src]"]),
    ("<script src=http://192.168.1.1/a></script>", &["private_asset script[src]"]),
    ("<img src=http://172.16.0.1/a>", &["private_asset img[src]"]),
    ("<img src=http://169.254.0.1/a>", &["private_asset img[src]"]),
    ("<script src=http://0.0.0.0/a></script>", &["private_asset script[src]"]),
    ("<script src=http://[::ffff:127.0.0.1]/a></script>", &["private_asset script[src]"]),
    ("<img src=http://[fd00::1]/a>", &["private_asset img[src]"]),
    ("<script src=http://nas.local/a></script>", &["private_asset script[src]"]),
    ("<img src=http://nas.local/a>", &["private_asset img[src]"]),
    ("<script src=http://93.184.216.34/a></script>", &["blocked_asset script[src]"]),
    ("<img src=http://93.184.216.34/a>", &["blocked_asset img[src]"]),
    ("<img src=http://[2606:2800:220::1]/a>", &["blocked_asset img[src]"]),
    ("<img src=http://nas/a>", &["upgraded_asset img[src]"]),
];

#[test]
fn hosts() {
    holds(HOSTS);
}

pub(super) const POLICIES: Table = &[
    (
        "<head><meta http-equiv=Content-Security-Policy content=upgrade-insecure-requests></head><script src=http://x.test/a></script>",
        &["rescued_asset script[src]"],
    ),
    (
        "<head><script src=http://x.test/a></script><meta http-equiv=Content-Security-Policy content=upgrade-insecure-requests></head>",
        &["blocked_asset script[src]"],
    ),
    (
        "<body><meta http-equiv=Content-Security-Policy content=upgrade-insecure-requests><img src=http://x.test/a>",
        &["upgraded_asset img[src]"],
    ),
    (
        "<head><!--<meta http-equiv=Content-Security-Policy content=upgrade-insecure-requests>--></head><img src=http://x.test/a>",
        &["upgraded_asset img[src]"],
    ),
    (
        "<head><template><meta http-equiv=Content-Security-Policy content=upgrade-insecure-requests></template></head><img src=http://x.test/a>",
        &["upgraded_asset img[src]"],
    ),
    (
        "<head><meta http-equiv=Content-Security-Policy-Report-Only content=upgrade-insecure-requests></head><img src=http://x.test/a>",
        &["upgraded_asset img[src]"],
    ),
    (
        "<head><meta http-equiv=Content-Security-Policy content=block-all-mixed-content></head><img src=http://x.test/a>",
        &["upgraded_asset img[src]"],
    ),
    (
        "<head><meta http-equiv=Content-Security-Policy content=upgrade-insecure-requests></head><iframe srcdoc='<img src=http://x.test/a>'></iframe>",
        &["rescued_asset iframe[srcdoc] img[src]"],
    ),
    (
        "<head><meta http-equiv=Content-Security-Policy content='img-src https:'></head><img src=http://x.test/a>",
        &["upgraded_asset img[src]"],
    ),
];

#[test]
fn policies() {
    holds(POLICIES);
}

pub(super) const ITEMS: Table = &[
    ("<link rel=preload as=script href=http://x.test/a>", &["blocked_asset link[href]"]),
    ("<div style=height:90000px></div><img loading=lazy src=http://x.test/a>", &["upgraded_asset img[src]"]),
    ("<video crossorigin><track default src=http://x.test/a></video>", &["blocked_asset track[src]"]),
    ("<audio><source src=http://x.test/a></audio>", &["upgraded_asset source[src]"]),
    ("<object type=image/png data=http://x.test/a></object>", &["blocked_asset object[data]"]),
    ("<embed type=image/png src=http://x.test/a>", &["blocked_asset embed[src]"]),
    ("<frameset><frame src='data:text/html,<img src=http://x.test/a>'></frameset>", &["upgraded_asset frame[src] img[src]"]),
    ("<iframe src='data:text/html,<img src=http://x.test/a>'></iframe>", &["upgraded_asset iframe[src] img[src]"]),
    ("<kbd><samp><var><img src=http://x.test/a></var></samp></kbd>", &["upgraded_asset img[src]"]),
    ("<listing><img src=http://x.test/a></listing>", &["upgraded_asset img[src]"]),
    ("<table><tbody background=http://x.test/a><tr><td>x</table>", &["upgraded_asset tbody[background]"]),
    ("<table><tr><th background=http://x.test/a>x</table>", &["upgraded_asset th[background]"]),
    ("<p style='border:1px solid;border-image:url(http://x.test/a) 1'>x", IMAGE),
    ("<p style='content:url(http://x.test/a)'>x", IMAGE),
    ("<p style='float:left;shape-outside:url(http://x.test/a)'>x", IMAGE),
    ("<p style='filter:url(http://x.test/a#f)'>x", IMAGE),
    ("<p style='clip-path:url(http://x.test/a#f)'>x", IMAGE),
    ("<p style='mask:url(http://x.test/a#f)'>x", IMAGE),
    ("<svg><feImage xlink:href=http://x.test/a /></svg>", &["upgraded_asset feImage[xlink:href]"]),
    ("<svg><filter><feImage xlink:href=http://x.test/a /></filter></svg>", &["upgraded_asset feImage[xlink:href]"]),
    ("<svg><use xlink:href=http://x.test/a#b /></svg>", &["upgraded_asset use[xlink:href]"]),
    ("<svg><rect stroke='url(http://x.test/a#b)'/></svg>", &["upgraded_asset rect[stroke]"]),
    ("<svg><rect filter='url(http://x.test/a#b)'/></svg>", &["upgraded_asset rect[filter]"]),
    ("<svg><rect mask='url(http://x.test/a#b)'/></svg>", &["upgraded_asset rect[mask]"]),
    ("<svg><rect clip-path='url(http://x.test/a#b)'/></svg>", &["upgraded_asset rect[clip-path]"]),
    ("<svg><path d='M0 0L9 9' marker-start='url(http://x.test/a#b)'/></svg>", &["upgraded_asset path[marker-start]"]),
    ("<body><div itemscope itemprop=http://x.test/ vocab=http://x.test/ typeof=http://x.test/ prefix='a: http://x.test/'>x</div>", &[]),
    ("<img longdesc=http://x.test/><blockquote cite=http://x.test/>x</blockquote><del cite=http://x.test/>x</del>", &[]),
    ("<head profile=http://x.test/></head><meta name=twitter:image content=http://x.test/a.png>", &[]),
];

#[test]
fn items() {
    holds(ITEMS);
}
