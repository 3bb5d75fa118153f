//! Where an order says that it comes from: commit, ref and workflow run. They stand in records, in the environment of hooks and in
//! links, so they are what they are called before they get there.

use text::misleads;

use crate::model::dataset::CommitName;
use crate::model::word::WordError;

/// The longest ref and address that are taken, bytes.
const LONGEST: usize = 2000;

/// `given` as the name of a commit.
///
/// # Errors
/// When it is not 4 to 64 hex digits.
pub fn commit_text(given: &str) -> Result<String, WordError> {
    CommitName::parse(given).map(|_| given.to_owned())
}

/// `given` as a git ref, `refs/heads/main` or short.
///
/// # Errors
/// When [git-check-ref-format](https://git-scm.com/docs/git-check-ref-format) would not have it, it begins with `-`, or it would
/// mislead a reader.
pub fn ref_text(given: &str) -> Result<String, WordError> {
    if is_ref(given) { Ok(given.to_owned()) } else { Err(WordError::new("The ref", given, "it is a git ref like refs/heads/main")) }
}

/// `given` as the address of a workflow run.
///
/// # Errors
/// When it is no http or https address, holds a credential, or would mislead a reader.
pub fn run_url_text(given: &str) -> Result<String, WordError> {
    let error = || WordError::new("The run_url", given, "it begins with https:// or http:// and contains no credential");
    if given.len() > LONGEST || given.contains(|c: char| misleads(c) || c.is_whitespace()) {
        return Err(error());
    }
    let url = url::Url::parse(given).map_err(|_| error())?;
    let is_plain = url.username().is_empty() && url.password().is_none();
    if matches!(url.scheme(), "http" | "https") && is_plain && url.has_host() { Ok(given.to_owned()) } else { Err(error()) }
}

/// Whether `text` may be the name of a user or an App at a forge (`ada`, `dependabot[bot]`).
#[must_use]
pub fn is_actor(text: &str) -> bool {
    (1..=100).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.[]".contains(&b))
}

/// Whether `text` may be the name of a ref.
#[must_use]
pub fn is_ref(text: &str) -> bool {
    let part_ok = |part: &str| !part.is_empty() && !part.starts_with('.') && !has_end(part, ".lock");
    let wrong = text.len() > LONGEST
        || text.starts_with('-')
        || text.ends_with('.')
        || text.contains("..")
        || text.contains("@{")
        || text == "@"
        || text.contains(|c: char| misleads(c) || " ~^:?*[\\".contains(c));
    !wrong && text.split('/').all(part_ok)
}

/// Not as git has it, which minds the case: a file system need not.
fn has_end(part: &str, end: &str) -> bool {
    part.len() >= end.len() && part.is_char_boundary(part.len() - end.len()) && part[part.len() - end.len()..].eq_ignore_ascii_case(end)
}

#[cfg(test)]
mod tests {
    use super::commit_text;
    use super::ref_text;
    use super::run_url_text;

    #[test]
    fn only_a_commit_and_a_ref_get_through() {
        for good in ["1f0c", "0123456789abcdef0123456789abcdef01234567", &"A".repeat(64)] {
            assert!(commit_text(good).is_ok(), "{good}");
        }
        for bad in ["", "abc", "HEAD", "1f0c~1", "$(id)", "1f0c\n", &"a".repeat(65)] {
            assert!(commit_text(bad).is_err(), "{bad}");
        }
        for good in ["main", "refs/heads/main", "refs/pull/7/merge", "refs/tags/v1.0", "feature/ä", "a@b", "refs/heads/a{b", "x.y"] {
            assert!(ref_text(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            ".a",
            "a/.b",
            "a.",
            "a.lock",
            "a.LOCK/b",
            "a..b",
            "a b",
            "a~",
            "a^",
            "a:b",
            "a?",
            "a*",
            "a[",
            "a\\b",
            "a@{b",
            "@",
            "-a",
            "--upload-pack=id",
            "a\tb",
            "a\0",
            "a\u{7f}",
            "a\u{202e}b",
            "a\u{200f}",
            "a\u{2066}",
            "a\u{61c}",
            "a\n",
        ] {
            assert!(ref_text(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_the_address_of_a_run_gets_through() {
        for good in ["https://git.example.com/acme/web/actions/runs/7", "http://127.0.0.1:3000/x?y=1#z"] {
            assert!(run_url_text(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "x",
            "//example.com",
            "javascript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "ftp://x",
            "https://",
            "https://u:p@x/",
            "https://u@x/",
            "https://x/\u{202e}",
            "java\nscript:x",
            "https://x/a b",
            " https://x/",
            "https://x/\n",
        ] {
            assert!(run_url_text(bad).is_err(), "{bad:?}");
        }
    }
}
