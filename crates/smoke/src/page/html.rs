//! Which HTML elements fetch, and what kind of request each makes.

use crate::page::AssetKind;
use crate::page::When;
use crate::page::gather::Framed;
use crate::page::gather::Picture;
use crate::page::gather::Walk;
use crate::page::media;
use crate::page::media::Holds;
use crate::page::selector;
use crate::page::srcset;
use crate::page::terms;
use crate::page::tree::Element;
use crate::page::tree::NodeId;
use crate::page::tree::Tree;

/// Takes what an HTML element asks for.
pub(super) fn assets(walk: &mut Walk<'_>, id: NodeId, element: &Element) {
    match &*element.name {
        "link" => link(walk, element),
        "script" if walk.is_scripting && terms::is_script(element) => walk.fetch(element, "src", AssetKind::Script, When::Load),
        "img" => image(walk, id, element),
        "input" | "button" => control(walk, id, element),
        "video" | "audio" => media(walk, element),
        "source" => source(walk, id, element),
        // One that is not the default is asked for when a visitor chooses it.
        "track" if parent_is(walk.tree, id, &["video", "audio"]) => {
            let when = if element.attribute("default").is_some() { When::Load } else { When::Later };
            walk.fetch(element, "src", AssetKind::Track, when);
        }
        "object" if !is_fallback(walk.tree, id) => walk.fetch(element, "data", AssetKind::Object, When::Load),
        "embed" if !is_fallback(walk.tree, id) => walk.fetch(element, "src", AssetKind::Object, When::Load),
        "iframe" | "frame" => frame(walk, id, element),
        "body" | "table" | "thead" | "tbody" | "tfoot" | "tr" | "td" | "th" => {
            walk.fetch(element, "background", AssetKind::Image, When::Load);
        }
        "form" => walk.fetch(element, "action", AssetKind::Form, When::Later),
        _ => {}
    }
}

/// A button's picture, and where it sends its form instead of the form's own address.
fn control(walk: &mut Walk<'_>, id: NodeId, element: &Element) {
    let kind = element.attribute("type").unwrap_or_default().to_ascii_lowercase();
    let is_image = element.is_html("input") && kind == "image";
    if is_image {
        walk.fetch(element, "src", AssetKind::Image, When::Load);
    }
    let sends = is_image || kind == "submit" || (element.is_html("button") && !matches!(kind.as_str(), "button" | "reset"));
    if sends && element.attribute("formaction").is_some() && (element.attribute("form").is_some() || is_below(walk.tree, id, "form")) {
        walk.fetch(element, "formaction", AssetKind::Form, When::Later);
    }
}

fn link(walk: &mut Walk<'_>, element: &Element) {
    let rel = element.attribute("rel").unwrap_or_default().to_ascii_lowercase();
    let words: Vec<&str> = rel.split_ascii_whitespace().collect();
    let has = |word: &str| words.contains(&word);
    if has("stylesheet") && is_live_sheet(element) {
        walk.fetch(element, "href", AssetKind::Style, When::Load);
        if let Some(href) = element.attribute("href") {
            walk.data_sheet("link[href]", element.line, href, element.attribute("media").unwrap_or_default());
        }
        return;
    }
    if has("icon") {
        return walk.fetch(element, "href", AssetKind::Icon, When::Load);
    }
    if has("manifest") {
        // Browsers without a window do not ask for it, and no visitor misses it on the page.
        return walk.fetch(element, "href", AssetKind::Manifest, When::Later);
    }
    let Some(kind) = terms::preload_kind(&rel, element.attribute("as")) else { return };
    // What is loaded ahead for other screens is not loaded here.
    let when = if has("preload") { terms::media_when(element) } else { Some(When::Load) };
    let Some(when) = when else { return };
    let candidates = element.attribute("imagesrcset").filter(|_| has("preload") && kind == AssetKind::Image);
    let candidates = candidates.map(srcset::parse).unwrap_or_default();
    for candidate in &candidates {
        walk.fetch_url(element, "imagesrcset", &candidate.url, kind, when);
    }
    if !candidates.iter().any(|candidate| candidate.replaces_src) {
        walk.fetch(element, "href", kind, when);
    }
}

fn is_live_sheet(element: &Element) -> bool {
    let kind = element.attribute("type").map(|kind| kind.split(';').next().unwrap_or_default().trim());
    element.attribute("disabled").is_none() && kind.is_none_or(|kind| kind.is_empty() || kind.eq_ignore_ascii_case("text/css"))
}

/// `src` is asked for like a candidate of `srcset` where there is one or a `<picture>` around it.
fn image(walk: &mut Walk<'_>, id: NodeId, element: &Element) {
    let set = element.attribute("srcset");
    let candidates = set.map(srcset::parse).unwrap_or_default();
    let picture = walk.tree.parent(id).filter(|_| parent_is(walk.tree, id, &["picture"]));
    let in_set = set.is_some() || picture.is_some();
    let when = picture.map_or(Some(When::Load), |picture| {
        let picture = picture_of(walk, picture);
        let rest = picture.rest;
        if picture.last_image == Some(id) {
            picture.last_image = None;
        }
        rest
    });
    // A source that every browser takes leaves nothing for the image itself.
    let Some(when) = when else { return };
    for candidate in &candidates {
        walk.fetch_url(element, "srcset", &candidate.url, AssetKind::ImageSet, when);
    }
    if !candidates.iter().any(|candidate| candidate.replaces_src) {
        walk.fetch(element, "src", if in_set { AssetKind::ImageSet } else { AssetKind::Image }, when);
    }
}

fn media(walk: &mut Walk<'_>, element: &Element) {
    if element.is_html("video") {
        walk.fetch(element, "poster", AssetKind::Image, When::Load);
    }
    walk.fetch(element, "src", AssetKind::Media, media_when(element));
}

fn media_when(element: &Element) -> When {
    let waits = element.attribute("preload").is_some_and(|preload| preload.eq_ignore_ascii_case("none"));
    if waits && element.attribute("autoplay").is_none() { When::Later } else { When::Load }
}

fn source(walk: &mut Walk<'_>, id: NodeId, element: &Element) {
    let Some(parent) = walk.tree.parent_element(id) else { return };
    let kind = essence(element.attribute("type").unwrap_or_default());
    if parent.is_html("picture") {
        source_of_picture(walk, id, element, &kind);
    } else if (parent.is_html("video") || parent.is_html("audio")) && parent.attribute("src").is_none() {
        let when = if kind.is_empty() || is_known_medium(&kind) { media_when(parent) } else { When::Later };
        walk.fetch(element, "src", AssetKind::Media, when);
    }
}

fn essence(kind: &str) -> String {
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether every browser plays this type; others leave its source out.
fn is_known_medium(kind: &str) -> bool {
    const KNOWN: [&str; 12] = [
        "audio/aac",
        "audio/flac",
        "audio/mp3",
        "audio/mp4",
        "audio/mpeg",
        "audio/ogg",
        "audio/wav",
        "audio/webm",
        "audio/x-wav",
        "application/ogg",
        "video/mp4",
        "video/webm",
    ];
    KNOWN.contains(&kind)
}

/// The first source that fits is taken, and nothing behind it (HTML Standard, "update the source set").
fn source_of_picture(walk: &mut Walk<'_>, id: NodeId, element: &Element, kind: &str) {
    const KNOWN_TO_ALL: [&str; 9] =
        ["", "image/bmp", "image/gif", "image/jpeg", "image/jpg", "image/png", "image/svg+xml", "image/webp", "image/x-icon"];
    const KNOWN_TO_MOST: [&str; 2] = ["image/apng", "image/avif"];
    let candidates = srcset::parse(element.attribute("srcset").unwrap_or_default());
    let Some(picture) = walk.tree.parent(id) else { return };
    let picture = picture_of(walk, picture);
    if candidates.is_empty() || picture.last_image.is_none() {
        return;
    }
    let media = media::media(element.attribute("media").unwrap_or_default());
    let rest = picture.rest;
    let is_known = KNOWN_TO_ALL.contains(&kind) || KNOWN_TO_MOST.contains(&kind);
    let when = selector::both(rest, if is_known { media.when() } else { selector::both(media.when(), Some(When::Later)) });
    picture.rest = match media {
        Holds::Always if KNOWN_TO_ALL.contains(&kind) => None,
        Holds::Always | Holds::Here if is_known => selector::both(rest, Some(When::Later)),
        _ => rest,
    };
    let Some(when) = when else { return };
    for candidate in candidates {
        walk.fetch_url(element, "srcset", &candidate.url, AssetKind::ImageSet, when);
    }
}

fn picture_of<'w>(walk: &'w mut Walk<'_>, picture: NodeId) -> &'w mut Picture {
    let tree = walk.tree;
    walk.pictures.entry(picture).or_insert_with(|| {
        let children = std::iter::successors(tree.first_child(picture), |id| tree.next_sibling(*id));
        let last_image = children.filter(|id| tree.element(*id).is_some_and(|element| element.is_html("img"))).last();
        Picture { last_image, rest: Some(When::Load) }
    })
}

fn frame(walk: &mut Walk<'_>, id: NodeId, element: &Element) {
    if let Some(html) = element.attribute("srcdoc").filter(|_| element.is_html("iframe")) {
        return walk.framed.push(Framed { id, attribute: "srcdoc", html: html.to_owned(), url: None });
    }
    walk.fetch(element, "src", AssetKind::Frame, When::Load);
    let inner = element.attribute("src").and_then(|src| walk.data_document(src));
    if let Some((url, html)) = inner {
        walk.framed.push(Framed { id, attribute: "src", html, url: Some(url) });
    }
}

fn is_below(tree: &Tree, id: NodeId, name: &str) -> bool {
    /// A control deeper than this below its form does not occur.
    const LEVELS: usize = 64;
    std::iter::successors(tree.parent(id), |id| tree.parent(*id))
        .take(LEVELS)
        .filter_map(|id| tree.element(id))
        .any(|element| element.is_html(name))
}

fn parent_is(tree: &Tree, id: NodeId, names: &[&str]) -> bool {
    tree.parent_element(id).is_some_and(|parent| names.iter().any(|name| parent.is_html(name)))
}

/// Whether the element stands in for an object or a medium that did not load.
fn is_fallback(tree: &Tree, id: NodeId) -> bool {
    /// An element deeper than this below its object does not occur.
    const LEVELS: usize = 32;
    let ancestors = std::iter::successors(tree.parent(id), |id| tree.parent(*id)).take(LEVELS);
    ancestors.filter_map(|id| tree.element(id)).any(|element| {
        element.is_html("video") || element.is_html("audio") || (element.is_html("object") && element.attribute("data").is_some())
    })
}
