//! Conditions of `@supports` and of `supports()` in `@import` (CSS Conditional Rules level 4): what browsers know, what none knows,
//! and what is unsure.
//!
//! `properties.txt` holds what Chromium said of itself by `CSS.supports`: properties, the kinds of values that they take (`L` lengths,
//! `P` percentages, `N` numbers, `C` colours, `G` gradients, `U` addresses, `F` filters, `T` transforms), and keywords. What does not
//! stand there may be known to another browser, so it is unsure and never false.

use std::collections::HashMap;
use std::sync::LazyLock;

use cssparser::Delimiter;
use cssparser::Parser;
use cssparser::Token;

use crate::page::When;
use crate::page::media;
use crate::page::property;

struct Known {
    kinds: &'static str,
    keywords: &'static str,
}

static PROPERTIES: LazyLock<HashMap<&'static str, Known>> = LazyLock::new(|| {
    let lines = include_str!("properties.txt").lines().filter_map(|line| {
        let mut parts = line.split('|');
        Some((parts.next()?, parts.next()?, parts.next()?))
    });
    let each = lines.flat_map(|(names, kinds, keywords)| names.split(' ').map(move |name| (name, Known { kinds, keywords })));
    each.collect()
});

const EVERYWHERE: [&str; 5] = ["inherit", "initial", "revert", "revert-layer", "unset"];
const UNITS: [&str; 23] = [
    "ch", "cm", "cqh", "cqi", "cqw", "dvh", "dvw", "em", "ex", "in", "lh", "lvh", "lvw", "mm", "pc", "pt", "px", "rem", "rlh", "svh",
    "svw", "vh", "vw",
];
const COLOURS: [&str; 11] = ["color", "color-mix", "hsl", "hsla", "hwb", "lab", "lch", "oklab", "oklch", "rgb", "rgba"];
const GRADIENTS: [&str; 6] = [
    "conic-gradient",
    "linear-gradient",
    "radial-gradient",
    "repeating-conic-gradient",
    "repeating-linear-gradient",
    "repeating-radial-gradient",
];
const FILTERS: [&str; 10] =
    ["blur", "brightness", "contrast", "drop-shadow", "grayscale", "hue-rotate", "invert", "opacity", "saturate", "sepia"];
const TRANSFORMS: [&str; 9] = ["matrix", "rotate", "rotate3d", "scale", "scale3d", "skew", "translate", "translate3d", "translatez"];

/// When rules under this condition count; none: in no browser.
pub(super) fn when(condition: &str) -> Option<When> {
    match holds(condition) {
        Some(true) => Some(When::Load),
        Some(false) => None,
        None => Some(When::Later),
    }
}

/// Whether the condition holds; none: that is unsure.
fn holds(condition: &str) -> Option<bool> {
    let mut parser = Parser::new(condition);
    let holds = media::condition(&mut parser, &leaf, 0);
    if parser.is_exhausted() { holds } else { None }
}

/// When `supports(…)` among the words behind an `@import` lets it be asked for; none: never.
pub(super) fn import_when(words: &str) -> Option<When> {
    let mut parser = Parser::new(words);
    while let Ok(token) = parser.next().cloned() {
        let Token::Function(name) = token else { continue };
        if !name.eq_ignore_ascii_case("supports") {
            continue;
        }
        let mut inside = "";
        let _: Result<(), cssparser::ParseError<()>> = parser.parse_nested_block(|parser| {
            let start = parser.position();
            while parser.next().is_ok() {}
            inside = parser.slice_from(start);
            Ok(())
        });
        // A declaration may stand there without parentheses of its own.
        let is_bare = declared(&mut Parser::new(inside)).is_some();
        return if is_bare { when(&format!("({inside})")) } else { when(inside) };
    }
    Some(When::Load)
}

fn declared(parser: &mut Parser<'_>) -> Option<String> {
    let name = parser.expect_ident().ok()?.to_string();
    parser.expect_colon().ok()?;
    Some(name)
}

fn leaf(parser: &mut Parser<'_>) -> Option<bool> {
    let start = parser.state();
    match parser.next().cloned() {
        Ok(Token::Ident(_)) => {
            parser.reset(&start);
            let name = declared(parser)?;
            Some(declaration(&name, parser)?)
        }
        Ok(Token::Function(name)) => {
            let name = name.to_ascii_lowercase();
            let mut word = None;
            let _: Result<(), cssparser::ParseError<()>> = parser.parse_nested_block(|parser| {
                word = parser.expect_ident().ok().map(|word| word.to_ascii_lowercase());
                while parser.next().is_ok() {}
                Ok(())
            });
            let is_font = name == "font-format" && word.is_some_and(|word| property::is_known_font(&word));
            is_font.then_some(true)
        }
        _ => None,
    }
}

/// Whether browsers know this declaration.
fn declaration(name: &str, parser: &mut Parser<'_>) -> Option<bool> {
    let mut words = Vec::new();
    let _: Result<(), cssparser::ParseError<()>> = parser.parse_until_before(Delimiter::Bang, |parser| {
        while let Ok(token) = parser.next().cloned() {
            words.push(match token {
                // What a function holds is taken to be right.
                Token::Function(name) => Token::Function(name.to_ascii_lowercase().into()),
                token => token,
            });
        }
        Ok(())
    });
    while parser.next().is_ok() {}
    if name.starts_with("--") {
        return Some(true);
    }
    let known = PROPERTIES.get(name.to_ascii_lowercase().as_str())?;
    let [value] = words.as_slice() else { return None };
    let takes = |kind: char| known.kinds.contains(kind);
    let is_taken = match value {
        Token::Ident(word) => {
            let word = word.to_ascii_lowercase();
            let is_colour = takes('C') && matches!(word.as_str(), "transparent" | "currentcolor" | "red" | "black" | "white");
            is_colour || EVERYWHERE.contains(&word.as_str()) || known.keywords.split(' ').any(|keyword| keyword == word)
        }
        Token::Dimension { unit, .. } => takes('L') && UNITS.contains(&unit.to_ascii_lowercase().as_str()),
        Token::Percentage { .. } => takes('P'),
        Token::Number { value, .. } => takes('N') || (takes('L') && *value == 0.0),
        Token::Hash(digits) | Token::IDHash(digits) => {
            takes('C') && matches!(digits.len(), 3 | 4 | 6 | 8) && digits.bytes().all(|b| b.is_ascii_hexdigit())
        }
        Token::UnquotedUrl(_) => takes('U'),
        Token::Function(function) => {
            let of = |kind: char, names: &[&str]| takes(kind) && names.contains(&&**function);
            &**function == "var"
                || (matches!(&**function, "calc" | "clamp" | "max" | "min") && (takes('L') || takes('N')))
                || of('C', &COLOURS)
                || of('G', &GRADIENTS)
                || of('F', &FILTERS)
                || of('T', &TRANSFORMS)
                || of('U', &["url"])
        }
        _ => false,
    };
    is_taken.then_some(true)
}

#[cfg(test)]
mod tests {
    use super::holds;
    use super::import_when;
    use crate::page::When;

    #[test]
    fn what_browsers_know_is_true_and_what_none_is_sure_of_is_unsure() {
        let table = [
            ("(display: grid)", Some(true)),
            ("(DISPLAY: GRID)", Some(true)),
            ("not (display: grid)", Some(false)),
            ("(not (display: grid))", Some(false)),
            ("((display: grid) and (position: sticky))", Some(true)),
            ("(display: grid) and (not (display: inline-grid))", Some(false)),
            ("(display: grid) or (something: new)", Some(true)),
            ("(something: new)", None),
            ("not (something: new)", None),
            ("(display: something-new)", None),
            ("(--css: variables)", Some(true)),
            ("(width: 1dvh)", Some(true)),
            ("(width: 1newunit)", None),
            ("(color: oklch(0.5 0.1 20))", Some(true)),
            ("(color: #12345678)", Some(true)),
            ("(backdrop-filter: blur(2px))", Some(true)),
            ("(-webkit-backdrop-filter: none) or (backdrop-filter: none)", Some(true)),
            ("(-moz-appearance: none)", None),
            ("(aspect-ratio: 1)", Some(true)),
            ("(width: fit-content)", Some(true)),
            ("(display: grid) and (width: calc(1px + 2px))", Some(true)),
            ("font-format(woff2)", Some(true)),
            ("selector(:has(a))", None),
            ("(display: grid) !", None),
            ("display: grid", Some(true)),
            ("", None),
            ("((", None),
        ];
        for (condition, wanted) in table {
            assert_eq!(holds(condition), wanted, "{condition}");
        }
        for (words, wanted) in [
            ("", Some(When::Load)),
            ("layer(x) screen", Some(When::Load)),
            ("supports(display: grid)", Some(When::Load)),
            ("layer supports((display: grid) and (not (something: new))) screen", Some(When::Later)),
            ("SUPPORTS(not (display:grid))", None),
        ] {
            assert_eq!(import_when(words), wanted, "{words}");
        }
    }
}
