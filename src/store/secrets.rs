//! Which new secrets have been used, by their marks (keyed hashes). Secrets themselves are never stored.

use sqlx::Row as _;

use crate::model::Rotated;
use crate::store::Store;
use crate::store::StoreError;

/// The name of the value that is the key of all marks.
pub const MARK_KEY: &str = "mark_key";

impl Store {
    /// Records that the newest secret of `whose`, which has the mark `mark`, was used at `at_ms`. Only the first use is recorded.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn secret_used(&self, whose: &Rotated, mark: &str, at_ms: i64) -> Result<(), StoreError> {
        let put = sqlx::query(
            "INSERT INTO meta (name, value) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE meta.value NOT LIKE $3",
        );
        self.gate.write(put.bind(name(whose)).bind(format!("{mark} {at_ms}")).bind(format!("{mark} %"))).await?;
        Ok(())
    }

    /// When the secret of `whose` with the mark `mark` was first used (ms since 1970, UTC); none: not yet.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn secret_first_used(&self, whose: &Rotated, mark: &str) -> Result<Option<i64>, StoreError> {
        let row = self.gate.fetch_optional(sqlx::query("SELECT name, value FROM meta WHERE name = $1").bind(name(whose))).await?;
        let Some(row) = row else { return Ok(None) };
        let value: String = row.try_get("value")?;
        Ok(value.strip_prefix(mark).and_then(|rest| rest.trim().parse().ok()))
    }
}

fn name(whose: &Rotated) -> String {
    format!("secret_used/{whose}")
}
