//! What a page fetches: everything that its HTML makes a browser ask for, with its place.
//!
//! The HTML goes through a real tree builder (`tree.rs`), because where an element ends up decides whether it fetches;
//! `walk.rs` goes through the tree in document order and knows `<base>` and the page's policy; `html.rs` and `svg.rs` know
//! the elements, `css.rs` the style sheets.

mod css;
mod data_url;
mod decode;
mod html;
mod policy;
mod property;
mod selector;
mod sink;
mod srcset;
mod svg;
mod tree;
mod walk;

use url::Url;

pub(super) use data_url::percent_decode;
pub(super) use decode::decode;
pub(super) use policy::upgrades_insecure_requests;

/// What kind of request an asset is; browsers decide by it what becomes of http.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AssetKind {
    /// A style sheet.
    Style,
    /// A script.
    Script,
    /// An image, also one of a style sheet.
    Image,
    /// A candidate of a `srcset` or `<picture>`.
    ImageSet,
    /// The page's icon.
    Icon,
    /// Audio or video.
    Media,
    /// Subtitles and the like.
    Track,
    /// `<object>` and `<embed>`.
    Object,
    /// A frame's document.
    Frame,
    /// A font.
    Font,
    /// The web app manifest.
    Manifest,
    /// Something that is fetched for later use.
    Prefetch,
    /// Where a form is sent: no asset, but it leaves the page.
    Form,
}

impl AssetKind {
    /// Whether browsers ask over https instead of refusing (Mixed Content, level 2).
    #[must_use]
    pub fn is_upgraded(self) -> bool {
        matches!(self, Self::Image | Self::Media)
    }
}

/// When an asset is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// While the page loads.
    Load,
    /// When a visitor does something (plays, points), or by some browsers only.
    Later,
    /// When a script changes the page so that a style rule matches which matches nothing now.
    Scripted,
}

/// One address that the page makes a browser ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// Element and attribute, `link[href]`.
    pub element: String,
    /// The address as written.
    pub written: String,
    /// The address that it stands for; none when it is no address.
    pub resolved: Option<Url>,
    /// What kind of request it is.
    pub kind: AssetKind,
    /// Line in the document, from 1; 0 for an HTTP header.
    pub line: u32,
    /// When it is asked for.
    pub when: When,
    /// Whether `upgrade-insecure-requests` is in force where it stands.
    pub rescued: bool,
}

/// What a scan found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageScan {
    /// Everything the page asks for, and its forms, in document order.
    pub assets: Vec<Asset>,
    /// Whether the scan gave up before the end, because the page is nested beyond all measure.
    pub incomplete: bool,
}

/// What the answer's headers say about the page.
#[derive(Debug, Clone, Default)]
pub struct PageHeaders {
    /// Whether a policy with `upgrade-insecure-requests` came with it.
    pub upgrades: bool,
    /// The values of its `Link` headers.
    pub links: Vec<String>,
}

/// Lists what the page `html`, served from `url`, makes a browser ask for.
///
/// Any text is taken; the time is bounded.
#[must_use]
pub fn scan(html: &str, url: &Url, headers: &PageHeaders) -> PageScan {
    walk::scan(html, url, headers)
}
