//! Small ways of reading tokens that every part of a sheet needs.

use cssparser::Delimiter;
use cssparser::ParseError;
use cssparser::Parser;
use cssparser::Token;

/// The prelude of an at-rule as text, and whether a block follows, whose opening is consumed.
pub(super) fn prelude<'i>(parser: &mut Parser<'i>) -> (&'i str, bool) {
    let start = parser.position();
    let _: Result<(), ParseError<()>> = parser.parse_until_before(Delimiter::Semicolon | Delimiter::CurlyBracketBlock, |parser| {
        drain(parser);
        Ok(())
    });
    let text = parser.slice_from(start);
    (text, matches!(parser.next(), Ok(Token::CurlyBracketBlock)))
}

/// Reads what is left.
pub(super) fn drain(parser: &mut Parser<'_>) {
    while parser.next().is_ok() {}
}
