//! Media queries (Media Queries level 5), evaluated for the screens that visitors have.

use cssparser::Delimiter;
use cssparser::Parser;
use cssparser::Token;

use crate::page::When;

/// For whom a media query holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// On every screen.
    Always,
    /// On a desktop, and not everywhere.
    Here,
    /// On other screens, on paper, or perhaps.
    Elsewhere,
    /// For nobody.
    Never,
}

impl Holds {
    /// When what stands under it is asked for; none: never.
    pub(super) fn when(self) -> Option<When> {
        match self {
            Self::Always | Self::Here => Some(When::Load),
            Self::Elsewhere => Some(When::Later),
            Self::Never => None,
        }
    }
}

/// A visitor.
#[derive(Clone, Copy)]
struct Visitor {
    width: f64,
    height: f64,
    density: f64,
    is_touch: bool,
    is_dark: bool,
    is_calm: bool,
    is_paper: bool,
}

/// The first is the one that counts, a desktop as the rendered check has it.
const VISITORS: [Visitor; 9] = {
    let desktop = Visitor { width: 1280.0, height: 800.0, density: 1.0, is_touch: false, is_dark: false, is_calm: false, is_paper: false };
    [
        desktop,
        Visitor { is_dark: true, ..desktop },
        Visitor { is_calm: true, ..desktop },
        Visitor { width: 2560.0, height: 1440.0, density: 2.0, ..desktop },
        Visitor { width: 390.0, height: 844.0, density: 3.0, is_touch: true, ..desktop },
        Visitor { width: 820.0, height: 1180.0, density: 2.0, is_touch: true, ..desktop },
        Visitor { width: 120.0, height: 120.0, is_touch: true, ..desktop },
        Visitor { width: 7680.0, height: 4320.0, ..desktop },
        Visitor { width: 794.0, height: 1123.0, is_paper: true, ..desktop },
    ]
};

/// Longer lists are taken to hold.
const LONGEST: usize = 10_000;
/// Conditions deeper than this are unsure.
const DEEPEST: u8 = 16;

/// True, false, or not known.
type Truth = Option<bool>;

pub(super) fn not(truth: Truth) -> Truth {
    truth.map(|truth| !truth)
}

pub(super) fn and(a: Truth, b: Truth) -> Truth {
    match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

pub(super) fn or(a: Truth, b: Truth) -> Truth {
    not(and(not(a), not(b)))
}

/// For whom these queries hold.
pub(super) fn media(queries: &str) -> Holds {
    if queries.trim().is_empty() {
        return Holds::Always;
    }
    if queries.len() > LONGEST {
        return Holds::Here;
    }
    let all = VISITORS.map(|visitor| list(queries, visitor));
    let screens = || VISITORS.iter().zip(all).filter(|(visitor, _)| !visitor.is_paper).map(|(_, holds)| holds);
    match all[0] {
        Some(true) if screens().all(|holds| holds == Some(true)) => Holds::Always,
        Some(true) => Holds::Here,
        _ if all.iter().all(|holds| *holds == Some(false)) => Holds::Never,
        _ => Holds::Elsewhere,
    }
}

fn list(queries: &str, visitor: Visitor) -> Truth {
    let mut parser = Parser::new(queries);
    let mut any = Some(false);
    loop {
        let mut one = None;
        let _: Result<(), cssparser::ParseError<()>> = parser.parse_until_before(Delimiter::Comma, |parser| {
            one = query(parser, visitor);
            while parser.next().is_ok() {}
            Ok(())
        });
        any = or(any, one);
        if parser.next().is_err() {
            return any;
        }
    }
}

/// One query; what is not well-formed holds for nobody.
fn query(parser: &mut Parser<'_>, visitor: Visitor) -> Truth {
    let start = parser.state();
    let Ok(Token::Ident(first)) = parser.next().cloned() else {
        parser.reset(&start);
        return ended(parser, visitor, |parser, visitor| condition(parser, &|parser| feature(parser, visitor), 0));
    };
    let first = first.to_ascii_lowercase();
    let (is_negated, kind) = match first.as_str() {
        "not" | "only" => {
            let Ok(Token::Ident(kind)) = parser.next().cloned() else {
                parser.reset(&start);
                return ended(parser, visitor, |parser, visitor| condition(parser, &|parser| feature(parser, visitor), 0));
            };
            (first == "not", kind.to_ascii_lowercase())
        }
        _ => (false, first),
    };
    let mut holds = match kind.as_str() {
        "all" => Some(true),
        "screen" => Some(!visitor.is_paper),
        "print" => Some(visitor.is_paper),
        _ => Some(false),
    };
    while parser.try_parse(|parser| parser.expect_ident_matching("and")).is_ok() {
        holds = and(holds, part(parser, &|parser| feature(parser, visitor), 0));
    }
    let holds = if parser.is_exhausted() { holds } else { Some(false) };
    if is_negated { not(holds) } else { holds }
}

fn ended(parser: &mut Parser<'_>, visitor: Visitor, read: impl Fn(&mut Parser<'_>, Visitor) -> Truth) -> Truth {
    let holds = read(parser, visitor);
    if parser.is_exhausted() { holds } else { Some(false) }
}

/// `not A`, `A and B and C`, `A or B or C`, where `leaf` reads what stands in parentheses and is no condition itself.
pub(super) fn condition(parser: &mut Parser<'_>, leaf: &dyn Fn(&mut Parser<'_>) -> Truth, depth: u8) -> Truth {
    if parser.try_parse(|parser| parser.expect_ident_matching("not")).is_ok() {
        return not(part(parser, leaf, depth));
    }
    let mut holds = part(parser, leaf, depth);
    loop {
        if parser.try_parse(|parser| parser.expect_ident_matching("and")).is_ok() {
            holds = and(holds, part(parser, leaf, depth));
        } else if parser.try_parse(|parser| parser.expect_ident_matching("or")).is_ok() {
            holds = or(holds, part(parser, leaf, depth));
        } else {
            return holds;
        }
    }
}

/// One operand: a condition in parentheses, or what `leaf` reads, which also gets functions.
fn part(parser: &mut Parser<'_>, leaf: &dyn Fn(&mut Parser<'_>) -> Truth, depth: u8) -> Truth {
    if depth > DEEPEST {
        while parser.next().is_ok() {}
        return None;
    }
    if parser.try_parse(|parser| parser.expect_ident_matching("not")).is_ok() {
        return not(part(parser, leaf, depth + 1));
    }
    let start = parser.state();
    if !matches!(parser.next(), Ok(Token::ParenthesisBlock)) {
        parser.reset(&start);
        return leaf(parser);
    }
    let mut inner = None;
    let _: Result<(), cssparser::ParseError<()>> = parser.parse_nested_block(|parser| {
        let start = parser.state();
        let is_nested = match parser.next() {
            Ok(Token::ParenthesisBlock | Token::Function(_)) => true,
            Ok(Token::Ident(word)) if word.eq_ignore_ascii_case("not") => true,
            _ => false,
        };
        parser.reset(&start);
        inner = if is_nested { condition(parser, leaf, depth + 1) } else { leaf(parser) };
        while parser.next().is_ok() {}
        Ok(())
    });
    inner
}

/// What stands in the parentheses of a media feature: `name`, `name: value`, or a range.
fn feature(parser: &mut Parser<'_>, visitor: Visitor) -> Truth {
    let mut words = Vec::new();
    while let Ok(token) = parser.next().cloned() {
        words.push(token);
    }
    match words.as_slice() {
        [Token::Ident(name)] => boolean(&name.to_ascii_lowercase(), visitor),
        [Token::Ident(name), Token::Colon, value @ ..] => named(&name.to_ascii_lowercase(), value, visitor),
        [..] => range(&words, visitor),
    }
}

fn boolean(name: &str, visitor: Visitor) -> Truth {
    match name {
        "hover" | "any-hover" => Some(!visitor.is_touch && !visitor.is_paper),
        "prefers-reduced-motion" => Some(visitor.is_calm),
        "monochrome" | "grid" | "forced-colors" | "prefers-contrast" => Some(false),
        "pointer" | "any-pointer" | "prefers-color-scheme" | "orientation" | "scripting" | "update" | "overflow-block" => Some(true),
        _ => number(name, visitor).map(|number| number != 0.0),
    }
}

fn named(name: &str, value: &[Token<'_>], visitor: Visitor) -> Truth {
    if let [Token::Ident(word)] = value {
        return keyword(name, &word.to_ascii_lowercase(), visitor);
    }
    let value = length(value)?;
    let name = name.strip_prefix("-webkit-").unwrap_or(name);
    let (side, name) = match (name.strip_prefix("min-"), name.strip_prefix("max-")) {
        (Some(name), _) => ('>', name),
        (_, Some(name)) => ('<', name),
        _ => ('=', name),
    };
    compare(number(name, visitor)?, side, true, value)
}

fn keyword(name: &str, word: &str, visitor: Visitor) -> Truth {
    Some(match (name, word) {
        ("orientation", "landscape") => visitor.width > visitor.height,
        ("orientation", "portrait") => visitor.width <= visitor.height,
        ("hover" | "any-hover", "hover") | ("pointer" | "any-pointer", "fine") => !visitor.is_touch,
        ("hover" | "any-hover", "none") | ("pointer" | "any-pointer", "coarse") => visitor.is_touch,
        ("prefers-color-scheme", "dark") => visitor.is_dark,
        ("prefers-color-scheme", "light") => !visitor.is_dark,
        ("prefers-reduced-motion", "reduce") => visitor.is_calm,
        ("prefers-reduced-motion", "no-preference") => !visitor.is_calm,
        ("prefers-contrast", "no-preference") | ("forced-colors", "none") | ("scripting", "enabled") | ("color-gamut", "srgb") => true,
        ("display-mode", "browser") | ("update", "fast") => !visitor.is_paper,
        _ => return None,
    })
}

/// A number of the visitor's: lengths in CSS pixels.
fn number(name: &str, visitor: Visitor) -> Option<f64> {
    Some(match name {
        "width" | "device-width" => visitor.width,
        "height" | "device-height" => visitor.height,
        "aspect-ratio" | "device-aspect-ratio" => visitor.width / visitor.height,
        "resolution" | "device-pixel-ratio" => visitor.density,
        "color" => 8.0,
        "monochrome" | "grid" | "color-index" => 0.0,
        "transform-3d" => 1.0,
        _ => return None,
    })
}

/// `400px <= width < 700px`, `width >= 400px`, `400px < width`.
fn range(words: &[Token<'_>], visitor: Visitor) -> Truth {
    let at = words.iter().position(|word| matches!(word, Token::Ident(_)))?;
    let Token::Ident(name) = &words[at] else { return None };
    let mine = number(&name.to_ascii_lowercase(), visitor)?;
    let before = &words[..at];
    let after = &words[at + 1..];
    let mut holds = Some(true);
    if !before.is_empty() {
        let (value, side, is_equal) = match before {
            [value @ .., Token::Delim(side), Token::Delim('=')] => (value, *side, true),
            [value @ .., Token::Delim(side)] => (value, *side, *side == '='),
            _ => return None,
        };
        let side = match side {
            '<' => '>',
            '>' => '<',
            side => side,
        };
        holds = and(holds, compare(mine, side, is_equal, length(value)?));
    }
    let (side, is_equal, value) = match after {
        [] => return holds,
        [Token::Delim(side), Token::Delim('='), value @ ..] => (*side, true, value),
        [Token::Delim(side), value @ ..] => (*side, *side == '=', value),
        _ => return None,
    };
    and(holds, compare(mine, side, is_equal, length(value)?))
}

fn compare(mine: f64, side: char, is_equal: bool, value: f64) -> Truth {
    let equal = (mine - value).abs() < 0.001;
    match side {
        '<' => Some((mine < value && !equal) || (is_equal && equal)),
        '>' => Some((mine > value && !equal) || (is_equal && equal)),
        '=' => Some(equal),
        _ => None,
    }
}

/// A length in pixels, a resolution in dots a pixel, a ratio or a plain number.
fn length(value: &[Token<'_>]) -> Option<f64> {
    match value {
        [Token::Number { value, .. }] => Some(f64::from(*value)),
        [Token::Number { value: a, .. }, Token::Delim('/'), Token::Number { value: b, .. }] => Some(f64::from(*a) / f64::from(*b)),
        [Token::Dimension { value, unit, .. }] => {
            let unit = match unit.to_ascii_lowercase().as_str() {
                "px" | "dppx" | "x" => 1.0,
                "em" | "rem" | "pc" => 16.0,
                "in" => 96.0,
                "cm" => 96.0 / 2.54,
                "mm" => 9.6 / 2.54,
                "pt" => 96.0 / 72.0,
                "dpi" => 1.0 / 96.0,
                "dpcm" => 2.54 / 96.0,
                _ => return None,
            };
            Some(f64::from(*value) * unit)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Holds;
    use super::media;

    #[test]
    fn queries_hold_for_those_who_have_such_a_screen() {
        let table: [(&str, Holds); 37] = [
            ("", Holds::Always),
            ("all", Holds::Always),
            ("screen", Holds::Always),
            ("print, screen", Holds::Always),
            ("only screen and (color)", Holds::Always),
            ("(min-width: 1px)", Holds::Always),
            ("not print", Holds::Always),
            ("not (monochrome)", Holds::Always),
            ("(width > 0) or (color)", Holds::Always),
            ("(min-width: 60em)", Holds::Here),
            ("screen and (min-width: 1000px) and (orientation: landscape)", Holds::Here),
            ("(400px <= width < 1500px)", Holds::Here),
            ("(1000px < width)", Holds::Here),
            ("not (max-width: 600px)", Holds::Here),
            ("(hover: hover) and (pointer: fine)", Holds::Here),
            ("(prefers-color-scheme: light)", Holds::Here),
            ("(prefers-reduced-motion: no-preference)", Holds::Here),
            ("(max-resolution: 1dppx)", Holds::Here),
            ("print", Holds::Elsewhere),
            ("Print and (color)", Holds::Elsewhere),
            ("only print", Holds::Elsewhere),
            ("print,speech", Holds::Elsewhere),
            ("not screen", Holds::Elsewhere),
            ("(max-width: 9em)", Holds::Elsewhere),
            ("(max-width: 9em) and (min-width: 10em)", Holds::Never),
            ("(max-width: 600px)", Holds::Elsewhere),
            ("(width <= 600px)", Holds::Elsewhere),
            ("(prefers-color-scheme: dark)", Holds::Elsewhere),
            ("(-webkit-min-device-pixel-ratio: 1.5)", Holds::Elsewhere),
            ("(min-aspect-ratio: 100/1)", Holds::Never),
            ("(something: new)", Holds::Elsewhere),
            ("not (something: new)", Holds::Elsewhere),
            ("not all", Holds::Never),
            ("speech", Holds::Never),
            ("tty and (color)", Holds::Never),
            ("not screen and (color)", Holds::Elsewhere),
            ("(monochrome)", Holds::Never),
        ];
        for (queries, wanted) in table {
            assert_eq!(media(queries), wanted, "{queries}");
        }
        for odd in ["(", "((((", "not", "and", "(width >", "screen and", ",,,", &"(".repeat(500), "not not (color)"] {
            let _ = media(odd);
        }
    }
}
