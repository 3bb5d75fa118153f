//! Values of columns, each of which is read or named with its place.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::store::StoreError;

/// The value in `column` of a row of `table`, read by `parse`.
///
/// # Errors
/// [`StoreError::Value`] with column and row if the value is unknown.
pub(super) fn parsed<T, E: std::fmt::Display>(
    row: &AnyRow,
    table: &str,
    column: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, StoreError> {
    parse(&row.try_get::<String, _>(column)?).map_err(|error| wrong(row, table, column, &error))
}

/// [`parsed`] for a column that may be empty.
pub(super) fn parsed_if_any<T, E: std::fmt::Display>(
    row: &AnyRow,
    table: &str,
    column: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, StoreError> {
    let text: Option<String> = row.try_get(column)?;
    text.map(|text| parse(&text).map_err(|error| wrong(row, table, column, &error))).transpose()
}

/// Reads JSON.
pub(super) fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(text)
}

/// The error for an unexpected value, with its column and row.
pub(super) fn wrong(row: &AnyRow, table: &str, column: &str, why: &dyn std::fmt::Display) -> StoreError {
    let name = |column: &str| row.try_get::<String, _>(column).ok();
    let number = row.try_get::<i64, _>("position").ok().map(|position| format!(" line {position}"));
    let whose = ["id", "deployment", "dataset", "service", "receiver"].into_iter().find_map(name).unwrap_or_default();
    let place = format!("{table}.{column} of {}{}", whose.escape_default(), number.unwrap_or_default());
    StoreError::Value { place, why: why.to_string() }
}

/// A flag is 0 or 1, and 0 if the deployment has no run.
pub(super) fn flag(row: &AnyRow, table: &str, column: &str) -> Result<bool, StoreError> {
    match row.try_get::<Option<i64>, _>(column)?.unwrap_or(0) {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(wrong(row, table, column, &format!("{other} is neither 0 nor 1"))),
    }
}
