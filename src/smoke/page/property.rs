//! Which CSS properties fetch, and which media and fonts count.

use crate::smoke::page::When;

/// Properties whose `url()` browsers ask for; each as an image.
const FETCHING: [&str; 34] = [
    "-webkit-border-image",
    "-webkit-box-reflect",
    "-webkit-clip-path",
    "-webkit-filter",
    "-webkit-mask",
    "-webkit-mask-box-image",
    "-webkit-mask-box-image-source",
    "-webkit-mask-image",
    "-webkit-shape-outside",
    "backdrop-filter",
    "background",
    "background-image",
    "border-image",
    "border-image-source",
    "clip-path",
    "content",
    "cursor",
    "fill",
    "filter",
    "list-style",
    "list-style-image",
    "marker",
    "marker-end",
    "marker-mid",
    "marker-start",
    "mask",
    "mask-border",
    "mask-border-source",
    "mask-image",
    "offset-path",
    "shape-outside",
    "stroke",
    "-webkit-backdrop-filter",
    "-webkit-cross-fade",
];

/// SVG attributes that are CSS properties and may hold a `url()`.
pub(super) const PRESENTATION: [&str; 9] =
    ["clip-path", "cursor", "fill", "filter", "marker-end", "marker-mid", "marker-start", "mask", "stroke"];

/// Whether a `url()` of this property, in lower case, is asked for.
pub(super) fn fetches(name: &str) -> bool {
    FETCHING.contains(&name)
}

/// Whether the property says in which fonts text is shown.
pub(super) fn names_fonts(name: &str) -> bool {
    name.eq_ignore_ascii_case("font-family") || name.eq_ignore_ascii_case("font")
}

/// Whether browsers of today take a font of this `format()`.
pub(super) fn is_known_font(format: &str) -> bool {
    const KNOWN: [&str; 9] = [
        "collection",
        "opentype",
        "opentype-variations",
        "truetype",
        "truetype-variations",
        "woff",
        "woff-variations",
        "woff2",
        "woff2-variations",
    ];
    KNOWN.contains(&format.to_ascii_lowercase().as_str())
}

/// When rules under these media queries count; none: never on a screen.
///
/// Features (widths, colours) are taken as true: some visitor's screen has them.
pub(super) fn media(queries: &str) -> Option<When> {
    const OTHER: [&str; 10] = ["aural", "braille", "embossed", "handheld", "print", "projection", "speech", "tty", "tv", "-"];
    let never = |query: &str| {
        let lower = query.to_ascii_lowercase();
        let words: Vec<&str> = lower.split(|c: char| c.is_ascii_whitespace() || c == '(').filter(|word| !word.is_empty()).collect();
        match words.as_slice() {
            ["not", kind, ..] => matches!(*kind, "all" | "screen") && words.len() == 2,
            ["only", kind, ..] | [kind, ..] => OTHER.contains(kind),
            [] => false,
        }
    };
    if queries.split(',').all(never) { None } else { Some(When::Load) }
}

#[cfg(test)]
mod tests {
    use super::media;

    #[test]
    fn only_media_that_no_screen_is_are_left_out() {
        for screen in
            ["", "all", "screen", "print, screen", "(max-width: 9em)", "not print", "only screen and (color)", "not screen and (color)"]
        {
            assert!(media(screen).is_some(), "{screen}");
        }
        for paper in ["print", "Print and (color)", "only print", "print,speech", "not all", " not screen"] {
            assert!(media(paper).is_none(), "{paper}");
        }
    }
}
