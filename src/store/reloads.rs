//! The results of reloads.

use sqlx::Row as _;

use crate::model::DatasetName;
use crate::model::Reconcile;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::columns;

/// How the last reload of a dataset ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastReload {
    /// The outcome's text form.
    pub outcome: String,
    /// Why it ended so, if an operator should know.
    pub why: Option<String>,
    /// Why the app does not serve the new data; the next reload tries again.
    pub load_fault: Option<String>,
    /// When it ended (ms since 1970, UTC).
    pub at_ms: i64,
    /// When the app last loaded new data.
    pub loaded_ms: Option<i64>,
}

impl Store {
    /// Records how a reload ended. Without a new time of loading, the recorded one is kept.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn reloaded(&self, executor: &str, dataset: &DatasetName, last: &LastReload) -> Result<(), StoreError> {
        self.gate.write(sqlx::query(
            "INSERT INTO datasets (executor, dataset, outcome, why, load_fault, at_ms, loaded_ms) VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (executor, dataset) DO UPDATE SET outcome = excluded.outcome, why = excluded.why,
             load_fault = excluded.load_fault, at_ms = excluded.at_ms, loaded_ms = COALESCE(excluded.loaded_ms, datasets.loaded_ms)",
        )
        .bind(executor)
        .bind(dataset.as_str())
        .bind(&last.outcome)
        .bind(last.why.clone())
        .bind(last.load_fault.clone())
        .bind(last.at_ms)
        .bind(last.loaded_ms)).await?;
        Ok(())
    }

    /// How the last reload ended; none: there was no reload yet.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn last_reload(&self, executor: &str, dataset: &DatasetName) -> Result<Option<LastReload>, StoreError> {
        let row = self
            .gate
            .fetch_optional(
                sqlx::query(
                    "SELECT dataset, outcome, why, load_fault, at_ms, loaded_ms FROM datasets WHERE executor = $1 AND dataset = $2",
                )
                .bind(executor)
                .bind(dataset.as_str()),
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(LastReload {
            outcome: columns::parsed(&row, "datasets", "outcome", Reconcile::parse_outcome)?.to_owned(),
            why: row.try_get("why")?,
            load_fault: row.try_get("load_fault")?,
            at_ms: row.try_get("at_ms")?,
            loaded_ms: row.try_get("loaded_ms")?,
        }))
    }
}
