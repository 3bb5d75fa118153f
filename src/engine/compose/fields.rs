//! Reading fields out of the JSON that docker writes.

use serde_json::Value;

use crate::engine::error::EngineError;

/// What docker wrote, as JSON.
pub(super) fn json(text: &str) -> Result<Value, EngineError> {
    serde_json::from_str(text)
        .map_err(|error| EngineError::Failed { what: "parsing the output of docker".to_owned(), why: error.to_string() })
}

/// The text at `path`, or an empty one.
pub(super) fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    at(value, path).and_then(Value::as_str).unwrap_or_default()
}

/// The value at `path`.
pub(super) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key)).filter(|value| !value.is_null())
}

/// The members of the object at `path`, none where there is none.
pub(super) fn members<'a>(value: &'a Value, path: &[&str]) -> impl Iterator<Item = (&'a str, &'a Value)> {
    at(value, path).and_then(Value::as_object).into_iter().flatten().map(|(key, value)| (key.as_str(), value))
}

/// The items of the array at `path`, none where there is none.
pub(super) fn items<'a>(value: &'a Value, path: &[&str]) -> impl Iterator<Item = &'a Value> {
    at(value, path).and_then(Value::as_array).into_iter().flatten()
}
