//! Text from outside becomes one harmless line.

use std::fmt::Write as _;

/// The longest line that is kept, in characters.
const LONGEST: usize = 4000;

/// `text` as one line that cannot forge another: terminal sequences are dropped, other control characters and those that
/// turn the direction of writing are escaped, and what is too long is cut.
#[must_use]
pub fn clean(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut count = 0;
    while let Some(c) = chars.next() {
        if count == LONGEST {
            kept.push('…');
            break;
        }
        count += 1;
        match c {
            '\u{1b}' if chars.peek() == Some(&'[') => {
                chars.next();
                while chars.next_if(|c| !('@'..='~').contains(c)).is_some() {}
                chars.next();
            }
            '\t' => kept.push('\t'),
            c if misleads(c) => {
                let _ = write!(kept, "{}", c.escape_unicode());
            }
            c => kept.push(c),
        }
    }
    kept
}

/// Whether `c` can make a terminal or a reader see something else than is written.
#[must_use]
pub fn misleads(c: char) -> bool {
    c.is_control() || turns_direction(c)
}

/// `text` with every character that [`misleads`] replaced by a space: for words within a sentence.
#[must_use]
pub fn without_controls(text: &str) -> String {
    text.chars().map(|c| if misleads(c) { ' ' } else { c }).collect()
}

fn turns_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn no_field_can_forge_a_line() {
        assert_eq!(clean("a\r\nb"), "a\\u{d}\\u{a}b");
        assert_eq!(clean("\u{1b}[31mred\u{1b}[0m \u{1b}]0;x"), "red \\u{1b}]0;x");
        assert_eq!(clean("x\u{202e}y\u{2028}z\0"), "x\\u{202e}y\\u{2028}z\\u{0}");
        assert_eq!(clean("ä\tö"), "ä\tö");
        assert_eq!(clean(&"x".repeat(5000)).chars().count(), 4001);
        assert_eq!(clean("\u{1b}["), "");
    }
}
