//! Which HTML elements fetch, and what kind of request each makes.

use crate::page::AssetKind;
use crate::page::Cors;
use crate::page::Terms;
use crate::page::When;
use crate::page::media;
use crate::page::media::Holds;
use crate::page::selector;
use crate::page::srcset;
use crate::page::styles;
use crate::page::tree::Element;
use crate::page::tree::NodeId;
use crate::page::tree::Tree;
use crate::page::walk;
use crate::page::walk::Walk;

/// Takes what an HTML element asks for.
pub(super) fn assets(walk: &mut Walk<'_>, id: NodeId, element: &Element) {
    match &*element.name {
        "link" => link(walk, element),
        "script" if walk.is_scripting && is_script(element) => walk.fetch(element, "src", AssetKind::Script, When::Load),
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
        "iframe" | "frame" => frame(walk, element),
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

/// Whether the documents of a frame run scripts.
pub(super) fn may_script(frame: &Element) -> bool {
    let allows = |sandbox: &str| sandbox.split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case("allow-scripts"));
    frame.attribute("sandbox").is_none_or(allows)
}

/// What the element says about a request of this kind.
pub(super) fn terms(element: &Element, kind: AssetKind) -> Terms {
    let value = |name: &str| element.attribute(name).unwrap_or_default().to_owned();
    let is_link = element.is_html("link");
    let rel = element.attribute("rel").filter(|_| is_link).unwrap_or_default();
    let has = |word: &str| rel.split_ascii_whitespace().any(|other| other.eq_ignore_ascii_case(word));
    let is_module = has("modulepreload")
        || (&*element.name == "script" && element.attribute("type").is_some_and(|kind| kind.trim().eq_ignore_ascii_case("module")));
    let asked = element
        .attribute("crossorigin")
        .map(|mode| if mode.trim().eq_ignore_ascii_case("use-credentials") { Cors::Credentials } else { Cors::Anonymous });
    let takes_integrity = is_link || &*element.name == "script";
    Terms {
        cors: asked.or_else(|| is_module.then_some(Cors::Anonymous)).or_else(|| styles::cors_of(kind)),
        integrity: if takes_integrity { value("integrity") } else { String::new() },
        media: if is_link { value("media") } else { String::new() },
        face: None,
        is_module,
        is_sandboxed: kind == AssetKind::Frame && !may_script(element),
        is_ahead: is_link && !has("stylesheet") && !has("icon") && !has("manifest"),
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
    let Some(kind) = preload_kind(&rel, element.attribute("as")) else { return };
    // What is loaded ahead for other screens is not loaded here.
    let when = if has("preload") { walk::media_when(element) } else { Some(When::Load) };
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

/// What a link with this `rel` and `as` fetches ahead of its use, if anything.
pub(super) fn preload_kind(rel: &str, destination: Option<&str>) -> Option<AssetKind> {
    let rel = rel.to_ascii_lowercase();
    let has = |word: &str| rel.split_ascii_whitespace().any(|other| other == word);
    let destination = destination.unwrap_or_default().to_ascii_lowercase();
    if has("modulepreload") {
        const MODULES: [&str; 9] =
            ["", "audioworklet", "json", "paintworklet", "script", "serviceworker", "sharedworker", "style", "worker"];
        return MODULES.contains(&destination.as_str()).then_some(AssetKind::Script);
    }
    if has("preload") {
        return match destination.as_str() {
            "style" => Some(AssetKind::Style),
            "script" => Some(AssetKind::Script),
            "font" => Some(AssetKind::Font),
            "image" => Some(AssetKind::Image),
            "track" => Some(AssetKind::Track),
            "fetch" => Some(AssetKind::Prefetch),
            _ => None,
        };
    }
    has("prefetch").then_some(AssetKind::Prefetch)
}

/// Whether a script element, of HTML or SVG, is run: a data block or a type of another time asks for nothing.
pub(super) fn is_script(element: &Element) -> bool {
    let kind = match (element.attribute("type"), element.attribute("language")) {
        (Some(""), _) | (None, None | Some("")) => "text/javascript".to_owned(),
        (Some(kind), _) => kind.trim_matches(|c: char| c.is_ascii_whitespace()).to_ascii_lowercase(),
        (None, Some(language)) => format!("text/{}", language.to_ascii_lowercase()),
    };
    // Browsers do not trim this one.
    if element.attribute("type").is_some_and(|kind| kind.eq_ignore_ascii_case("module")) {
        return true;
    }
    is_javascript(&kind) && element.attribute("nomodule").is_none() && !is_for_event(element)
}

/// `<script for=… event=…>` was a handler once; browsers run it only for the load of the window.
fn is_for_event(element: &Element) -> bool {
    let (Some(target), Some(event)) = (element.attribute("for"), element.attribute("event")) else { return false };
    let event = event.trim().to_ascii_lowercase();
    !target.trim().eq_ignore_ascii_case("window") || !matches!(event.as_str(), "onload" | "onload()")
}

/// Whether this type, in lower case and without parameters, is JavaScript (MIME Sniffing, JavaScript MIME type).
pub(crate) fn is_javascript(kind: &str) -> bool {
    const KINDS: [&str; 16] = [
        "application/ecmascript",
        "application/javascript",
        "application/x-ecmascript",
        "application/x-javascript",
        "text/ecmascript",
        "text/javascript",
        "text/javascript1.0",
        "text/javascript1.1",
        "text/javascript1.2",
        "text/javascript1.3",
        "text/javascript1.4",
        "text/javascript1.5",
        "text/jscript",
        "text/livescript",
        "text/x-ecmascript",
        "text/x-javascript",
    ];
    KINDS.contains(&kind)
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

/// A picture and what has been read of it.
pub(super) struct Picture {
    /// Its last image, as long as the walk has not passed it. It is looked for once: a picture may have many sources.
    last_image: Option<NodeId>,
    /// When browsers come to what stands behind the sources so far; none: never.
    rest: Option<When>,
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
    let (rest, is_known) = (picture.rest, KNOWN_TO_ALL.contains(&kind) || KNOWN_TO_MOST.contains(&kind));
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

fn frame(walk: &mut Walk<'_>, element: &Element) {
    if let Some(html) = element.attribute("srcdoc").filter(|_| element.is_html("iframe")) {
        return walk.frame_content(element, "srcdoc", html, None);
    }
    walk.fetch(element, "src", AssetKind::Frame, When::Load);
    let inner = element.attribute("src").and_then(|src| walk.data_document(src));
    if let Some((url, html)) = inner {
        walk.frame_content(element, "src", &html, Some(&url));
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
