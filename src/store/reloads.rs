//! What became of datasets, and what their peers are owed.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::model::Commit;
use crate::model::DatasetName;
use crate::model::Reconcile;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::rows;

/// How the last reload of a dataset ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastReload {
    /// The outcome's text form.
    pub outcome: String,
    /// Why, where a person should know.
    pub why: Option<String>,
    /// Why the app does not serve what it should; it is tried again on the next reload.
    pub load_fault: Option<String>,
    /// When it ended (ms since 1970, UTC).
    pub at_ms: i64,
    /// When the app last loaded something.
    pub loaded_ms: Option<i64>,
}

/// What a peer is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Debt {
    /// Its address.
    pub peer: String,
    /// The newest commit.
    pub commit: Commit,
    /// Since when it has not had the newest (ms since 1970, UTC).
    pub since_ms: i64,
    /// How often it was tried.
    pub tries: i64,
    /// When it is tried next.
    pub next_ms: i64,
    /// What stood in the way the last time.
    pub why: Option<String>,
}

fn debt(row: &AnyRow) -> Result<Debt, StoreError> {
    Ok(Debt {
        peer: row.try_get("peer")?,
        commit: rows::parsed(row, "debts", "commit_id", Commit::parse)?,
        since_ms: row.try_get("since_ms")?,
        tries: row.try_get("tries")?,
        next_ms: row.try_get("next_ms")?,
        why: row.try_get("why")?,
    })
}

impl Store {
    /// Records how a reload ended. A time of loading that was recorded stays when there is no new one.
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

    /// How the last reload ended; none before the first.
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
            outcome: rows::parsed(&row, "datasets", "outcome", Reconcile::parse_outcome)?.to_owned(),
            why: row.try_get("why")?,
            load_fault: row.try_get("load_fault")?,
            at_ms: row.try_get("at_ms")?,
            loaded_ms: row.try_get("loaded_ms")?,
        }))
    }

    /// Owes `commit` to each of `peers`, in place of an older one, from `next_ms` on.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn owe(
        &self,
        executor: &str,
        dataset: &DatasetName,
        peers: &[String],
        commit: &Commit,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let mut tx = self.gate.begin().await?;
        for peer in peers {
            tx.execute(
                sqlx::query(
                    "INSERT INTO debts (executor, dataset, peer, commit_id, since_ms, tries, next_ms) VALUES ($1, $2, $3, $4, $5, 0, $5)
                 ON CONFLICT (executor, dataset, peer) DO UPDATE SET commit_id = excluded.commit_id, next_ms = excluded.next_ms",
                )
                .bind(executor)
                .bind(dataset.as_str())
                .bind(peer)
                .bind(commit.as_str())
                .bind(now_ms),
            )
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// What is owed, by peer.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn debts(&self, executor: &str, dataset: &DatasetName) -> Result<Vec<Debt>, StoreError> {
        let rows = self
            .gate
            .fetch_all(
                sqlx::query("SELECT * FROM debts WHERE executor = $1 AND dataset = $2 ORDER BY peer").bind(executor).bind(dataset.as_str()),
            )
            .await?;
        rows.iter().map(debt).collect()
    }

    /// The peer has `commit`: nothing is owed, unless a newer one is by now.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn settle(&self, executor: &str, dataset: &DatasetName, peer: &str, commit: &Commit) -> Result<(), StoreError> {
        self.gate
            .write(
                sqlx::query("DELETE FROM debts WHERE executor = $1 AND dataset = $2 AND peer = $3 AND commit_id = $4")
                    .bind(executor)
                    .bind(dataset.as_str())
                    .bind(peer)
                    .bind(commit.as_str()),
            )
            .await?;
        Ok(())
    }

    /// The peer does not have `debt.commit` yet: it is tried again at `debt.next_ms`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn put_off(&self, executor: &str, dataset: &DatasetName, debt: &Debt) -> Result<(), StoreError> {
        self.gate.write(sqlx::query(
            "UPDATE debts SET tries = $5, next_ms = $6, why = $7 WHERE executor = $1 AND dataset = $2 AND peer = $3 AND commit_id = $4",
        )
        .bind(executor)
        .bind(dataset.as_str())
        .bind(&debt.peer)
        .bind(debt.commit.as_str())
        .bind(debt.tries)
        .bind(debt.next_ms)
        .bind(debt.why.clone())).await?;
        Ok(())
    }

    /// The peer is gone for good: nothing is owed to it any more.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forgive(&self, executor: &str, dataset: &DatasetName, peer: &str) -> Result<(), StoreError> {
        self.gate
            .write(
                sqlx::query("DELETE FROM debts WHERE executor = $1 AND dataset = $2 AND peer = $3")
                    .bind(executor)
                    .bind(dataset.as_str())
                    .bind(peer),
            )
            .await?;
        Ok(())
    }
}
