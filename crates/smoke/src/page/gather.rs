//! What has been gathered of a page so far, and how an address, a sheet or a frame is added to it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Instant;

use url::Url;

use crate::page::Asset;
use crate::page::AssetKind;
use crate::page::PageHeaders;
use crate::page::PageScan;
use crate::page::Terms;
use crate::page::When;
use crate::page::css::Found;
use crate::page::css::Sheets;
use crate::page::data_url;
use crate::page::import_map::ImportMap;
use crate::page::shape::Shape;
use crate::page::styles;
use crate::page::styles::Fonts;
use crate::page::terms;
use crate::page::tree::Element;
use crate::page::tree::NodeId;
use crate::page::tree::Tree;

/// Frames in frames and sheets in sheets are followed so deep.
pub(super) const DEEPEST: u8 = 8;

/// A picture and what has been read of it.
pub(super) struct Picture {
    /// Its last image, as long as the walk has not passed it. It is looked for once: a picture may have many sources.
    pub(super) last_image: Option<NodeId>,
    /// When browsers come to what stands behind the sources so far; none: never.
    pub(super) rest: Option<When>,
}

/// A frame whose document stands in the page.
pub(super) struct Framed {
    /// Its element.
    pub(super) id: NodeId,
    /// The attribute that holds the document.
    pub(super) attribute: &'static str,
    /// The document.
    pub(super) html: String,
    /// Its address; none: the page's own.
    pub(super) url: Option<Url>,
}

/// What the walk knows where it stands.
pub(super) struct Walk<'t> {
    /// The tree.
    pub(super) tree: &'t Tree,
    pub(super) document: Url,
    pub(super) base: Url,
    pub(super) has_base: bool,
    pub(super) rescued: bool,
    /// Whether scripts run.
    pub(super) is_scripting: bool,
    pub(super) depth: u8,
    pub(super) until: Instant,
    pub(super) headers: &'t PageHeaders,
    pub(super) policies: Vec<String>,
    pub(super) scan: PageScan,
    pub(super) sheets: Sheets<'t>,
    pub(super) shape: &'t Shape,
    /// The numbers of elements in the shape, by their place in the tree.
    pub(super) numbers: Vec<u32>,
    pub(super) custom: Vec<(String, Asset)>,
    pub(super) import_map: ImportMap,
    /// The pictures that were met.
    pub(super) pictures: HashMap<NodeId, Picture>,
    /// The frames whose documents stand in the page and have not been looked into.
    pub(super) framed: Vec<Framed>,
}

impl Walk<'_> {
    /// Takes the attribute `name` as something that is asked for, if it is there and not empty.
    pub(super) fn fetch(&mut self, element: &Element, name: &str, kind: AssetKind, when: When) {
        if let Some(written) = element.attribute(name) {
            self.fetch_url(element, name, written, kind, when);
        }
    }

    /// Takes one address of the attribute `name`.
    pub(super) fn fetch_url(&mut self, element: &Element, name: &str, written: &str, kind: AssetKind, when: When) {
        let asset = self.asset([&*element.name, "[", name, "]"].concat(), element.line, written, kind, when);
        if let Some(mut asset) = asset {
            asset.terms = terms::terms(element, kind);
            self.scan.assets.push(asset);
        }
    }

    pub(super) fn asset(&self, element: String, line: u32, written: &str, kind: AssetKind, when: When) -> Option<Asset> {
        let trimmed = written.trim_matches(|c: char| c <= ' ');
        if trimmed.is_empty() {
            return None;
        }
        let terms = Terms { cors: styles::cors_of(kind), ..Terms::default() };
        Some(Asset {
            element,
            written: trimmed.to_owned(),
            resolved: self.join(trimmed),
            kind,
            line,
            column: 0,
            sheet: None,
            when,
            rescued: self.rescued,
            terms,
        })
    }

    /// Queries are written in the page's own encoding.
    fn join(&self, written: &str) -> Option<Url> {
        let encode: &dyn Fn(&str) -> Cow<'_, [u8]> = &|query| self.headers.encoding.output_encoding().encode(query).0.into_owned().into();
        Url::options().base_url(Some(&self.base)).encoding_override(Some(encode)).parse(written).ok()
    }

    /// Reads a sheet that stands in a `data:` address.
    pub(super) fn data_sheet(&mut self, element: &str, line: u32, written: &str, media: &str) {
        let Some(url) = self.base.join(written).ok().filter(|_| self.depth < DEEPEST) else { return };
        if let Some((kind, text)) = data_url::read(&url)
            && kind == "text/css"
        {
            self.sheets.sheet(&text, media);
            self.depth += 1;
            self.take_sheets(element, line, Some(&url));
            self.depth -= 1;
        }
    }

    /// Reads an SVG presentation attribute.
    pub(super) fn presentation(&mut self, element: &Element, name: &str, value: &str) {
        self.sheets.attribute_value(value);
        self.take_sheets(&format!("{}[{name}]", element.name), element.line, None);
    }

    /// Turns what the sheet just read fetches into assets. `sheet` is where it stands, when not in the page itself.
    pub(super) fn take_sheets(&mut self, element: &str, line: u32, sheet: Option<&Url>) {
        let mut fonts = Fonts::default();
        for found in std::mem::take(&mut self.sheets.found) {
            // A bare fragment names something in this page.
            if found.url.starts_with('#') {
                continue;
            }
            let at = if sheet.is_none() { line + found.line } else { line };
            let Some(mut asset) = self.asset(element.to_owned(), at, &found.url, found.kind, found.when) else { continue };
            if let Some(sheet) = sheet {
                asset.resolved = sheet.join(&asset.written).ok();
            }
            let (number, face) = found.face.clone().unzip();
            asset.terms.face = face;
            fonts.order(number, &mut asset);
            self.keep_found(found, asset, element, at);
        }
    }

    fn keep_found(&mut self, found: Found, asset: Asset, element: &str, line: u32) {
        let nested = found.kind == AssetKind::Style && asset.resolved.as_ref().is_some_and(|url| url.scheme() == "data");
        match found.custom {
            Some(name) => self.custom.push((name, asset)),
            None => self.scan.assets.push(asset),
        }
        if nested {
            self.data_sheet(element, line, &found.url, "");
        }
    }

    /// The HTML in a `data:` address.
    pub(super) fn data_document(&self, written: &str) -> Option<(Url, String)> {
        let url = self.base.join(written).ok()?;
        let (kind, text) = data_url::read(&url)?;
        (kind == "text/html").then_some((url, text))
    }
}
