//! What an element says about its request: its kind, its mode, and whether there is one at all.

use crate::page::AssetKind;
use crate::page::Cors;
use crate::page::Terms;
use crate::page::When;
use crate::page::media;
use crate::page::styles;
use crate::page::tree::Element;

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

/// When rules under a `media` attribute count; none: never.
pub(super) fn media_when(element: &Element) -> Option<When> {
    media::media(element.attribute("media").unwrap_or_default()).when()
}
