//! What is asked for: the same address for the same use is asked for once.

use url::Url;

use crate::page::Asset;
use crate::page::AssetKind;
use crate::page::Cors;
use crate::page::When;
use crate::place::Place;

/// One thing to ask for, in the way in which the page wants it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Wanted {
    /// The address, as a browser asks for it: without fragment, and over https where the page's policy says so.
    pub(crate) url: Url,
    /// What it is for. Pictures of every kind are one.
    pub(crate) kind: AssetKind,
    /// Whether its host must allow the page to read it.
    pub(crate) cors: Option<Cors>,
    /// The hashes that it must have; empty: none.
    pub(crate) integrity: String,
    /// A module script.
    pub(crate) is_module: bool,
    /// Whether `upgrade-insecure-requests` is in force.
    pub(crate) is_rescued: bool,
    /// A document of the page's own origin in a frame, which is judged like the page.
    pub(crate) is_document: bool,
    /// A style sheet of a page without a doctype of today: browsers are laxer about its type.
    pub(crate) is_lax: bool,
}

impl Wanted {
    /// What `asset` of `page` makes a browser ask for; none when it asks nobody, or nobody unencrypted.
    pub(super) fn of(asset: &Asset, page: &Url, is_quirky: bool) -> Option<Self> {
        let mut url = asset.resolved.as_ref().filter(|url| matches!(url.scheme(), "http" | "https"))?.clone();
        let is_fallback = asset.kind == AssetKind::Font && asset.when == When::Later;
        if asset.kind.is_navigation() || is_fallback || url.host().is_none() {
            return None;
        }
        if page.scheme() == "https" && url.scheme() == "http" && Place::of(&url) != Place::Loopback {
            if !asset.rescued {
                // What becomes of it is judged by its address.
                return None;
            }
            let _ = url.set_scheme("https");
        }
        url.set_fragment(None);
        let kind = match asset.kind {
            AssetKind::ImageSet | AssetKind::Icon => AssetKind::Image,
            kind => kind,
        };
        let is_style = kind == AssetKind::Style;
        Some(Self {
            is_document: kind == AssetKind::Frame && url.origin() == page.origin(),
            url,
            kind,
            cors: asset.terms.cors,
            integrity: asset.terms.integrity.trim().to_owned(),
            is_module: asset.terms.is_module,
            is_rescued: asset.rescued,
            is_lax: is_style && is_quirky,
        })
    }

    /// Whether all of it is looked at.
    pub(super) fn is_read_whole(&self) -> bool {
        self.kind == AssetKind::Style || self.is_document || !self.integrity.is_empty()
    }
}
