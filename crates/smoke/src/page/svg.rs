//! Which SVG elements fetch.

use crate::page::AssetKind;
use crate::page::When;
use crate::page::gather::Walk;
use crate::page::property::PRESENTATION;
use crate::page::terms;
use crate::page::tree::Element;

/// Takes what an SVG element asks for.
pub(super) fn assets(walk: &mut Walk<'_>, element: &Element) {
    match &*element.name {
        "image" | "feImage" | "use" => href(walk, element, AssetKind::Image),
        "script" if walk.is_scripting && terms::is_script(element) => href(walk, element, AssetKind::Script),
        _ => {}
    }
    for name in PRESENTATION {
        if let Some(value) = element.attribute(name) {
            walk.presentation(element, name, value);
        }
    }
}

/// `href` wins over `xlink:href`; a bare fragment names something in this page.
fn href(walk: &mut Walk<'_>, element: &Element, kind: AssetKind) {
    let name = if element.attribute("href").is_some() { "href" } else { "xlink:href" };
    if element.attribute(name).is_some_and(|target| !target.trim_start().starts_with('#')) {
        walk.fetch(element, name, kind, When::Load);
    }
}
