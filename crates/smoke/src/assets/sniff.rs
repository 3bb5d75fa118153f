//! What bytes are, whatever their type says.

/// Whether they begin as an HTML document does: what an app answers for a file that is missing.
pub(crate) fn is_html_document(bytes: &[u8]) -> bool {
    let mut start = text_start(bytes);
    while let Some(comment) = start.strip_prefix(b"<!--") {
        let Some(end) = comment.windows(3).position(|window| window == b"-->") else { return false };
        start = comment[end + 3..].trim_ascii_start();
    }
    [&b"<!doctype html"[..], b"<html", b"<head", b"<body"].iter().any(|word| begins(start, word))
}

/// Whether they begin as SVG does, with or without its XML declaration, comments and document type.
pub(crate) fn is_svg(bytes: &[u8]) -> bool {
    let mut rest = text_start(bytes);
    loop {
        rest = rest.trim_ascii_start();
        let end: &[u8] = match rest {
            _ if begins(rest, b"<svg") => return true,
            _ if rest.starts_with(b"<?") => b"?>",
            _ if rest.starts_with(b"<!--") => b"-->",
            _ if begins(rest, b"<!doctype svg") => b">",
            _ => return false,
        };
        let Some(at) = rest.windows(end.len()).position(|window| window == end) else { return false };
        rest = &rest[at + end.len()..];
    }
}

/// Whether they begin as a font that browsers read: WOFF, WOFF 2, TrueType, OpenType or a collection of these.
pub(crate) fn is_font(bytes: &[u8]) -> bool {
    [&b"wOFF"[..], b"wOF2", b"\0\x01\0\0", b"OTTO", b"true", b"ttcf"].iter().any(|magic| bytes.starts_with(magic))
}

/// Whether they begin as `WebVTT`, the one format of subtitles that browsers read.
pub(crate) fn is_web_vtt(bytes: &[u8]) -> bool {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).starts_with(b"WEBVTT")
}

fn text_start(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start()
}

fn begins(bytes: &[u8], word: &[u8]) -> bool {
    bytes.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::is_font;
    use super::is_html_document;
    use super::is_svg;
    use super::is_web_vtt;

    #[test]
    fn bytes_tell_what_they_are() {
        assert!(is_html_document(b"\xef\xbb\xbf \n<!DOCTYPE html><p>") && is_html_document(b"<HTML lang=de>"));
        assert!(is_html_document(b"<!-- build 7 -->\n<!doctype html>") && !is_html_document(b"<!--\nvar a = 1;\n//-->\n"));
        assert!(!is_html_document(b"<!-- a comment --><svg/>") && !is_html_document(b"") && !is_html_document(b"<!doctype"));
        assert!(is_svg(b"<svg xmlns='x'/>") && is_svg(b"<?xml version='1.0'?>\n<!-- a -->\n<!DOCTYPE svg PUBLIC 'x'>\n<svg>"));
        assert!(!is_svg(b"<?xml version='1.0'?><rss>") && !is_svg(b"<!-- never ends <svg") && !is_svg(b"\x89PNG"));
        assert!(is_font(b"wOF2...") && is_font(b"\0\x01\0\0") && !is_font(b"<!doctype html>") && !is_font(b""));
        assert!(is_web_vtt(b"\xef\xbb\xbfWEBVTT\n") && !is_web_vtt(b"1\n00:00"));
    }
}
