//! Words within a limit, escaped as a service wants it.

use crate::notify::Message;
use crate::notify::Piece;

/// How many bytes may still be written. Limits that services count in characters are kept as well, since no character is less than
/// a byte.
#[derive(Debug)]
pub(super) struct Fit {
    left: usize,
}

/// Behind what was cut off.
const CUT: &str = "…";

impl Fit {
    pub(super) fn new(most_bytes: usize) -> Self {
        Self { left: most_bytes }
    }

    /// As much of `words` as fits, on one line, each character written by `escape`. Nothing is cut within an escape.
    pub(super) fn take(&mut self, words: &str, escape: impl Fn(char, &mut String)) -> String {
        let mut out = String::new();
        for c in text::without_controls(words).trim().chars() {
            let whole = out.len();
            escape(c, &mut out);
            if out.len() + CUT.len() > self.left {
                out.truncate(whole);
                if self.left >= CUT.len() {
                    out.push_str(CUT);
                }
                self.left = 0;
                return out;
            }
        }
        self.left -= out.len();
        out
    }

    /// Makes room for markup of `bytes`; whether there is any.
    pub(super) fn has_room(&mut self, bytes: usize) -> bool {
        let has_room = self.left > bytes + CUT.len();
        self.left = self.left.saturating_sub(bytes);
        has_room
    }
}

/// As it is.
pub(super) fn plain(c: char, out: &mut String) {
    out.push(c);
}

/// For HTML, in text and in attributes.
pub(super) fn html(c: char, out: &mut String) {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '"' => out.push_str("&quot;"),
        '\'' => out.push_str("&#39;"),
        c => out.push(c),
    }
}

/// `words` as one line of at most so many bytes, whose end shows where something was cut off.
#[must_use]
pub fn line(words: &str, most_bytes: usize) -> String {
    Fit::new(most_bytes).take(words, plain)
}

/// What a message says, without its title, as plain text of at most so many bytes: a line for each piece, commands set off.
pub(super) fn lines(message: &Message, most_bytes: usize) -> String {
    let mut fit = Fit::new(most_bytes);
    let mut lines = String::new();
    for piece in &message.pieces {
        if !fit.has_room(8) {
            break;
        }
        if !lines.is_empty() {
            lines.push('\n');
        }
        if let Piece::Code(_) = piece {
            lines.push_str("    ");
        }
        lines.push_str(&fit.take(piece.words(), plain));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::Fit;
    use super::html;
    use super::line;

    #[test]
    fn nothing_is_longer_than_it_may_be_or_cut_within_an_escape() {
        assert_eq!(line("abc", 6), "abc");
        assert_eq!(line("abcdef", 6), "abc…");
        assert_eq!(line("ääää", 6), "ä…");
        assert_eq!(line("a\r\nb\u{202e}c ", 20), "a  b c");
        assert_eq!(line("abc", 2), "");
        for most in 0..40 {
            let mut fit = Fit::new(most);
            let cut = fit.take("<b>&\"'</b>", html);
            assert!(cut.len() <= most, "{cut}");
            let whole = cut.trim_end_matches('…');
            assert!(whole.is_empty() || !whole.contains(['<', '>']) && whole.ends_with([';', 'b', '/']), "{cut}");
        }
    }
}
