//! What linked style sheets are read with, one after the other: the page's names, and the custom properties of all sheets.

use std::collections::HashSet;
use std::sync::Arc;

use url::Url;

use crate::page::Asset;
use crate::page::AssetKind;
use crate::page::Cors;
use crate::page::Terms;
use crate::page::When;
use crate::page::css::Found;
use crate::page::css::Sheets;
use crate::page::font::Face;
use crate::page::selector::Names;
use crate::page::shape::Shape;

/// What the style sheets of a page have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Styles {
    /// The names on the page.
    pub(super) names: Names,
    /// The elements of the page.
    pub(super) shape: Shape,
    /// The custom properties that some `var()` names.
    pub(super) used: HashSet<String>,
    /// What custom properties hold, by their names.
    pub(super) custom: Vec<(String, Asset)>,
    /// The values that may name a font, in lower case.
    pub(super) fonts: String,
    /// Whether the page has a script, so that rules may come to match.
    pub(super) is_scripted: bool,
    /// Whether the page has no doctype of today: browsers are laxer about the types of its sheets then.
    pub(crate) is_quirky: bool,
}

impl Styles {
    /// What the sheet `text` at `url`, linked by `link`, asks for. Its addresses are relative to it and not to the page.
    pub(crate) fn read(&mut self, text: &str, url: &Url, link: &Asset) -> Vec<Asset> {
        let hidden = Sheets::hidden(text, &self.names, &self.shape);
        self.shape.hide(&hidden);
        let mut sheets = Sheets::new(&self.names, &self.shape);
        sheets.sheet(text, &link.terms.media);
        let Sheets { found, used, fonts: named, .. } = sheets;
        self.used.extend(used);
        self.fonts.push_str(&named);
        let sheet: Arc<str> = Arc::from(url.as_str());
        let mut assets = Vec::new();
        let mut fonts = Fonts::default();
        for mut found in found.into_iter().filter(|found| !found.url.starts_with('#')) {
            let custom = found.custom.take();
            let mut asset = asset_in(&sheet, url, found, link, &mut fonts);
            asset.rescued = link.rescued;
            match custom {
                Some(name) => self.custom.push((name, asset)),
                None => assets.push(asset),
            }
        }
        assets.extend(self.come_into_use());
        // Without a script nothing ever comes that a rule could match.
        assets.retain(|asset| self.is_scripted || asset.when != When::Scripted);
        assets
    }

    /// The values that may name a font, so far.
    pub(crate) fn named_fonts(&self) -> &str {
        &self.fonts
    }

    /// Takes such values of sheets that are not read again.
    pub(crate) fn name_fonts(&mut self, fonts: &str) {
        self.fonts.push_str(fonts);
    }

    /// Whether text is shown in this font, as far as the sheets say that were read.
    pub(crate) fn show(&self, face: &Face) -> bool {
        face.is_common && !face.family.is_empty() && self.fonts.contains(&*face.family)
    }

    /// Takes out what custom properties hold that some `var()` names by now.
    pub(super) fn come_into_use(&mut self) -> Vec<Asset> {
        let (now, later) = std::mem::take(&mut self.custom).into_iter().partition(|(name, _)| self.used.contains(name));
        self.custom = later;
        let now: Vec<(String, Asset)> = now;
        now.into_iter().map(|(_, asset)| asset).collect()
    }

    /// Takes what a document inside the page brought.
    pub(super) fn merge(&mut self, other: Self) {
        self.shape.merge(&other.shape);
        self.names.elements.extend(other.names.elements);
        self.names.classes.extend(other.names.classes);
        self.names.ids.extend(other.names.ids);
        self.used.extend(other.used);
        self.fonts.push_str(&other.fonts);
        self.custom.extend(other.custom);
        self.is_scripted |= other.is_scripted;
    }
}

fn asset_in(sheet: &Arc<str>, url: &Url, found: Found, link: &Asset, fonts: &mut Fonts) -> Asset {
    let element = match found.kind {
        AssetKind::Style => "@import",
        AssetKind::Font => "@font-face",
        _ => "url()",
    };
    let (number, face) = found.face.unzip();
    let mut asset = Asset {
        element: element.to_owned(),
        resolved: url.join(&found.url).ok(),
        written: found.url,
        kind: found.kind,
        line: found.line + 1,
        column: 0,
        sheet: Some(Arc::clone(sheet)),
        when: found.when,
        rescued: false,
        terms: Terms { cors: cors_of(found.kind), media: media_of(found.kind, link), face, ..Terms::default() },
    };
    fonts.order(number, &mut asset);
    asset
}

/// Fonts are always asked for across origins by the rules of CORS.
pub(super) fn cors_of(kind: AssetKind) -> Option<Cors> {
    (kind == AssetKind::Font).then_some(Cors::Anonymous)
}

fn media_of(kind: AssetKind, link: &Asset) -> String {
    if kind == AssetKind::Style { link.terms.media.clone() } else { String::new() }
}

/// The fonts of one `@font-face` are asked for in turn, until one comes.
#[derive(Debug, Default)]
pub(super) struct Fonts {
    reached: Option<u32>,
}

impl Fonts {
    /// What stands behind an address that is likely to answer is asked for later, if ever.
    pub(super) fn order(&mut self, face: Option<u32>, asset: &mut Asset) {
        if face.is_none() {
            return;
        }
        if self.reached == face {
            asset.when = When::Later;
        } else if asset.resolved.as_ref().is_some_and(|url| url.scheme() != "http") {
            self.reached = face;
        }
    }
}
