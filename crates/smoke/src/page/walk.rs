//! Goes through the tree in document order.

use std::collections::HashMap;
use std::time::Duration;
use std::time::Instant;

use url::Url;

use crate::page::Asset;
use crate::page::AssetKind;
use crate::page::PageHeaders;
use crate::page::PageScan;
use crate::page::Styles;
use crate::page::Terms;
use crate::page::When;
use crate::page::css::Sheets;
use crate::page::gather::DEEPEST;
use crate::page::gather::Framed;
use crate::page::gather::Walk;
use crate::page::html;
use crate::page::import_map::ImportMap;
use crate::page::policy;
use crate::page::refresh::own_place;
use crate::page::refresh::refresh;
use crate::page::script;
use crate::page::selector::Names;
use crate::page::shape::NOBODY;
use crate::page::shape::Shape;
use crate::page::sink;
use crate::page::styles;
use crate::page::svg;
use crate::page::terms;
use crate::page::tree::Element;
use crate::page::tree::NodeId;
use crate::page::tree::ROOT;
use crate::page::tree::Space;
use crate::page::tree::Tree;
use crate::page::xml;

/// Who is sent elsewhere so soon does not stay on the page.
const SOON_S: u64 = 5;
/// A page that takes longer to be taken apart, its frames included, is nested beyond all measure.
const LONGEST: Duration = Duration::from_secs(5);

/// Lists what the page asks for.
pub(super) fn scan(html: &str, url: &Url, headers: &PageHeaders) -> PageScan {
    let mut scan = PageScan::default();
    header_links(url, headers, &mut scan);
    let until = Instant::now() + LONGEST;
    let is_scripting = !headers.is_sandboxed;
    let tree = if headers.is_xhtml { xml::build(html, until) } else { sink::build(html, is_scripting, until) };
    let place = Place { rescued: headers.upgrades, is_scripting, depth: u8::from(headers.is_framed), until };
    let page = document(&tree, url, headers, place);
    scan.malformed = tree.malformed;
    scan.incomplete = page.incomplete;
    scan.styles = page.styles;
    let lines: Vec<&str> = html.lines().collect();
    scan.assets.extend(page.assets.into_iter().map(|mut asset| {
        (asset.line, asset.column) = own_place(&lines, &asset);
        asset
    }));
    scan
}

/// Browsers take preloads from the `Link` header, and no style sheets.
fn header_links(url: &Url, headers: &PageHeaders, scan: &mut PageScan) {
    for link in headers.links.iter().flat_map(|header| policy::links(header)) {
        let Some(kind) = terms::preload_kind(link.param("rel").unwrap_or_default(), link.param("as")) else { continue };
        scan.assets.push(Asset {
            element: "Link header".to_owned(),
            resolved: url.join(&link.target).ok(),
            written: link.target,
            kind,
            line: 0,
            column: 0,
            sheet: None,
            when: When::Load,
            rescued: headers.upgrades,
            terms: Terms { cors: styles::cors_of(kind), is_ahead: true, ..Terms::default() },
        });
    }
}

/// What a document has from where it stands.
#[derive(Clone, Copy)]
struct Place {
    rescued: bool,
    /// Whether its scripts run: not in a frame whose sandbox forbids it.
    is_scripting: bool,
    depth: u8,
    until: Instant,
}

fn document(tree: &Tree, url: &Url, headers: &PageHeaders, place: Place) -> PageScan {
    let Place { rescued, is_scripting, depth, until } = place;
    let (shape, names, numbers) = shape(tree, headers.is_xhtml && depth <= u8::from(headers.is_framed));
    let is_scripted = is_scripting && names.elements.contains("script");
    let mut walk = Walk {
        tree,
        document: url.clone(),
        base: url.clone(),
        has_base: false,
        rescued,
        is_scripting,
        depth,
        until,
        headers,
        policies: headers.policies.clone(),
        scan: PageScan { assets: Vec::new(), incomplete: tree.incomplete, ..PageScan::default() },
        sheets: Sheets::new(&names, &shape),
        shape: &shape,
        numbers,
        custom: Vec::new(),
        import_map: ImportMap::default(),
        pictures: HashMap::new(),
        framed: Vec::new(),
    };
    tree.each_live(|id, element, in_shadow| {
        walk.element(id, element, in_shadow);
        for framed in std::mem::take(&mut walk.framed) {
            walk.frame_content(&framed);
        }
    });
    let Walk { mut scan, sheets, custom, .. } = walk;
    let Sheets { used, fonts, .. } = sheets;
    let mut styles = Styles { names, shape, used, custom, fonts, is_scripted, is_quirky: tree.is_quirky };
    scan.assets.extend(styles.come_into_use());
    styles.merge(scan.styles);
    scan.styles = styles;
    // Without a script nothing ever comes that a rule could match.
    scan.assets.retain(|asset| is_scripted || asset.when != When::Scripted);
    scan
}

/// The live elements as selectors see them, those hidden that the page's own sheets hide; their names; and their numbers by their
/// place in the tree.
fn shape(tree: &Tree, is_partial: bool) -> (Shape, Names, Vec<u32>) {
    let mut shape = Shape::new(tree.is_quirky, is_partial);
    let mut numbers = vec![NOBODY; tree.nodes.len()];
    let mut last = vec![NOBODY; tree.nodes.len()];
    let mut sheets = Vec::new();
    tree.each_live(|id, element, _| {
        let parent = tree.parent(id).map_or(ROOT, |parent| parent) as usize;
        let number = shape.add(element, numbers[parent], last[parent]);
        (numbers[id as usize], last[parent]) = (number, number);
        if &*element.name == "style" && element.space != Space::Other && terms::media_when(element) == Some(When::Load) {
            sheets.push(&element.text);
        }
    });
    let names = shape.names();
    let hidden: Vec<u32> = sheets.iter().flat_map(|text| Sheets::hidden(text, &names, &shape)).collect();
    shape.hide(&hidden);
    (shape, names, numbers)
}

impl Walk<'_> {
    fn element(&mut self, id: NodeId, element: &Element, in_shadow: bool) {
        match element.space {
            Space::Html if element.is_html("base") => self.set_base(element, in_shadow),
            Space::Html if element.is_html("meta") => self.set_policy(id, element),
            Space::Html => html::assets(self, id, element),
            Space::Svg => svg::assets(self, element),
            Space::Other if &*element.name == xml::SHEET => self.fetch(element, "href", AssetKind::Style, When::Load),
            Space::Other => {}
        }
        if &*element.name == "style" && element.space != Space::Other {
            self.style_element(element);
        }
        if &*element.name == "script" && element.space != Space::Other && self.is_scripting {
            self.inline_script(element);
        }
        if let Some(style) = element.attribute("style") {
            let number = self.numbers.get(id as usize).copied().unwrap_or(NOBODY);
            let is_hidden = self.shape.nodes.get(number as usize).is_some_and(|node| node.is_hidden);
            self.sheets.style_attribute(style, is_hidden);
            self.take_sheets(&format!("{}[style]", element.name), element.line, None);
        }
    }

    /// The first `<base href>` counts, for what follows it; one with `data:` or `javascript:` counts as none.
    fn set_base(&mut self, element: &Element, in_shadow: bool) {
        let Some(href) = element.attribute("href").filter(|_| !self.has_base && !in_shadow) else { return };
        self.has_base = true;
        if let Ok(base) = self.document.join(href)
            && !matches!(base.scheme(), "data" | "javascript")
            && self.policies.iter().all(|policy| policy::allows_base(policy, &self.document, &base))
        {
            self.base = base;
        }
    }

    fn set_policy(&mut self, id: NodeId, element: &Element) {
        if element.attribute("http-equiv").is_some_and(|name| name.trim().eq_ignore_ascii_case("refresh")) {
            return self.refresh(element);
        }
        let is_policy = element.attribute("http-equiv").is_some_and(|name| name.trim().eq_ignore_ascii_case("content-security-policy"));
        let in_head = self.tree.parent_element(id).is_some_and(|parent| parent.is_html("head"));
        let Some(policy) = element.attribute("content").filter(|_| is_policy && in_head) else { return };
        self.rescued |= policy::upgrades_insecure_requests(policy);
        self.policies.push(policy.to_owned());
    }

    /// Where the page sends its visitors by itself; a frame takes nobody along.
    fn refresh(&mut self, element: &Element) {
        let Some((delay_s, url)) = element.attribute("content").and_then(refresh).filter(|_| self.depth == 0) else { return };
        let when = if delay_s <= SOON_S { When::Load } else { When::Later };
        self.fetch_url(element, "content", url, AssetKind::Refresh, when);
    }

    fn style_element(&mut self, element: &Element) {
        let is_css = element.attribute("type").is_none_or(|kind| kind.is_empty() || kind.eq_ignore_ascii_case("text/css"));
        if is_css {
            self.sheets.sheet(&element.text, element.attribute("media").unwrap_or_default());
            self.take_sheets("style", element.line, None);
        }
    }

    /// An inline module asks for what it imports, by the import maps above it.
    fn inline_script(&mut self, element: &Element) {
        let kind = element.attribute("type").unwrap_or_default();
        let is_inline = ["src", "href", "xlink:href"].iter().all(|name| element.attribute(name).is_none());
        if kind.eq_ignore_ascii_case("importmap") && is_inline {
            return self.import_map.add(&element.text, &self.base, element.line);
        }
        if !kind.eq_ignore_ascii_case("module") || !is_inline {
            return;
        }
        for import in script::imports(&element.text) {
            let Some(resolved) = self.import_map.resolve(&import.specifier, &self.base) else { continue };
            let (name, written, line) = match resolved.entry {
                Some(entry) => ("script[type=importmap]", entry.written, entry.line),
                None => ("script", import.specifier, element.line + import.line),
            };
            let Some(mut asset) = self.asset(name.to_owned(), line, &written, AssetKind::Script, When::Load) else { continue };
            asset.resolved = Some(resolved.url);
            asset.terms = Terms { integrity: String::new(), ..terms::terms(element, AssetKind::Script) };
            self.scan.assets.push(asset);
        }
    }

    /// Looks into a frame whose document stands in the page.
    fn frame_content(&mut self, framed: &Framed) {
        if self.depth >= DEEPEST {
            self.scan.incomplete = true;
            return;
        }
        let Some(element) = self.tree.element(framed.id) else { return };
        let is_scripting = self.is_scripting && terms::may_script(element);
        let tree = sink::build(&framed.html, is_scripting, self.until);
        let place = Place { rescued: self.rescued, is_scripting, depth: self.depth + 1, until: self.until };
        let inner = document(&tree, framed.url.as_ref().unwrap_or(&self.base), self.headers, place);
        self.scan.incomplete |= inner.incomplete;
        self.scan.styles.merge(inner.styles);
        self.scan.assets.extend(inner.assets.into_iter().map(|mut asset| {
            asset.element = format!("{}[{}] {}", element.name, framed.attribute, asset.element);
            asset.line = element.line;
            asset
        }));
    }
}
