//! `@font-face`: the files that it names, and for which texts a browser asks for them.

use std::sync::Arc;

use cssparser::Delimiter;
use cssparser::ParseError;
use cssparser::Parser;
use cssparser::Token;

use crate::page::property;
use crate::page::tokens::drain;

/// What a font file is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Face {
    /// The family in lower case.
    pub family: Arc<str>,
    /// Whether it has letters of plain English: a browser asks for other parts of a family only where their letters stand.
    pub is_common: bool,
}

/// The files of one `@font-face` whose format browsers know, with their lines from 0, and what they are for.
#[derive(Debug, Default)]
pub(super) struct FontFace {
    /// Addresses and lines.
    pub(super) sources: Vec<(String, u32)>,
    /// The family in lower case.
    pub(super) family: String,
    /// What `unicode-range` says; empty: everything.
    range: String,
}

impl FontFace {
    /// Reads the inside of the rule.
    pub(super) fn read(parser: &mut Parser<'_>) -> Self {
        let mut face = Self::default();
        loop {
            match parser.next().cloned() {
                Err(_) => return face,
                Ok(Token::Ident(name)) if parser.try_parse(Parser::expect_colon).is_ok() => {
                    let _: Result<(), ParseError<()>> = parser.parse_until_after(Delimiter::Semicolon, |parser| {
                        face.descriptor(&name.to_ascii_lowercase(), parser);
                        Ok(())
                    });
                }
                Ok(_) => {}
            }
        }
    }

    /// What its files are for.
    pub(super) fn face(&self) -> Face {
        Face { family: Arc::from(self.family.as_str()), is_common: self.range.is_empty() || has_plain_letters(&self.range) }
    }

    fn descriptor(&mut self, name: &str, parser: &mut Parser<'_>) {
        match name {
            "src" => {
                let sources = sources(parser);
                if !sources.is_empty() {
                    self.sources = sources;
                }
            }
            "font-family" => text(parser).trim_matches(['"', '\'', ' ']).clone_into(&mut self.family),
            "unicode-range" => self.range = text(parser),
            _ => {}
        }
    }
}

fn sources(parser: &mut Parser<'_>) -> Vec<(String, u32)> {
    let source = |parser: &mut Parser<'_>| -> Result<Option<(String, u32)>, ParseError<()>> {
        parser.skip_whitespace();
        let line = parser.current_source_location().line;
        let url = parser.try_parse(Parser::expect_url).ok().map(|url| url.to_string());
        let mut known = true;
        while let Ok(token) = parser.next().cloned() {
            if let Token::Function(name) = token
                && name.eq_ignore_ascii_case("format")
            {
                let _: Result<(), ParseError<()>> = parser.parse_nested_block(|parser| {
                    known = parser.expect_ident_or_string().is_ok_and(|format| property::is_known_font(format));
                    drain(parser);
                    Ok(())
                });
            }
        }
        Ok(url.filter(|_| known).map(|url| (url, line)))
    };
    parser.parse_comma_separated(source).unwrap_or_default().into_iter().flatten().collect()
}

/// What is left, as text in lower case.
fn text(parser: &mut Parser<'_>) -> String {
    let start = parser.position();
    drain(parser);
    parser.slice_from(start).trim().to_ascii_lowercase()
}

/// Whether one of the ranges (`u+0-7f, u+00??`) has the letter `e`.
fn has_plain_letters(ranges: &str) -> bool {
    const LETTER: u32 = 'e' as u32;
    let number = |text: &str, wild: &str| u32::from_str_radix(&text.trim().replace('?', wild), 16).ok();
    ranges.split(',').filter_map(|range| range.trim().strip_prefix("u+")).any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        number(first, "0").is_some_and(|first| first <= LETTER) && number(last, "f").is_some_and(|last| last >= LETTER)
    })
}

#[cfg(test)]
mod tests {
    use cssparser::Parser;

    use super::FontFace;

    #[test]
    fn a_face_knows_its_files_and_letters() {
        let table = [
            (
                "font-family:\"My Font\";src:url(a.eot);src:url(a.woff2) format('woff2'),url(a.x) format(nonsense)",
                "my font",
                true,
                "a.woff2",
            ),
            ("src:url(a);font-family:Plain;unicode-range:U+0000-00FF,U+0131", "plain", true, "a"),
            ("src:url(a);font-family:Plain;unicode-range:U+0400-045F", "plain", false, "a"),
            ("src:url(a);font-family:Plain;unicode-range:u+00??", "plain", true, "a"),
            ("src:url(a);font-family:Plain;unicode-range:U+65", "plain", true, "a"),
        ];
        for (css, family, is_common, source) in table {
            let face = FontFace::read(&mut Parser::new(css));
            let sources: Vec<&str> = face.sources.iter().map(|(url, _)| url.as_str()).collect();
            assert_eq!((&*face.face().family, face.face().is_common, sources), (family, is_common, vec![source]), "{css}");
        }
    }
}
