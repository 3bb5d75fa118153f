//! Reads single fields. What may vary from forge to forge and from version to version may be missing or null; what is there and is
//! decided on has the right type, or the payload is refused.

use serde_json::Map;
use serde_json::Value;

use crate::model::Commit;
use crate::model::is_ref;
use crate::webhooks::notice::PayloadError;

/// A payload.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// What stands at `path`, names with `/` between them; none: it is missing or null.
    pub(super) fn at(self, path: &str) -> Option<&'a Value> {
        let mut names = path.split('/');
        let first = self.0.get(names.next()?)?;
        let found = names.try_fold(first, |value, name| value.get(name))?;
        (!found.is_null()).then_some(found)
    }

    /// The object at `path`.
    pub(super) fn object(self, path: &str) -> Result<Option<Self>, PayloadError> {
        self.typed(path, "an object", |value| value.as_object().map(Fields))
    }

    /// The text at `path`; an empty one counts as missing.
    pub(super) fn text(self, path: &str) -> Result<Option<&'a str>, PayloadError> {
        Ok(self.typed(path, "a string", Value::as_str)?.filter(|text| !text.is_empty()))
    }

    /// The first text that is there.
    pub(super) fn first_text(self, paths: &[&str]) -> Result<Option<&'a str>, PayloadError> {
        for path in paths {
            if let Some(text) = self.text(path)? {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    /// The text at `path`, which must be there.
    pub(super) fn needed(self, path: &str) -> Result<&'a str, PayloadError> {
        self.text(path)?.ok_or_else(|| missing(path))
    }

    /// The number at `path`.
    pub(super) fn number(self, path: &str) -> Result<Option<i64>, PayloadError> {
        self.typed(path, "a whole number", Value::as_i64)
    }

    /// The flag at `path`; missing: no.
    pub(super) fn flag(self, path: &str) -> Result<bool, PayloadError> {
        Ok(self.typed(path, "true or false", Value::as_bool)?.unwrap_or(false))
    }

    /// The list at `path`.
    pub(super) fn list(self, path: &str) -> Result<Option<&'a Vec<Value>>, PayloadError> {
        self.typed(path, "a list", Value::as_array)
    }

    /// The commit at `path`, in lower case; none where a forge writes that there is none: only zeros.
    pub(super) fn commit(self, path: &str) -> Result<Option<String>, PayloadError> {
        let text = self.needed(path)?;
        let commit = Commit::parse(text).map_err(|_| wrong(path, "the whole name of a commit"))?;
        Ok((!is_nothing(commit.as_str())).then(|| commit.to_string()))
    }

    /// The git ref at `path`, in full.
    pub(super) fn git_ref(self, path: &str) -> Result<&'a str, PayloadError> {
        let text = self.needed(path)?;
        if text.starts_with("refs/") && is_ref(text) { Ok(text) } else { Err(wrong(path, "a git ref like refs/heads/main")) }
    }

    fn typed<T>(self, path: &str, wanted: &str, pick: impl Fn(&'a Value) -> Option<T>) -> Result<Option<T>, PayloadError> {
        self.at(path).map(|value| pick(value).ok_or_else(|| wrong(path, wanted))).transpose()
    }
}

/// Whether a commit's name says that there is no commit.
pub(super) fn is_nothing(commit: &str) -> bool {
    commit.bytes().all(|byte| byte == b'0')
}

/// Why a payload without `path` is none.
pub(super) fn missing(path: &str) -> PayloadError {
    PayloadError(format!("The payload has no {}.", path.replace('/', ".")))
}

fn wrong(path: &str, wanted: &str) -> PayloadError {
    PayloadError(format!("In the payload, {} must be {wanted}.", path.replace('/', ".")))
}

/// A word of the payload as part of a sentence: short, in quotes and in one line.
pub(super) fn quoted(text: &str) -> String {
    let short: String = text.chars().take(100).collect();
    let dots = if short.len() < text.len() { "…" } else { "" };
    format!("\"{}{dots}\"", text::without_controls(&short.escape_debug().to_string()))
}
