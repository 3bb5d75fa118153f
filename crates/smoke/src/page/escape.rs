//! Escapes in the strings of scripts.

/// Adds what the escape behind a backslash stands for, and says how many characters it has.
pub(super) fn escape(after: &str, text: &mut String) -> Option<usize> {
    let first = after.chars().next()?;
    let hex = |digits: &str| u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
    match first {
        'x' => text.push(hex(after.get(1..3)?)?),
        'u' if after.starts_with("u{") => {
            let end = after.find('}')?;
            text.push(hex(after.get(2..end)?)?);
            return Some(end + 1);
        }
        'u' => text.push(hex(after.get(1..5)?)?),
        'n' => text.push('\n'),
        't' => text.push('\t'),
        'r' => text.push('\r'),
        '\n' => {}
        // Numbers of old times are refused in modules.
        '1'..='9' => return None,
        other => text.push(other),
    }
    Some(match first {
        'x' => 3,
        'u' => 5,
        _ => 1,
    })
}
