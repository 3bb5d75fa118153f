//! The only place with SQL: SQLite in the data folder by default, PostgreSQL by address, one set of statements for both.

mod audit;
mod holds;
mod lines;
mod orders;
mod reloads;
mod rows;
mod runs;
mod small;

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use sqlx::AnyPool;
use sqlx::Executor as _;
use sqlx::any::AnyPoolOptions;
use sqlx::migrate::Migration;
use sqlx::migrate::MigrationType;
use sqlx::migrate::Migrator;

use crate::config::Secret;

pub use audit::AuditFault;
pub use orders::{Accepted, Delivery, EnqueueError, Limits, Released};
pub use reloads::{Debt, LastReload};
pub use rows::{Deployment, Filter, Hold};
pub use runs::{Facts, Fence};

/// The database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It could not be opened.
    #[error("The database cannot be opened: {0}. Check that the data folder is writable, or that PostgreSQL answers.")]
    Open(#[source] sqlx::Error),
    /// Its tables could not be brought up to date.
    #[error("The database's tables cannot be brought up to date: {0}.")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// A statement failed: the disk is full, or the server is gone.
    #[error("The database does not answer as it should: {0}.")]
    Query(#[from] sqlx::Error),
    /// A row does not read back: somebody else wrote it.
    #[error("The database holds a value that is none of ours: {0}.")]
    Value(String),
    /// Another executor has taken the deployment over; this one must stop.
    #[error("Another server has taken this deployment over.")]
    Fenced,
}

impl StoreError {
    /// Whether the disk under the database is full: SQLite's result code `SQLITE_FULL`, PostgreSQL's `disk_full`.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        let Self::Query(sqlx::Error::Database(error)) = self else { return false };
        matches!(error.code().as_deref(), Some("13" | "53100"))
    }
}

/// The database.
#[derive(Debug, Clone)]
pub struct Store {
    pool: AnyPool,
    /// Whether it is a file of ours.
    is_sqlite: bool,
}

/// The file of the SQLite database within the data folder.
pub const SQLITE_FILE: &str = "tagalong.db";

impl Store {
    /// Opens the SQLite database of `data_dir`, or PostgreSQL at `postgres`, and brings its tables up to date.
    ///
    /// # Errors
    /// When it cannot be opened or brought up to date.
    pub async fn open(data_dir: &Path, postgres: Option<&Secret>) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let is_sqlite = postgres.is_none();
        let url = match postgres {
            Some(url) => url.reveal().to_owned(),
            None => format!("sqlite://{}?mode=rwc", data_dir.join(SQLITE_FILE).display()),
        };
        let options = AnyPoolOptions::new()
            .max_connections(if is_sqlite { 2 } else { 8 })
            .min_connections(0)
            .idle_timeout(Duration::from_mins(1))
            .acquire_timeout(Duration::from_secs(10))
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if is_sqlite {
                        // FULL: what was answered with 202 survives a power cut. The cache is kept small on purpose.
                        connection
                            .execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 8000; PRAGMA cache_size = -512;")
                            .await?;
                    }
                    Ok(())
                })
            });
        let pool = options.connect(&url).await.map_err(StoreError::Open)?;
        migrations().run(&pool).await.map_err(StoreError::Migrate)?;
        Ok(Self { pool, is_sqlite })
    }

    /// Whether this is SQLite, so that one server alone uses it.
    #[must_use]
    pub fn is_sqlite(&self) -> bool {
        self.is_sqlite
    }

    /// Closes every connection; what was committed is on disk.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

fn migrations() -> Migrator {
    let files = [("first", include_str!("migrations/1_first.sql")), ("reloads", include_str!("migrations/2_reloads.sql"))];
    let step = |(at, (name, sql)): (usize, (&'static str, &'static str))| {
        Migration::new(at as i64 + 1, Cow::Borrowed(name), MigrationType::Simple, sqlx::SqlStr::from_static(sql), false)
    };
    Migrator::with_migrations(files.into_iter().enumerate().map(step).collect())
}
