//! Which CSS properties fetch, and which fonts count.

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
