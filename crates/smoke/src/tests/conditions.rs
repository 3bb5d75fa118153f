//! What is asked for only under a condition: of a browser, a screen, a choice between sources, a sandbox, or an element that is there
//! and shown.

use crate::tests::mixed_content::Table;
use crate::tests::mixed_content::holds;

const IMAGE: &[&str] = &["upgraded_asset style"];
const PERHAPS: &[&str] = &["upgraded_asset style?"];
const SHEET: &[&str] = &["blocked_asset style"];

pub(super) const SUPPORTS: Table = &[
    ("<style>@supports (display:grid){p{background:url(http://x.test/a)}}</style><p>", IMAGE),
    ("<style>@supports (display:grid) and (not (display:inline-grid)){p{background:url(http://x.test/a)}}</style><p>", &[]),
    ("<style>@supports (display:nothing) or (--a:b){p{background:url(http://x.test/a)}}</style><p>", IMAGE),
    ("<style>@supports (-moz-appearance:none){p{background:url(http://x.test/a)}}</style><p>", PERHAPS),
    ("<style>@supports not (something:new){p{background:url(http://x.test/a)}}</style><p>", PERHAPS),
    ("<style>@supports (width:1dvh) and (color:oklch(50% .1 20)){p{background:url(http://x.test/a)}}</style><p>", IMAGE),
    (
        "<style>@supports (backdrop-filter:blur(2px)) or (-webkit-backdrop-filter:blur(2px)){p{background:url(http://x.test/a)}}</style><p>",
        IMAGE,
    ),
    ("<style>@supports selector(p:has(b)){p{background:url(http://x.test/a)}}</style><p>", PERHAPS),
    ("<style>@import 'http://x.test/a' supports((display:grid) and (not (something:new)));</style>", &["blocked_asset style?"]),
    ("<style>@import 'http://x.test/a' supports(color:red);</style>", SHEET),
];

#[test]
fn supports() {
    holds(SUPPORTS);
}

pub(super) const MEDIA: Table = &[
    ("<style>@media (min-width:600px){p{background:url(http://x.test/a)}}</style><p>", IMAGE),
    ("<style>@media (max-width:600px){p{background:url(http://x.test/a)}}</style><p>", PERHAPS),
    ("<style>@media (400px <= width <= 2000px){p{background:url(http://x.test/a)}}</style><p>", IMAGE),
    ("<style>@media not all and (monochrome){p{background:url(http://x.test/a)}}</style><p>", IMAGE),
    ("<style>@media (prefers-color-scheme:dark){p{background:url(http://x.test/a)}}</style><p>", PERHAPS),
    ("<style>@media (orientation:portrait){p{background:url(http://x.test/a)}}</style><p>", PERHAPS),
    ("<style>@media (min-resolution:2dppx){p{background:url(http://x.test/a)}}</style><p>", PERHAPS),
    ("<style>@media (something:new){p{background:url(http://x.test/a)}}</style><p>", PERHAPS),
    ("<style>@media not all{p{background:url(http://x.test/a)}}</style><p>", &[]),
    ("<style>@media speech{p{background:url(http://x.test/a)}}</style><p>", &[]),
    ("<link rel=preload as=image media='(max-width:600px)' href=http://x.test/a>", &["upgraded_asset link[href]?"]),
];

#[test]
fn media() {
    holds(MEDIA);
}

pub(super) const CHOICES: Table = &[
    ("<picture><source srcset=/b><img src=http://x.test/a></picture>", &[]),
    ("<picture><source srcset=/b><source srcset=http://x.test/a><img src=/c></picture>", &[]),
    ("<picture><source srcset=/b type=image/nothing><img src=http://x.test/a></picture>", &["blocked_asset img[src]"]),
    ("<picture><source srcset=http://x.test/b type=image/nothing><img src=/a></picture>", &["blocked_asset source[srcset]?"]),
    ("<picture><source srcset=http://x.test/a type=image/webp><img src=/b></picture>", &["blocked_asset source[srcset]"]),
    ("<picture><source srcset=/b media='(min-width:600px)'><img src=http://x.test/a></picture>", &["blocked_asset img[src]?"]),
    ("<picture><source srcset=/b media='(max-width:600px)'><img src=http://x.test/a></picture>", &["blocked_asset img[src]"]),
    ("<picture><source srcset=http://x.test/a media='(max-width:600px)'><img src=/b></picture>", &["blocked_asset source[srcset]?"]),
    ("<picture><source><img src=http://x.test/a></picture>", &["blocked_asset img[src]"]),
    ("<picture><source srcset=/b type=image/avif><img src=http://x.test/a></picture>", &["blocked_asset img[src]?"]),
    ("<video><source type=video/nothing src=http://x.test/a></video>", &["upgraded_asset source[src]?"]),
    ("<video><source type='video/mp4; codecs=avc1.42E01E' src=http://x.test/a></video>", &["upgraded_asset source[src]"]),
    ("<audio><source type=audio/mpeg src=http://x.test/a></audio>", &["upgraded_asset source[src]"]),
    ("<video crossorigin><track kind=subtitles src=http://x.test/a></video>", &["blocked_asset track[src]?"]),
];

#[test]
fn choices() {
    holds(CHOICES);
}

pub(super) const SANDBOXES: Table = &[
    ("<iframe sandbox srcdoc='<script src=http://x.test/a></script>'></iframe>", &[]),
    (
        "<iframe sandbox=allow-scripts srcdoc='<script src=http://x.test/a></script>'></iframe>",
        &["blocked_asset iframe[srcdoc] script[src]"],
    ),
    ("<iframe sandbox=allow-forms srcdoc='<img src=http://x.test/a>'></iframe>", &["upgraded_asset iframe[srcdoc] img[src]"]),
    ("<iframe sandbox srcdoc='<noscript><img src=http://x.test/a></noscript>'></iframe>", &["upgraded_asset iframe[srcdoc] img[src]"]),
    ("<iframe sandbox srcdoc='<script type=module>import \"http://x.test/a\"</script>'></iframe>", &[]),
    ("<iframe sandbox srcdoc=\"<iframe srcdoc='<script src=http://x.test/a></script>'></iframe>\"></iframe>", &[]),
];

#[test]
fn sandboxes() {
    holds(SANDBOXES);
}

pub(super) const SELECTORS: Table = &[
    ("<style>p.x{background:url(http://x.test/a)}</style><p><b class=x>", &[]),
    ("<style>b.x{background:url(http://x.test/a)}</style><p><b class=x>", IMAGE),
    ("<style>.x .y{background:url(http://x.test/a)}</style><p class=y><b class=x>", &[]),
    ("<style>.x .y{background:url(http://x.test/a)}</style><p class=x><i><b class=y>", IMAGE),
    ("<style>.x>.y{background:url(http://x.test/a)}</style><p class=x><i><b class=y>", &[]),
    ("<style>i>.y{background:url(http://x.test/a)}</style><p class=x><i><b class=y>", IMAGE),
    ("<style>i+b{background:url(http://x.test/a)}</style><p><b></b><i></i>", &[]),
    ("<style>i+b{background:url(http://x.test/a)}</style><p><i></i><b></b>", IMAGE),
    ("<style>i~b{background:url(http://x.test/a)}</style><p><i></i><u></u><b></b>", IMAGE),
    ("<style>u~i{background:url(http://x.test/a)}</style><p><i></i><u></u><b></b>", &[]),
    ("<style>p[data-x]{background:url(http://x.test/a)}</style><p data-y>", &[]),
    ("<style>p[data-x]{background:url(http://x.test/a)}</style><p data-x>", IMAGE),
    ("<style>p[data-x=b]{background:url(http://x.test/a)}</style><p data-x=c>", &[]),
    ("<style>p[data-x^='b']{background:url(http://x.test/a)}</style><p data-x=bc>", IMAGE),
    ("<style>p[data-x~=c]{background:url(http://x.test/a)}</style><p data-x='b c'>", IMAGE),
    ("<style>p:not(.x){background:url(http://x.test/a)}</style><p class=x>", &[]),
    ("<style>p:not(.x){background:url(http://x.test/a)}</style><p class=y>", IMAGE),
    ("<style>:is(.x,.y) b{background:url(http://x.test/a)}</style><p class=y><b>", IMAGE),
    ("<style>:is(.x,.y) b{background:url(http://x.test/a)}</style><p class=z><b>", &[]),
    ("<style>p:first-child{background:url(http://x.test/a)}</style><body><b></b><p>", &[]),
    ("<style>p:last-child{background:url(http://x.test/a)}</style><body><b></b><p>", IMAGE),
    ("<style>p:nth-child(2n+1){background:url(http://x.test/a)}</style><body><b></b><p>", &[]),
    ("<style>p:nth-child(even){background:url(http://x.test/a)}</style><body><b></b><p>", IMAGE),
    ("<style>:root{background:url(http://x.test/a)}</style><p>", IMAGE),
    ("<style>.x{& .y{background:url(http://x.test/a)}}</style><p class=y>", &[]),
    ("<style>.x{& .y{background:url(http://x.test/a)}}</style><p class=x><b class=y>", IMAGE),
    ("<style>.x{.y{background:url(http://x.test/a)}}</style><p class=x><b class=y>", IMAGE),
    ("<style>.x{&.y{background:url(http://x.test/a)}}</style><p class=x><b class=y>", &[]),
    ("<style>p:unheard-of{background:url(http://x.test/a)}</style><p>", PERHAPS),
];

#[test]
fn selectors() {
    holds(SELECTORS);
}

pub(super) const UNSEEN: Table = &[
    ("<style>p::before{background:url(http://x.test/a)}</style><p>", PERHAPS),
    ("<style>p::before{content:'';background:url(http://x.test/a)}</style><p>", IMAGE),
    ("<style>p:after{content:'x';background:url(http://x.test/a)}</style><p>", IMAGE),
    ("<style>p::after{content:none;background:url(http://x.test/a)}</style><p>", PERHAPS),
    ("<style>p::before{content:url(http://x.test/a)}</style><p>", IMAGE),
    ("<style>p::selection{background:url(http://x.test/a)}</style><p>x", &[]),
    ("<style>p::first-line{background:url(http://x.test/a)}</style><p>x", IMAGE),
    ("<p style='display:none;background:url(http://x.test/a)'>", &["upgraded_asset p[style]?"]),
    ("<p style='background:url(http://x.test/a);display:none'>", &["upgraded_asset p[style]?"]),
    ("<div style=display:none><p style='background:url(http://x.test/a)'></div>", &["upgraded_asset p[style]?"]),
    ("<div hidden><p style='background:url(http://x.test/a)'></div>", &["upgraded_asset p[style]?"]),
    ("<div style=display:none><img src=http://x.test/a></div>", &["upgraded_asset img[src]"]),
    ("<style>p{display:none;background:url(http://x.test/a)}</style><p>", PERHAPS),
    ("<style>.h{display:none}p{background:url(http://x.test/a)}</style><div class=h><p></div>", PERHAPS),
    ("<style>.h{display:none}p{background:url(http://x.test/a)}</style><div class=h><p></div><p>", IMAGE),
    ("<style>p{background:url(http://x.test/a)}.h{display:none}</style><div class=h><p></div>", PERHAPS),
    ("<dialog><p style='background:url(http://x.test/a)'></dialog>", &["upgraded_asset p[style]?"]),
    ("<div style=visibility:hidden><p style='background:url(http://x.test/a)'>x</div>", &["upgraded_asset p[style]"]),
];

#[test]
fn unseen() {
    holds(UNSEEN);
}
