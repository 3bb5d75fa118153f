//! What a page fetches: everything that its HTML makes a browser ask for, with its place.
//!
//! The HTML goes through a real tree builder (`tree.rs`), because where an element ends up decides whether it fetches;
//! `walk.rs` goes through the tree in document order and knows `<base>` and the page's policy; `html.rs` and `svg.rs` know
//! the elements, `terms.rs` what they say about a request, `gather.rs` keeps what was found, `css.rs` the style sheets, `script.rs` and `import_map.rs` what modules import. `xml.rs` builds the same tree of
//! a page that is served as XHTML.

mod css;
mod data_url;
mod decode;
mod escape;
mod font;
mod gather;
mod html;
mod import_map;
mod matching;
mod media;
mod policy;
mod property;
mod refresh;
mod script;
mod selector;
mod selector_list;
mod shape;
mod sink;
mod srcset;
mod styles;
mod supports;
mod svg;
mod terms;
mod tokens;
mod tree;
mod walk;
mod xml;

use std::sync::Arc;

use encoding_rs::Encoding;
use encoding_rs::UTF_8;
use url::Url;

pub(super) use data_url::percent_decode;
pub(super) use decode::{decode, decode_sheet, encoding_of};
pub use font::Face;
pub(super) use policy::upgrades_insecure_requests;
pub use styles::Styles;
pub(super) use terms::is_javascript;

/// What kind of request an asset is; browsers decide by it what becomes of http.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    /// Where `<meta http-equiv=refresh>` sends visitors: no asset either.
    Refresh,
}

impl AssetKind {
    /// Whether browsers ask over https instead of refusing (Mixed Content, level 2).
    #[must_use]
    pub fn is_upgraded(self) -> bool {
        matches!(self, Self::Image | Self::Media)
    }

    /// Whether it takes visitors to another page and is nothing of this one.
    #[must_use]
    pub fn is_navigation(self) -> bool {
        matches!(self, Self::Form | Self::Refresh)
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
    /// Line in the document or its sheet, from 1; 0 for an HTTP header.
    pub line: u32,
    /// Where in the line its address begins, in characters from 1; 0 where that is not known.
    pub column: u32,
    /// The linked style sheet or the framed document in which it stands; none: the page itself.
    pub sheet: Option<Arc<str>>,
    /// When it is asked for.
    pub when: When,
    /// Whether `upgrade-insecure-requests` is in force where it stands.
    pub rescued: bool,
    /// What its element says about the request.
    pub terms: Terms,
}

/// What an element says about its request, beside the address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// Whether the answer must allow the page's origin to read it.
    pub cors: Option<Cors>,
    /// The `integrity` attribute; empty: none.
    pub integrity: String,
    /// The `media` attribute of a style sheet.
    pub media: String,
    /// What a font of a style sheet is for.
    pub face: Option<Face>,
    /// A module script, whose type is judged more strictly.
    pub is_module: bool,
    /// A frame whose sandbox keeps scripts from running.
    pub is_sandboxed: bool,
    /// It is only fetched ahead of its use: without it the page is slower and no worse.
    pub is_ahead: bool,
}

/// The mode of a request across origins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cors {
    /// Without cookies to other origins.
    Anonymous,
    /// With cookies.
    Credentials,
}

/// What a scan found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageScan {
    /// Everything the page asks for, and its forms, in document order.
    pub assets: Vec<Asset>,
    /// Whether the scan gave up before the end, because the page is nested beyond all measure.
    pub incomplete: bool,
    /// Where browsers stop reading a page of XML, and show their own error instead of the rest.
    pub malformed: Option<Malformed>,
    /// With what the linked style sheets are read.
    pub styles: Styles,
}

/// A fault of a page's XML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The line, from 1.
    pub line: u32,
    /// What is wrong there, without a full stop.
    pub why: String,
}

/// What the answer's headers say about the page.
#[derive(Debug, Clone)]
pub struct PageHeaders {
    /// Whether a policy with `upgrade-insecure-requests` came with it.
    pub upgrades: bool,
    /// The policies that came with it, each the value of one header.
    pub policies: Vec<String>,
    /// The encoding of the page, in which queries are written.
    pub encoding: &'static Encoding,
    /// The values of its `Link` headers.
    pub links: Vec<String>,
    /// Whether it is served as `application/xhtml+xml`.
    pub is_xhtml: bool,
    /// Whether it stands in a frame of another page.
    pub is_framed: bool,
    /// Whether a sandbox keeps its scripts from running.
    pub is_sandboxed: bool,
}

impl Default for PageHeaders {
    fn default() -> Self {
        Self {
            upgrades: false,
            policies: Vec::new(),
            encoding: UTF_8,
            links: Vec::new(),
            is_xhtml: false,
            is_framed: false,
            is_sandboxed: false,
        }
    }
}

/// Lists what the page `html` (or XHTML, where the headers say so), served from `url`, makes a browser ask for.
///
/// Any text is taken; the time is bounded.
#[must_use]
pub fn scan(html: &str, url: &Url, headers: &PageHeaders) -> PageScan {
    walk::scan(html, url, headers)
}
