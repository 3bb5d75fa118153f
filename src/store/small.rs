//! Holds, failed attempts, named values, retention, backup.

use std::path::Path;

use sqlx::Row as _;

use crate::clock;
use crate::model::DeploymentId;
use crate::model::ServiceName;
use crate::store::Hold;
use crate::store::Store;
use crate::store::StoreError;

impl Store {
    /// What holds a service now.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn hold(&self, service: &ServiceName) -> Result<Option<Hold>, StoreError> {
        let row =
            sqlx::query("SELECT deployment, since_ms, until_ms FROM holds WHERE service = $1 AND (until_ms IS NULL OR until_ms > $2)")
                .bind(service.as_str())
                .bind(clock::now_ms())
                .fetch_optional(&self.pool)
                .await?;
        let Some(row) = row else { return Ok(None) };
        let deployment =
            DeploymentId::parse(&row.try_get::<String, _>("deployment")?).map_err(|error| StoreError::Value(error.to_string()))?;
        Ok(Some(Hold { deployment, since_ms: row.try_get("since_ms")?, until_ms: row.try_get("until_ms")? }))
    }

    /// Counts one failed attempt of `address` in this minute and returns how many it has.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn count_failed(&self, address: &str) -> Result<i64, StoreError> {
        let minute = clock::now_ms() / 60_000;
        sqlx::query(
            "INSERT INTO attempts (address, minute, failed) VALUES ($1, $2, 1)
             ON CONFLICT (address, minute) DO UPDATE SET failed = attempts.failed + 1",
        )
        .bind(address)
        .bind(minute)
        .execute(&self.pool)
        .await?;
        self.failed_attempts(address).await
    }

    /// How many failed attempts `address` has in this minute.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn failed_attempts(&self, address: &str) -> Result<i64, StoreError> {
        let row = sqlx::query("SELECT failed FROM attempts WHERE address = $1 AND minute = $2")
            .bind(address)
            .bind(clock::now_ms() / 60_000)
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|row| row.try_get("failed")).transpose()?.unwrap_or(0))
    }

    /// The value of that name, made by `first` when there is none yet; every server of one database sees the same.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn named_value(&self, name: &str, first: impl FnOnce() -> String + Send) -> Result<String, StoreError> {
        sqlx::query("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
            .bind(name)
            .bind(first())
            .execute(&self.pool)
            .await?;
        let row = sqlx::query("SELECT value FROM meta WHERE name = $1").bind(name).fetch_one(&self.pool).await?;
        Ok(row.try_get("value")?)
    }

    /// Whether the database takes a write.
    ///
    /// # Errors
    /// When it does not.
    pub async fn probe(&self) -> Result<(), StoreError> {
        sqlx::query("UPDATE meta SET value = '' WHERE name = 'queue'").execute(&self.pool).await?;
        Ok(())
    }

    /// Forgets what is older than these times (ms since 1970): journals with their ended deployments, though never a
    /// verified one (a rollback may need it), and deliveries.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_older(&self, journal_ms: i64, deliveries_ms: i64) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM lines WHERE deployment IN (SELECT id FROM deployments WHERE state = 'done' AND ended_ms < $1)")
            .bind(journal_ms)
            .execute(&self.pool)
            .await?;
        sqlx::query("DELETE FROM deployments WHERE state = 'done' AND verified = 0 AND ended_ms < $1")
            .bind(journal_ms)
            .execute(&self.pool)
            .await?;
        sqlx::query("DELETE FROM deliveries WHERE at_ms < $1").bind(deliveries_ms).execute(&self.pool).await?;
        sqlx::query("DELETE FROM attempts WHERE minute < $1").bind(clock::now_ms() / 60_000 - 60).execute(&self.pool).await?;
        Ok(())
    }

    /// Writes a whole copy of the SQLite database to `file`, which must not exist, while others go on writing.
    ///
    /// # Errors
    /// When it cannot be written, or the database is PostgreSQL.
    pub async fn copy_to(&self, file: &Path) -> Result<(), StoreError> {
        sqlx::query("VACUUM INTO $1").bind(file.display().to_string()).execute(&self.pool).await?;
        Ok(())
    }
}
