//! The only module with SQL. By default the database is SQLite in the data folder; with an address it is PostgreSQL. Both use the same
//! statements.

mod agent_keys;
mod agents;
mod approvals;
mod approving;
mod asking;
mod attempts;
mod audit;
mod batch;
mod carried;
mod columns;
mod deliveries;
mod deployments;
mod desk;
mod door;
mod dropped;
mod events;
mod facts;
mod file;
mod fleet;
mod gate;
mod glance;
mod holds;
mod host_runs;
mod incidents;
mod lease;
mod ledger;
mod left;
mod lines;
mod looks;
mod many;
mod now;
mod ordered;
mod orders;
mod outbox;
mod placements;
mod provisioned;
mod recorded;
mod releases;
mod reloads;
mod results;
mod revive;
mod rows;
mod runs;
mod secrets;
mod sessions;
mod small;
mod sweep;
mod told;
mod told_lines;
mod turns;
mod users;
mod watched;
mod watches;

use std::borrow::Cow;
use std::fs::File;
use std::fs::TryLockError;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::migrate::MigrateError;
use sqlx::migrate::Migration;
use sqlx::migrate::MigrationType;
use sqlx::migrate::Migrator;

use text::Secret;

use attempts::Attempts;
use audit::HeadFile;
use desk::Desk;
use file::DatabaseFile;
use gate::Gate;
use gate::Purpose;
use lease::Leases;

pub use agents::{Agent, Enrolled, Enrolment, Readmitted};
pub use approvals::{Approvals, KeptCode};
pub use approving::{ApprovalTerms, Entered, Given, Unapproved, waits_for_codes};
pub use asking::{Again, Awaited};
pub use audit::{AUDIT_HEAD_FILE, AuditFault};
pub use deliveries::Came;
pub use deployments::MOST_RELEASES;
pub use door::{AtTheDoor, Landed, OrderError, Releases, Taken, Terms, Waits, Wanted};
pub use facts::Facts;
pub use fleet::Report;
pub use glance::{AuditEntry, EndedAt, Glance, StepBegan};
pub use holds::{Hold, HoldKind};
pub use host_runs::HostRun;
pub use incidents::{Found, Incident, IncidentFilter, Seen, Settled};
pub use lease::{Leave, RunLease};
pub use looks::{LookRow, PageLook};
pub use orders::{Accepted, Delivery, Resumed};
pub use outbox::{Claimed, Debt, LongOwed, MOST_OWED, Owe, Wait};
pub use provisioned::Provisioned;
pub use recorded::Recorded;
pub use reloads::LastReload;
pub use results::Unowed;
pub use rows::{Deployment, Fence, Filter, Listed};
pub use runs::{Ending, Site, Turn};
pub use secrets::MARK_KEY;
pub use sessions::{LoginProof, NewSession, Session, SessionRight};
pub use sweep::{Ended, Old, Place, Reach};
pub use told::Untold;
pub use turns::Next;
pub use users::{Lock, User};
pub use watched::{Claim, Due, Watch, Watched};
pub use watches::{Looked, Then};

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database could not be opened.
    #[error("The database could not be opened: {0}. Check that the data folder is writable, or that PostgreSQL is running and reachable.")]
    Open(#[source] sqlx::Error),
    /// The database file is damaged.
    #[error(
        "The database file {0} is damaged: {1}. Restore a backup (`tagalong restore`), or move the file aside to begin without its history."
    )]
    Damaged(PathBuf, #[source] sqlx::Error),
    /// The tables could not be migrated.
    #[error("The database's tables could not be migrated: {0}.")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// A statement failed, for example because the disk is full or the server is gone.
    #[error("The database returned an error: {0}.")]
    Query(#[from] sqlx::Error),
    /// A row cannot be read, because something other than tagalong wrote it.
    #[error("The database contains an unexpected value in {place}: {why}. Correct the row or restore a backup.")]
    Value {
        /// Table, column and row.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// What was committed cannot be found.
    #[error("The database confirmed a COMMIT but does not have what was committed; check its disk and its log.")]
    NotKept,
    /// An error that several orders share, because they were to be written together.
    #[error(transparent)]
    Shared(Arc<StoreError>),
    /// Another executor has taken the deployment over; this one must stop.
    #[error("Another server has taken this deployment over.")]
    Fenced,
}

impl StoreError {
    /// The error for a database in `file`: [`StoreError::Damaged`] if SQLite's result code is `SQLITE_CORRUPT` (of any kind) or
    /// `SQLITE_NOTADB`.
    fn of_file(self, file: Option<&DatabaseFile>) -> Self {
        let is_damage = |error: &sqlx::Error| {
            let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code).and_then(|code| code.parse::<u32>().ok());
            code.is_some_and(|code| matches!(code & 0xff, 11 | 26))
        };
        match (self, file) {
            (Self::Open(error) | Self::Migrate(MigrateError::Execute(error)), Some(file)) if is_damage(&error) => {
                Self::Damaged(file.path().to_owned(), error)
            }
            (other, _) => other,
        }
    }

    /// Whether the disk under the database is full: SQLite's result code `SQLITE_FULL`, PostgreSQL's `disk_full`.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Shared(error) => error.is_disk_full(),
            Self::Query(sqlx::Error::Database(error)) => matches!(error.code().as_deref(), Some("13" | "53100")),
            _ => false,
        }
    }

    /// Whether a row cannot be read, because something other than tagalong wrote it: trying again changes nothing.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        match self {
            Self::Shared(error) => error.is_unreadable(),
            Self::Value { .. } => true,
            _ => false,
        }
    }

    /// Whether another session held a row for longer than a statement waits for it; the rest of the database is not affected.
    #[must_use]
    pub fn is_held(&self) -> bool {
        match self {
            Self::Shared(error) => error.is_held(),
            Self::Query(sqlx::Error::Database(error)) => error.code().as_deref() == Some("55P03"),
            _ => false,
        }
    }

    /// Whether a single one of several rows may be the reason: it conflicts with a row that was written meanwhile, or the database does not
    /// accept its values.
    fn may_be_one_rows_fault(&self) -> bool {
        if self.is_unreadable() || self.is_held() {
            return true;
        }
        let Self::Query(sqlx::Error::Database(error)) = self else { return false };
        let code = error.code().unwrap_or_default();
        // SQLITE_FULL, TOOBIG, CONSTRAINT (and its kinds), MISMATCH, RANGE; PostgreSQL's classes of data and constraints.
        let sqlite = code.parse::<u32>().is_ok_and(|code| code < 5000 && matches!(code & 0xff, 13 | 18 | 19 | 20 | 25));
        sqlite || code == "53100" || (code.len() == 5 && (code.starts_with("22") || code.starts_with("23") || code.starts_with("54")))
    }
}

/// When the last trial write was made, and its result.
type Probed = (tokio::time::Instant, Result<(), Arc<StoreError>>);

/// The database.
#[derive(Debug, Clone)]
pub struct Store {
    gate: Arc<Gate>,
    /// The connections for runs; on SQLite the same as the others.
    runs_gate: Arc<Gate>,
    leases_gate: Arc<Gate>,
    leases: Arc<Leases>,
    desk: Arc<Desk>,
    attempts: Arc<Attempts>,
    head: Arc<HeadFile>,
    /// Something was recorded that people may want to hear of.
    news: Arc<tokio::sync::Notify>,
    /// The last trial write.
    probed: Arc<tokio::sync::Mutex<Option<Probed>>>,
    /// Whether the database is SQLite.
    is_sqlite: bool,
}

/// How long a migration waits for that of another process.
const PATIENCE: Duration = Duration::from_mins(1);

/// The file that is locked while the SQLite database is migrated.
const MIGRATION_LOCK: &str = "migration.lock";

/// The file of the SQLite database within the data folder.
pub const SQLITE_FILE: &str = "tagalong.db";

impl Store {
    /// Opens the SQLite database in `data_dir`, or PostgreSQL at `postgres`, and migrates its tables.
    ///
    /// # Errors
    /// When the database cannot be opened or migrated.
    pub async fn open(data_dir: &Path, postgres: Option<&Secret>) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let is_sqlite = postgres.is_none();
        let url = match postgres {
            Some(url) => url.reveal().to_owned(),
            // `mode=rw`: a database file that was removed must not be created again by another connection.
            None => format!("sqlite://{}?mode=rw", data_dir.join(SQLITE_FILE).display()),
        };
        let file = is_sqlite.then(|| DatabaseFile::made(data_dir.join(SQLITE_FILE)).map(Arc::new)).transpose();
        let file = file.map_err(|error| StoreError::Open(sqlx::Error::Io(error)))?;
        let made = |purpose: Purpose| Gate::new(&url, file.as_ref(), purpose).map(Arc::new).map_err(StoreError::Open);
        let gate = made(Purpose::Answers)?;
        let apart = |purpose: Purpose| if is_sqlite { Ok(Arc::clone(&gate)) } else { made(purpose) };
        migrate(&gate, is_sqlite.then_some(data_dir)).await.map_err(|error| error.of_file(file.as_deref()))?;
        Ok(Self {
            runs_gate: apart(Purpose::Runs)?,
            leases_gate: apart(Purpose::Leases)?,
            leases: Arc::default(),
            gate,
            desk: Arc::default(),
            attempts: Arc::default(),
            head: Arc::new(HeadFile::in_folder(data_dir)),
            news: Arc::default(),
            probed: Arc::default(),
            is_sqlite,
        })
    }

    /// Whether this is SQLite, which only one server uses.
    #[must_use]
    pub fn is_sqlite(&self) -> bool {
        self.is_sqlite
    }

    /// The same database over the connections for runs, so that runs and answers never wait for each other.
    #[must_use]
    pub fn for_runs(&self) -> Self {
        Self { gate: Arc::clone(&self.runs_gate), ..self.clone() }
    }

    /// Closes every connection; what was committed is on disk.
    pub async fn close(&self) {
        if let Err(error) = self.settle_attempts().await {
            tracing::warn!(%error, "the last failed attempts could not be stored");
        }
        for gate in [&self.gate, &self.runs_gate, &self.leases_gate] {
            gate.close().await;
        }
    }
}

/// Migrates the tables. Several processes may open one SQLite database at the same moment (a server and the command line), so a file in
/// `folder` is locked meanwhile; PostgreSQL makes them wait by itself. The folder cannot be locked for this, because its user may hold that
/// lock already, nor the database, because SQLite has its own locks on it.
async fn migrate(gate: &Gate, folder: Option<&Path>) -> Result<(), StoreError> {
    let lock = match folder {
        Some(folder) => Some(locked(&folder.join(MIGRATION_LOCK)).await.map_err(|error| StoreError::Open(sqlx::Error::Io(error)))?),
        None => None,
    };
    let mut connection = gate.for_migrations().await.map_err(StoreError::Open)?;
    migrations().run(&mut connection).await.map_err(StoreError::Migrate)?;
    connection.close().await.map_err(StoreError::Open)?;
    drop(lock);
    Ok(())
}

/// Locks the file at `path`, as soon as no other process has locked it.
async fn locked(path: &Path) -> std::io::Result<File> {
    let file = File::options().append(true).create(true).mode(0o600).open(path)?;
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if tokio::time::Instant::now() >= until => {
                let why = format!("another process has held {} for {} s to migrate this database", path.display(), PATIENCE.as_secs());
                return Err(std::io::Error::new(ErrorKind::TimedOut, why));
            }
            Err(TryLockError::WouldBlock) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// The migrations. Those that are not in this list belong to a newer version and are left alone, so that two versions may use one database,
/// and the previous version can use it again.
///
/// Therefore every migration from the fifth on must leave the previous version working: it adds tables, indexes, and columns that may be
/// empty or have a default. It removes and renames nothing, and puts no word into a column that the previous version does not know there.
/// What is no longer used is removed by a migration of the next version at the earliest.
fn migrations() -> Migrator {
    let files = [
        (1, "first", include_str!("migrations/1_first.sql")),
        (2, "reloads", include_str!("migrations/2_reloads.sql")),
        (3, "door", include_str!("migrations/3_door.sql")),
        (4, "runs", include_str!("migrations/4_runs.sql")),
        (5, "outbox", include_str!("migrations/5_outbox.sql")),
        (6, "status", include_str!("migrations/6_status.sql")),
        (7, "load", include_str!("migrations/7_load.sql")),
        (9, "away", include_str!("migrations/9_away.sql")),
        (10, "oidc", include_str!("migrations/10_oidc.sql")),
        (12, "landed", include_str!("migrations/12_landed.sql")),
        (13, "results", include_str!("migrations/13_results.sql")),
        (15, "checks", include_str!("migrations/15_checks.sql")),
        (16, "provisioned", include_str!("migrations/16_provisioned.sql")),
        (17, "events", include_str!("migrations/17_events.sql")),
        (18, "guards", include_str!("migrations/18_guards.sql")),
        (19, "watches", include_str!("migrations/19_watches.sql")),
        (20, "approvals", include_str!("migrations/20_approvals.sql")),
        (21, "files", include_str!("migrations/21_files.sql")),
        (22, "agents", include_str!("migrations/22_agents.sql")),
        (23, "fleet", include_str!("migrations/23_fleet.sql")),
        (24, "users", include_str!("migrations/24_users.sql")),
        (25, "steps", include_str!("migrations/25_steps.sql")),
        (28, "results_by_time", include_str!("migrations/28_results_by_time.sql")),
        (29, "rollouts", include_str!("migrations/29_rollouts.sql")),
        (34, "claims", include_str!("migrations/34_claims.sql")),
    ];
    let step = |(number, name, sql): (i64, &'static str, &'static str)| {
        Migration::new(number, Cow::Borrowed(name), MigrationType::Simple, sqlx::SqlStr::from_static(sql), false)
    };
    let mut migrations = Migrator::with_migrations(files.into_iter().map(step).collect());
    migrations.set_ignore_missing(true);
    migrations
}
