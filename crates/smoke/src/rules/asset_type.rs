//! `asset_type`.

use crate::assets::Flaw;
use crate::assets::Got;
use crate::assets::Wanted;
use crate::assets::sniff;
use crate::catalogue::ASSET_TYPE;
use crate::page::AssetKind;
use crate::page::is_javascript;
use crate::redirect::excerpt;

/// Whether a browser takes it as what it is asked for.
///
/// Sources: Fetch Standard ("should response to request be blocked due to nosniff", "… due to its MIME type"), HTML Standard
/// (link type "stylesheet", fetching a module script, images), and what Chromium does.
pub(crate) fn judge(wanted: &Wanted, got: &Got) -> Option<Flaw> {
    let essence = got.essence.as_str();
    let is_usable = match wanted.kind {
        // Of what came packed not even the beginning could be unpacked; style sheets and modules go by their type.
        _ if got.body.is_empty() && got.bytes > 0 && !matches!(wanted.kind, AssetKind::Style | AssetKind::Script) => true,
        AssetKind::Style => is_usable_style(wanted, got),
        AssetKind::Script if wanted.is_module => is_module(essence) && !sniff::is_html_document(&got.body),
        AssetKind::Script => is_usable_script(got),
        // Browsers go by the bytes; SVG alone must say that it is an image.
        AssetKind::Image => !sniff::is_html_document(&got.body) && (essence == "image/svg+xml" || !sniff::is_svg(&got.body)),
        AssetKind::Font => sniff::is_font(&got.body),
        AssetKind::Track => sniff::is_web_vtt(&got.body),
        AssetKind::Media | AssetKind::Manifest => !sniff::is_html_document(&got.body),
        AssetKind::ImageSet
        | AssetKind::Icon
        | AssetKind::Object
        | AssetKind::Frame
        | AssetKind::Prefetch
        | AssetKind::Form
        | AssetKind::Refresh => true,
    };
    (!is_usable).then(|| flaw(wanted, got))
}

/// The rule of pages without a doctype holds for their own origin alone.
fn is_usable_style(wanted: &Wanted, got: &Got) -> bool {
    // An app that types its own page by the file's ending says text/css, and no rule of that applies.
    let is_css = got.essence == "text/css" && !sniff::is_html_document(&got.body);
    // One without a type is taken; one whose type cannot be read is not, by Chromium 148 on.
    let is_untyped = got.content_type.as_deref().is_none_or(|kind| kind.trim().is_empty());
    is_css || (!got.is_nosniff && (is_untyped || (wanted.is_lax && !got.is_foreign && !sniff::is_html_document(&got.body))))
}

fn is_usable_script(got: &Got) -> bool {
    let essence = got.essence.as_str();
    let is_never = ["image/", "audio/", "video/"].iter().any(|kind| essence.starts_with(kind)) || essence == "text/csv";
    let is_typed = is_javascript(essence) || !(is_never || got.is_nosniff);
    // Whatever its type: what begins as HTML does is no JavaScript.
    is_typed && !sniff::is_html_document(&got.body)
}

fn is_module(essence: &str) -> bool {
    is_javascript(essence) || essence == "application/wasm"
}

fn flaw(wanted: &Wanted, got: &Got) -> Flaw {
    let what = match wanted.kind {
        AssetKind::Style => "a style sheet",
        AssetKind::Script if wanted.is_module => "a module",
        AssetKind::Script => "a script",
        AssetKind::Font => "a font",
        AssetKind::Track => "subtitles in WebVTT",
        AssetKind::Media => "audio or video",
        AssetKind::Manifest => "a manifest",
        _ => "an image",
    };
    let comes = match &got.content_type {
        Some(kind) if !kind.trim().is_empty() => format!("is served as {}", excerpt(kind.trim())),
        _ => "is served without a content type".to_owned(),
    };
    let nosniff = if got.is_nosniff { " with nosniff" } else { "" };
    if sniff::is_html_document(&got.body) {
        let flaw = Flaw::of(&ASSET_TYPE, format!("{comes}{nosniff} and is an HTML page, but the page uses it as {what}"));
        return flaw
            .with_fix("Often the app returns its own page for a missing file: check that the release contains a file of this name.");
    }
    Flaw::of(&ASSET_TYPE, format!("{comes}{nosniff}, but the page uses it as {what}"))
}
