//! Where `<meta http-equiv=refresh>` leads, and where in its text an asset stands.

use crate::page::Asset;

/// A tag may span so many lines for its attributes' own lines to be found.
const LONGEST_TAG_LINES: usize = 60;
/// Longer lines are no place for people to look, and searching them for every asset takes its time.
const LONGEST_LINE: usize = 4096;

/// The seconds and the address of a refresh (HTML Standard, "shared declarative refresh steps"); none: it stays where it is.
pub(super) fn refresh(content: &str) -> Option<(u64, &str)> {
    let content = content.trim_start();
    let digits = content.find(|c: char| !c.is_ascii_digit()).unwrap_or(content.len());
    let (seconds, rest) = content.split_at(digits);
    let seconds = if seconds.is_empty() && rest.starts_with('.') { 0 } else { seconds.parse().ok()? };
    let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let rest = rest.strip_prefix(|c: char| matches!(c, ';' | ',') || c.is_ascii_whitespace())?;
    let rest = rest.trim_start_matches(|c: char| matches!(c, ';' | ',') || c.is_ascii_whitespace());
    let named = rest.get(..3).filter(|word| word.eq_ignore_ascii_case("url")).and_then(|_| rest[3..].trim_start().strip_prefix('='));
    let url = named.unwrap_or(rest).trim_start();
    let url = match url.chars().next() {
        Some(quote @ ('"' | '\'')) => url[1..].split(quote).next().unwrap_or_default(),
        _ => url,
    };
    (!url.is_empty()).then_some((seconds, url))
}

/// Line and column. The tree builder knows where a tag ends; the attribute may stand some lines above, but not above the
/// tag's name.
pub(super) fn own_place(lines: &[&str], asset: &Asset) -> (u32, u32) {
    let end = asset.line as usize;
    let name = asset.element.split(['[', ' ']).next().unwrap_or_default();
    for index in (end.saturating_sub(LONGEST_TAG_LINES)..end).rev() {
        match lines.get(index) {
            Some(line) if line.len() > LONGEST_LINE => break,
            Some(line) if let Some(at) = line.find(&asset.written) => {
                let column = line.get(..at).map_or(0, |before| before.chars().count() as u32 + 1);
                return (index as u32 + 1, column);
            }
            Some(line) if opens(line, name) => break,
            _ => {}
        }
    }
    (asset.line, 0)
}

fn opens(line: &str, name: &str) -> bool {
    line.split('<').skip(1).any(|after| after.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name)))
}
