//! Bytes to text as a browser does it: byte order mark, `Content-Type`, `<meta>`, and else UTF-8 where it fits.

use std::borrow::Cow;

use encoding_rs::Encoding;
use encoding_rs::UTF_8;
use encoding_rs::UTF_16BE;
use encoding_rs::UTF_16LE;
use encoding_rs::WINDOWS_1252;
use encoding_rs::X_USER_DEFINED;

/// Browsers look for `<meta charset>` in so many bytes.
const PRESCAN: usize = 1024;

/// Decodes `bytes` that came with this `Content-Type`.
pub(crate) fn decode<'b>(bytes: &'b [u8], content_type: Option<&str>) -> Cow<'b, str> {
    encoding_of(bytes, content_type).decode(bytes).0
}

/// The encoding of `bytes` that came with this `Content-Type`.
pub(crate) fn encoding_of(bytes: &[u8], content_type: Option<&str>) -> &'static Encoding {
    match Encoding::for_bom(bytes) {
        Some((encoding, _)) => encoding,
        None if is_xml(content_type) => declared(content_type).or_else(|| xml_declared(bytes)).unwrap_or(UTF_8),
        None => declared(content_type).or_else(|| prescan(bytes)).unwrap_or_else(|| guessed(bytes)),
    }
}

/// Decodes a style sheet that came with this `Content-Type`: its mark, the header, `@charset`, and else the encoding of what
/// links it (CSS Syntax, "the input byte stream").
pub(crate) fn decode_sheet<'b>(bytes: &'b [u8], content_type: Option<&str>, linked_by: &'static Encoding) -> Cow<'b, str> {
    let encoding = declared(content_type).or_else(|| at_charset(bytes)).unwrap_or(linked_by);
    encoding.decode(bytes).0
}

/// `@charset "…";` counts as the very first bytes alone. Who says UTF-16 there means UTF-8, since the rule could not be read else.
fn at_charset(bytes: &[u8]) -> Option<&'static Encoding> {
    let rest = bytes.strip_prefix(b"@charset \"")?;
    let label = rest.split(|byte| *byte == b'"').next().filter(|label| rest[label.len()..].starts_with(b"\";"))?;
    let encoding = Encoding::for_label(label)?;
    Some(if encoding == UTF_16BE || encoding == UTF_16LE { UTF_8 } else { encoding })
}

fn declared(content_type: Option<&str>) -> Option<&'static Encoding> {
    charset_of(content_type?.as_bytes())
}

fn is_xml(content_type: Option<&str>) -> bool {
    content_type.and_then(|kind| kind.split(';').next()).is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/xhtml+xml"))
}

/// The encoding that `<?xml … encoding="…"?>` names.
fn xml_declared(bytes: &[u8]) -> Option<&'static Encoding> {
    let start = &bytes[..bytes.len().min(PRESCAN)];
    let declaration = start.strip_prefix(b"<?xml")?;
    let declaration = &declaration[..find(declaration, b"?>")?];
    let after = declaration[find(declaration, b"encoding")? + 8..].trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    let quote = after.first().filter(|b| matches!(b, b'"' | b'\''))?;
    Encoding::for_label(after[1..].split(|b| b == quote).next()?)
}

/// The encoding behind `charset=` in a content type.
fn charset_of(content_type: &[u8]) -> Option<&'static Encoding> {
    let lower = content_type.to_ascii_lowercase();
    let at = find(&lower, b"charset")?;
    let after = lower[at + 7..].trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    let label = match after.first() {
        Some(quote @ (b'"' | b'\'')) => after[1..].split(|b| b == quote).next()?,
        _ => after.split(|b| b.is_ascii_whitespace() || *b == b';').next()?,
    };
    Encoding::for_label(label)
}

fn guessed(bytes: &[u8]) -> &'static Encoding {
    // A body that was cut may end inside a character; that is no reason to think it is not UTF-8.
    match std::str::from_utf8(bytes) {
        Ok(_) => UTF_8,
        Err(error) if error.error_len().is_none() => UTF_8,
        Err(_) => WINDOWS_1252,
    }
}

/// Looks for `<meta charset>` or `<meta http-equiv=content-type>` outside comments.
fn prescan(bytes: &[u8]) -> Option<&'static Encoding> {
    let mut rest = &bytes[..bytes.len().min(PRESCAN)];
    while let Some(at) = rest.iter().position(|b| *b == b'<') {
        rest = &rest[at..];
        if let Some(comment) = rest.strip_prefix(b"<!--") {
            rest = &comment[find(comment, b"-->")?..];
        } else if is_meta(rest) {
            let (attributes, after) = attributes(&rest[5..]);
            if let Some(encoding) = meta_encoding(&attributes) {
                return Some(encoding);
            }
            rest = after;
        } else {
            rest = &rest[1..];
        }
    }
    None
}

fn is_meta(tag: &[u8]) -> bool {
    tag.len() > 5 && tag[1..5].eq_ignore_ascii_case(b"meta") && (tag[5].is_ascii_whitespace() || tag[5] == b'/')
}

fn meta_encoding(attributes: &[(Vec<u8>, Vec<u8>)]) -> Option<&'static Encoding> {
    let value = |name: &[u8]| attributes.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_slice());
    let encoding = match value(b"charset") {
        Some(label) => Encoding::for_label(label),
        None if value(b"http-equiv").is_some_and(|kind| kind.eq_ignore_ascii_case(b"content-type")) => {
            value(b"content").and_then(charset_of)
        }
        None => None,
    }?;
    // A page in which this could be read is not UTF-16.
    if encoding == UTF_16LE || encoding == UTF_16BE {
        return Some(UTF_8);
    }
    Some(if encoding == X_USER_DEFINED { WINDOWS_1252 } else { encoding })
}

type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

/// Attributes up to the tag's end, names in lower case, and what follows.
fn attributes(mut rest: &[u8]) -> (Attributes, &[u8]) {
    let mut found = Attributes::new();
    loop {
        rest = skip(rest, |b| b.is_ascii_whitespace() || b == b'/');
        match rest.first() {
            None | Some(b'>') => return (found, rest),
            Some(_) => {}
        }
        let (name, after) = split(rest, |b| b.is_ascii_whitespace() || matches!(b, b'=' | b'>' | b'/'));
        // A name that begins with = would not move on.
        let (name, after) = if name.is_empty() { (&rest[..1], &rest[1..]) } else { (name, after) };
        let spaced = skip(after, |b| b.is_ascii_whitespace());
        let (value, after) = match spaced.strip_prefix(b"=") {
            Some(value) => attribute_value(skip(value, |b| b.is_ascii_whitespace())),
            None => (&[][..], after),
        };
        found.push((name.to_ascii_lowercase(), value.to_vec()));
        rest = after;
    }
}

fn attribute_value(rest: &[u8]) -> (&[u8], &[u8]) {
    match rest.first() {
        Some(quote @ (b'"' | b'\'')) => {
            let (value, after) = split(&rest[1..], |b| b == *quote);
            (value, after.get(1..).unwrap_or_default())
        }
        _ => split(rest, |b| b.is_ascii_whitespace() || b == b'>'),
    }
}

fn skip(bytes: &[u8], what: impl Fn(u8) -> bool) -> &[u8] {
    let from = bytes.iter().position(|b| !what(*b)).unwrap_or(bytes.len());
    &bytes[from..]
}

fn split(bytes: &[u8], ends: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    bytes.split_at(bytes.iter().position(|b| ends(*b)).unwrap_or(bytes.len()))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn the_encoding_is_found_where_browsers_look() {
        let table: [(&[u8], Option<&str>, &str); 15] = [
            (b"\xEF\xBB\xBFh\xC3\xA9", Some("text/html; charset=iso-8859-1"), "hé"),
            (b"\xFF\xFEh\x00\xE9\x00", None, "hé"),
            (b"\xFE\xFF\x00h\x00\xE9", Some("text/html"), "hé"),
            (b"h\xE9", Some("text/html; Charset=\"ISO-8859-1\""), "hé"),
            (b"h\x00\xE9\x00", Some("text/html;charset=utf-16le"), "hé"),
            (b"<meta charset=latin1>\xE9", None, "<meta charset=latin1>é"),
            (
                b"<!--<meta charset=koi8-r>--><META x=1 Charset='latin1'/>\xE9",
                Some("text/html"),
                "<!--<meta charset=koi8-r>--><META x=1 Charset='latin1'/>é",
            ),
            (
                b"<meta http-equiv=Content-Type content='text/html; charset=latin1'>\xE9",
                None,
                "<meta http-equiv=Content-Type content='text/html; charset=latin1'>é",
            ),
            (b"<meta content='text/html; charset=latin1'>\xC3\xA9", None, "<meta content='text/html; charset=latin1'>é"),
            (b"<meta charset=utf-16>\xC3\xA9", None, "<meta charset=utf-16>é"),
            (b"<?xml version='1.0' encoding = 'latin1'?>\xE9", Some("application/xhtml+xml"), "<?xml version='1.0' encoding = 'latin1'?>é"),
            (b"<meta charset=latin1>\xC3\xA9", Some("Application/XHTML+xml"), "<meta charset=latin1>é"),
            (b"<?xml encoding='latin1'?>\xC3\xA9", Some("text/html"), "<?xml encoding='latin1'?>é"),
            (b"\xE9x", None, "éx"),
            (b"\xC3\xA9\xC3", None, "é\u{fffd}"),
        ];
        for (bytes, content_type, text) in table {
            assert_eq!(decode(bytes, content_type), text, "{bytes:?}");
        }
    }
}
