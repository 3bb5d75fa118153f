//! Whether the page shows the release that was deployed.

use std::borrow::Cow;

use crate::catalogue;
use crate::client::Answer;
use crate::client::Visitor;
use crate::plan::Release;
use crate::plan::ReleaseCarrier;
use crate::plan::ReleaseProof;
use crate::plan::SmokePlan;
use crate::redirect;
use crate::redirect::excerpt;
use crate::report::Finding;

/// Shorter pieces of a commit's hex digits prove nothing.
const SHORTEST_COMMIT: usize = 7;

/// Looks where the plan says that the release is shown: in `page` or at an address of its own.
pub(super) async fn prove(visitor: &Visitor, plan: &SmokePlan, proof: &ReleaseProof, release: &Release, page: &Answer) -> Option<Finding> {
    let Some(path) = &proof.path else { return compare(proof, release, page) };
    let Ok(url) = plan.url.join(path) else {
        return Some(catalogue::SETUP.finding(format!("The path \"{}\" of the release check is not an address.", excerpt(path))));
    };
    let walk = redirect::follow(visitor, plan, &url).await;
    match (walk.finding, walk.answer) {
        (Some(finding), _) => Some(finding),
        (None, Some(answer)) if !(200..300).contains(&answer.status) => Some(catalogue::RELEASE.finding(format!(
            "{} answers with status {}, so it does not show the release.",
            answer.url.path(),
            answer.status
        ))),
        (None, answer) => answer.and_then(|answer| compare(proof, release, &answer)),
    }
}

fn compare(proof: &ReleaseProof, release: &Release, answer: &Answer) -> Option<Finding> {
    let wanted = wanted(release);
    let seen = match carried(proof, answer) {
        Ok(seen) => seen,
        Err(why) => return Some(catalogue::RELEASE.finding(format!("{why} It should show {wanted}."))),
    };
    if shows(&seen, release) {
        return None;
    }
    let message = match &proof.carried_by {
        ReleaseCarrier::Text => format!("The text of {} does not show {wanted}.", answer.url.path()),
        ReleaseCarrier::Header(name) => format!("The header {name} says \"{}\"; it should show {wanted}.", excerpt(&seen)),
        ReleaseCarrier::Json(pointer) => format!("{pointer} says \"{}\"; it should show {wanted}.", excerpt(&seen)),
    };
    Some(catalogue::RELEASE.finding(message))
}

fn wanted(release: &Release) -> String {
    match &release.commit {
        Some(commit) => format!("the tag {} or the commit {}", release.tag, excerpt(commit)),
        None => format!("the tag {}", release.tag),
    }
}

fn carried<'a>(proof: &ReleaseProof, answer: &'a Answer) -> Result<Cow<'a, str>, String> {
    let text = || answer.text().ok_or_else(|| "The response could not be decompressed.".to_owned());
    match &proof.carried_by {
        ReleaseCarrier::Header(name) => {
            answer.header(name.as_str()).map(Cow::Owned).ok_or_else(|| format!("The header {name} is missing."))
        }
        ReleaseCarrier::Text => text(),
        ReleaseCarrier::Json(pointer) => {
            let parsed: serde_json::Value =
                serde_json::from_str(&text()?).map_err(|_| format!("The response of {} is not JSON.", answer.url.path()))?;
            match parsed.pointer(pointer) {
                Some(serde_json::Value::String(text)) => Ok(Cow::Owned(text.clone())),
                Some(other) => Ok(Cow::Owned(other.to_string())),
                None => Err(format!("The JSON has no value at {pointer}.")),
            }
        }
    }
}

/// Whether `text` carries the tag or the commit of `release` as a word of its own.
fn shows(text: &str, release: &Release) -> bool {
    let tag = release.tag.as_str();
    let tag_commit = tag.strip_prefix("sha-").unwrap_or(tag);
    (!tag.is_empty() && has_word(text, tag))
        || has_commit(text, tag_commit)
        || release.commit.as_deref().is_some_and(|commit| has_commit(text, commit))
}

/// Whether `word` stands in `text` and is not a part of a longer version: `1.2.3` is in `v1.2.3.` and not in `1.2.3-rc1`.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| begins_here(&text[..at], word) && ends_here(&text[at + word.len()..]))
}

fn begins_here(before: &str, word: &str) -> bool {
    let mut back = before.chars().rev();
    match back.next() {
        None => true,
        Some('v' | 'V') if word.starts_with(|c: char| c.is_ascii_digit()) => !back.next().is_some_and(char::is_alphanumeric),
        Some('.') => !back.next().is_some_and(char::is_alphanumeric),
        Some(c) => !c.is_alphanumeric(),
    }
}

fn ends_here(after: &str) -> bool {
    let mut rest = after.chars();
    match rest.next() {
        None => true,
        Some('.' | '-' | '_') => !rest.next().is_some_and(char::is_alphanumeric),
        Some(c) => !c.is_alphanumeric(),
    }
}

/// Whether a word of `text` is this commit, either of them possibly shortened.
fn has_commit(text: &str, commit: &str) -> bool {
    let is_hex = |word: &str| word.len() >= SHORTEST_COMMIT && word.len() <= 64 && word.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_hex(commit) {
        return false;
    }
    let starts = |long: &str, short: &str| long.get(..short.len()).is_some_and(|head| head.eq_ignore_ascii_case(short));
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    // `git describe` writes g before the commit.
    words
        .flat_map(|word| [Some(word), word.strip_prefix('g')])
        .flatten()
        .any(|word| is_hex(word) && (starts(word, commit) || starts(commit, word)))
}

#[cfg(test)]
mod tests {
    use super::Release;
    use super::shows;

    #[test]
    fn a_release_is_shown_as_a_word_of_its_own() {
        let release = |tag: &str| Release { tag: tag.to_owned(), commit: Some("1f0c2ab9d3e4f5061728394a5b6c7d8e9fa0b1c2".to_owned()) };
        let table = [
            ("1.2.3", "1.2.3", true),
            ("1.2.3", "v1.2.3", true),
            ("1.2.3", "web v1.2.3.", true),
            ("1.2.3", "1.2.3+build7", true),
            ("1.2.3", "web:1.2.3@sha256:00", true),
            ("1.2.3", "1.2.30", false),
            ("1.2.3", "11.2.3", false),
            ("1.2.3", "0.1.2.3", false),
            ("1.2.3", "1.2.3-rc1", false),
            ("1.2.3", "1.2.3.4", false),
            ("1.2.3", "rev1.2.3", false),
            ("1.2.3", "commit 1f0c2ab", true),
            ("1.2.3", "1.2.2-4-g1f0c2ab", true),
            ("1.2.3", "1F0C2AB9D3", true),
            ("1.2.3", "1f0c2a", false),
            ("1.2.3", "1f0c2ab9d4", false),
            ("1.2.3", "", false),
            ("sha-1f0c2ab", "1f0c2ab9d3e4f5061728394a5b6c7d8e9fa0b1c2", true),
            ("latest", "é latesté latest", true),
            ("", "anything", false),
        ];
        for (tag, text, shown) in table {
            assert_eq!(shows(text, &release(tag)), shown, "{tag} in {text}");
        }
    }
}
