//! Named values, trial writes, backup.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Row as _;
use tokio::time::Instant;

use crate::clock;
use crate::store::Store;
use crate::store::StoreError;

/// How long the result of a trial write is reused.
const PROBE_EVERY: Duration = Duration::from_secs(5);

impl Store {
    /// The value named `name`, which is created by `first` if it does not exist yet. All servers of one database see the same value.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn named_value(&self, name: &str, first: impl FnOnce() -> String + Send) -> Result<String, StoreError> {
        self.gate
            .write(sqlx::query("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING").bind(name).bind(first()))
            .await?;
        let row = self.gate.fetch_one(sqlx::query("SELECT value FROM meta WHERE name = $1").bind(name)).await?;
        Ok(row.try_get("value")?)
    }

    /// Whether of all servers of this database `holder` alone may do `what`, for `term` from now on: it could before, or nobody can any
    /// more.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn has_alone(&self, what: &str, holder: &str, term: Duration) -> Result<bool, StoreError> {
        let now_ms = clock::now_ms();
        let until_ms = now_ms.saturating_add(i64::try_from(term.as_millis()).unwrap_or(i64::MAX));
        // The time has a fixed width, so texts are compared as times are.
        let take = sqlx::query(
            "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value
             WHERE meta.value < $3 OR substr(meta.value, 22) = $4",
        );
        let take = take.bind(what).bind(format!("{until_ms:020} {holder}")).bind(format!("{now_ms:020}")).bind(holder);
        Ok(self.gate.write(take).await? == 1)
    }

    /// Whether the database accepts writes: tried over a new connection, at most every five seconds. Callers in between, or at the same
    /// time, get the same answer.
    ///
    /// # Errors
    /// When the database does not accept a write.
    pub async fn probe(&self) -> Result<(), StoreError> {
        let mut last = self.probed.lock().await;
        if let Some((at, answer)) = last.as_ref()
            && at.elapsed() < PROBE_EVERY
        {
            return answer.clone().map_err(StoreError::Shared);
        }
        let answer = self.gate.probe(&clock::now_ms().to_string()).await.map_err(|error| Arc::new(StoreError::from(error)));
        *last = Some((Instant::now(), answer.clone()));
        answer.map_err(StoreError::Shared)
    }

    /// Writes a complete copy of the SQLite database to `file`, which must not exist, while other writes continue. Only the file's owner
    /// may read it.
    ///
    /// # Errors
    /// When it cannot be written, or the database is PostgreSQL.
    pub async fn copy_to(&self, file: &Path) -> Result<(), StoreError> {
        // SQLite fills an empty file and keeps its mode.
        let made = std::fs::File::options().write(true).create_new(true).mode(0o600).open(file);
        made.map_err(|error| StoreError::Query(sqlx::Error::Io(error)))?;
        self.gate.write_long(sqlx::query("VACUUM INTO $1").bind(file.display().to_string())).await?;
        Ok(())
    }
}
