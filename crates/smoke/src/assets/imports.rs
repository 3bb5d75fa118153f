//! Which sheet imports which.

use std::collections::HashMap;

use url::Url;

use crate::page::Asset;
use crate::page::AssetKind;

/// Sheets in sheets are followed so deep. Browsers have no limit of their own; nobody writes so many.
const DEEPEST: usize = 32;

/// A sheet that came.
#[derive(Debug, Clone)]
struct Sheet {
    /// The address that was asked, which a redirect may have changed.
    asked: Url,
    /// The sheet that imports it; none: the page links it.
    parent: Option<String>,
}

/// The sheets that came, by their addresses.
#[derive(Debug, Clone, Default)]
pub(super) struct Imports(HashMap<String, Sheet>);

/// What following an address would do.
pub(super) enum Link {
    /// Nothing special.
    Good,
    /// It leads back to a style sheet that contains it; browsers leave it out.
    Loop,
    /// It stands deeper than is followed.
    TooDeep,
}

impl Imports {
    /// What becomes of following `asset` to `url`.
    pub(super) fn link(&self, asset: &Asset, url: &Url) -> Link {
        if asset.kind != AssetKind::Style {
            return Link::Good;
        }
        let mut next = asset.sheet.as_deref();
        for _ in 0..DEEPEST {
            let Some(sheet) = next else { return Link::Good };
            let known = self.0.get(sheet);
            if sheet == url.as_str() || known.is_some_and(|known| known.asked == *url) {
                return Link::Loop;
            }
            next = known.and_then(|known| known.parent.as_deref());
        }
        Link::TooDeep
    }

    /// A sheet came from `url`, asked for at `asked` because of `link`.
    pub(super) fn came(&mut self, url: &Url, asked: &Url, link: &Asset) {
        let parent = link.sheet.as_deref().map(str::to_owned);
        self.0.entry(url.to_string()).or_insert_with(|| Sheet { asked: asked.clone(), parent });
    }
}
