//! The only access to the database. Reading uses connections that cannot write. A writing connection is used again only after its
//! transaction ended with a successful COMMIT; after anything else (an error, a timeout, a caller that went away, a refusal) it is closed
//! and never used again. The library's own count of open transactions is not relied on: SQLite rolls back by itself when the disk is full,
//! and then that count stays wrong.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::Any;
use sqlx::AnyConnection;
use sqlx::AnyPool;
use sqlx::ConnectOptions as _;
use sqlx::Connection as _;
use sqlx::Executor as _;
use sqlx::Row as _;
use sqlx::any::AnyArguments;
use sqlx::any::AnyConnectOptions;
use sqlx::any::AnyPoolOptions;
use sqlx::any::AnyRow;
use sqlx::pool::PoolConnection;
use sqlx::query::Query;

use crate::store::file::DatabaseFile;

/// How long one statement may take.
const DEADLINE: Duration = Duration::from_secs(20);
/// How long a statement that reads a whole table may take.
const LONG_DEADLINE: Duration = Duration::from_mins(10);

/// After this many writes, SQLite's write-ahead log is checkpointed into the database while other writes continue.
const WRITES_A_CHECKPOINT: u32 = 64;

/// SQLite starts its log anew, instead of letting the file grow, only when all of it is checkpointed. What is written during one pass is
/// left for the next, which then has little to do.
const PASSES: usize = 4;

/// A statement with its bound values.
pub(super) type Statement<'q> = Query<'q, Any, AnyArguments>;

/// Two connection pools: one only reads, one writes.
#[derive(Debug)]
pub(super) struct Gate {
    readers: AnyPool,
    writers: AnyPool,
    options: AnyConnectOptions,
    /// The file of SQLite; none: the database is PostgreSQL.
    file: Option<Arc<DatabaseFile>>,
    log: Arc<Log>,
}

/// How many writes SQLite's log has since its last checkpoint.
#[derive(Debug, Default)]
struct Log {
    writes: AtomicU32,
    is_being_brought: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Read,
    Write,
    /// Migrating the tables, which has no time limit.
    Migrate,
}

/// What connections are used for. On PostgreSQL each purpose has its own pools, so that a wait for one purpose never delays another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Answers to callers.
    Answers,
    /// Runs, their journals and outcomes.
    Runs,
    /// The leases of runs, which cannot wait.
    Leases,
}

impl Purpose {
    /// How many connections read, how many write, and how long to wait for one, on PostgreSQL.
    fn connections(self) -> Connections {
        match self {
            Self::Answers | Self::Runs => Connections { readers: 4, writers: 4, wait: Duration::from_secs(10) },
            Self::Leases => Connections { readers: 2, writers: 1, wait: Duration::from_secs(3) },
        }
    }
}

struct Connections {
    readers: u32,
    writers: u32,
    wait: Duration,
}

impl Gate {
    /// Opens no connection yet; each is opened when it is first needed.
    pub(super) fn new(url: &str, file: Option<&Arc<DatabaseFile>>, purpose: Purpose) -> Result<Self, sqlx::Error> {
        let options: AnyConnectOptions = url.parse()?;
        let is_sqlite = file.is_some();
        let file = file.map(Arc::clone);
        // SQLite allows one writer at a time: a second writing connection would only wait, and SQLite does not serve waiting connections in
        // order.
        let sqlite = Connections { readers: 2, writers: 1, wait: Duration::from_secs(10) };
        let Connections { readers, writers, wait } = if is_sqlite { sqlite } else { purpose.connections() };
        let pool = |most: u32, purpose: Use| {
            AnyPoolOptions::new()
                .max_connections(most)
                .min_connections(0)
                .idle_timeout(Duration::from_mins(1))
                .acquire_timeout(wait)
                // A file is always there, but a database server may have been restarted.
                .test_before_acquire(!is_sqlite)
                .after_connect(move |connection, _| Box::pin(prepare(connection, is_sqlite, purpose)))
                .connect_lazy_with(options.clone())
        };
        Ok(Self { readers: pool(readers, Use::Read), writers: pool(writers, Use::Write), options, file, log: Arc::default() })
    }

    pub(super) fn is_sqlite(&self) -> bool {
        self.file.is_some()
    }

    /// Counts a write, and starts a checkpoint after every so many. Otherwise SQLite would make the writer that finds the log large do the
    /// checkpoint, which costs that writer two more waits for the disk. Only if the log grows nevertheless does the writer have to do it.
    fn count_write(&self) {
        let log = &self.log;
        let is_due = self.is_sqlite() && log.writes.fetch_add(1, Ordering::Relaxed) >= WRITES_A_CHECKPOINT;
        if !is_due || log.is_being_brought.swap(true, Ordering::AcqRel) {
            return;
        }
        log.writes.store(0, Ordering::Relaxed);
        let log = Arc::clone(log);
        let options = self.options.clone();
        let file = self.file.clone();
        tokio::spawn(async move {
            let checkpoint = async {
                stands(file.as_deref()).await?;
                let mut connection = options.connect().await?;
                connection.execute("PRAGMA synchronous = FULL; PRAGMA cache_size = -512").await?;
                for _ in 0..PASSES {
                    let row = connection.fetch_one("PRAGMA wal_checkpoint(PASSIVE)").await?;
                    let (there, home): (i64, i64) = (row.try_get("log")?, row.try_get("checkpointed")?);
                    if there == home {
                        break;
                    }
                }
                connection.close().await
            };
            // A failed checkpoint is tried again after as many more writes.
            if let Err(error) = in_time(LONG_DEADLINE, checkpoint).await {
                tracing::debug!(%error, "the write-ahead log of the database could not be checkpointed");
            }
            log.is_being_brought.store(false, Ordering::Release);
        });
    }

    /// A connection outside the pools, for migrating the tables.
    pub(super) async fn for_migrations(&self) -> Result<AnyConnection, sqlx::Error> {
        self.fresh(Use::Migrate).await
    }

    async fn lease(&self, pool: &AnyPool) -> Result<Lease, sqlx::Error> {
        // This is checked before a connection is opened: SQLite would use the existing log with whatever file is at the path now.
        stands(self.file.as_deref()).await?;
        Lease::of(pool).await
    }

    async fn fresh(&self, purpose: Use) -> Result<AnyConnection, sqlx::Error> {
        stands(self.file.as_deref()).await?;
        let mut connection = self.options.connect().await?;
        prepare(&mut connection, self.is_sqlite(), purpose).await?;
        Ok(connection)
    }

    pub(super) async fn fetch_all(&self, statement: Statement<'_>) -> Result<Vec<AnyRow>, sqlx::Error> {
        let mut lease = self.lease(&self.readers).await?;
        let rows = in_time(DEADLINE, statement.fetch_all(&mut *lease.connection)).await?;
        lease.is_good = true;
        Ok(rows)
    }

    pub(super) async fn fetch_optional(&self, statement: Statement<'_>) -> Result<Option<AnyRow>, sqlx::Error> {
        let mut lease = self.lease(&self.readers).await?;
        let row = in_time(DEADLINE, statement.fetch_optional(&mut *lease.connection)).await?;
        lease.is_good = true;
        Ok(row)
    }

    pub(super) async fn fetch_one(&self, statement: Statement<'_>) -> Result<AnyRow, sqlx::Error> {
        self.fetch_optional(statement).await?.ok_or(sqlx::Error::RowNotFound)
    }

    /// Executes one statement as a transaction. When this returns, it is on disk. Returns how many rows it changed.
    pub(super) async fn write(&self, statement: Statement<'_>) -> Result<u64, sqlx::Error> {
        self.write_within(DEADLINE, statement).await
    }

    /// [`Gate::write`] for a statement that reads a whole table.
    pub(super) async fn write_long(&self, statement: Statement<'_>) -> Result<u64, sqlx::Error> {
        self.write_within(LONG_DEADLINE, statement).await
    }

    async fn write_within(&self, deadline: Duration, statement: Statement<'_>) -> Result<u64, sqlx::Error> {
        let mut lease = self.lease(&self.writers).await?;
        let is_unbound = deadline > DEADLINE && !self.is_sqlite();
        if is_unbound {
            in_time(DEADLINE, lease.connection.execute("SET statement_timeout = 0")).await?;
        }
        let done = in_time(deadline, statement.execute(&mut *lease.connection)).await?;
        // A connection whose time limit was switched off is not used again.
        lease.is_good = !is_unbound;
        stands(self.file.as_deref()).await?;
        self.count_write();
        Ok(done.rows_affected())
    }

    /// Begins a transaction. On SQLite no other transaction can write until it ends.
    pub(super) async fn begin(&self) -> Result<Tx, sqlx::Error> {
        let mut lease = self.lease(&self.writers).await?;
        in_time(DEADLINE, lease.connection.execute(begin_sql(self.is_sqlite()))).await?;
        self.count_write();
        Ok(Tx { lease, file: self.file.clone(), is_whole: true })
    }

    /// Whether the database accepts a write. A new connection is used, because existing ones may still work where a new one does not.
    pub(super) async fn probe(&self, mark: &str) -> Result<(), sqlx::Error> {
        in_time(DEADLINE, async {
            let mut connection = self.fresh(Use::Write).await?;
            connection.execute(begin_sql(self.is_sqlite())).await?;
            // SQLite writes nothing if no value changes, so the value is different each time.
            sqlx::query("UPDATE meta SET value = $1 WHERE name = 'probe'").bind(mark).execute(&mut connection).await?;
            connection.execute("COMMIT").await?;
            connection.close().await
        })
        .await
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writers.close().await;
    }
}

fn begin_sql(is_sqlite: bool) -> &'static str {
    // The lock is taken at once, so that two transactions that both read first do not wait for each other.
    if is_sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" }
}

/// Limits that keep PostgreSQL from waiting for a server that hangs or was cut off: a session that stops in the middle of a transaction
/// soon loses it with its locks, and so does one that does not acknowledge data (over TCP). Statements end before the client stops waiting
/// for their answers.
const BOUNDS: &str = "SET idle_in_transaction_session_timeout = '5s'; SET statement_timeout = '15s'; SET lock_timeout = '2s'; \
                      SET tcp_user_timeout = '10s'; SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; \
                      SET tcp_keepalives_count = 3;";

async fn prepare(connection: &mut AnyConnection, is_sqlite: bool, purpose: Use) -> Result<(), sqlx::Error> {
    let settings = match (is_sqlite, purpose) {
        // FULL: orders that were answered with 202 survive a power failure. The cache is small on purpose.
        (true, Use::Write | Use::Migrate) => {
            "PRAGMA busy_timeout = 8000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -512; \
             PRAGMA wal_autocheckpoint = 4000;"
        }
        (true, Use::Read) => "PRAGMA busy_timeout = 8000; PRAGMA cache_size = -512; PRAGMA query_only = ON;",
        // A PostgreSQL server may be configured to answer a COMMIT before it is on disk.
        (false, Use::Write | Use::Migrate) => {
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        }
        (false, Use::Read) => "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    };
    connection.execute(settings).await?;
    if !is_sqlite && purpose != Use::Migrate {
        connection.execute(BOUNDS).await?;
    }
    Ok(())
}

async fn in_time<T>(deadline: Duration, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    let late = |_| sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, format!("no answer within {} s", deadline.as_secs())));
    tokio::time::timeout(deadline, work).await.map_err(late)?
}

/// Checks that commits go to the file that the next start will open.
async fn stands(file: Option<&DatabaseFile>) -> Result<(), sqlx::Error> {
    match file {
        Some(file) => in_time(DEADLINE, file.still_stands()).await,
        None => Ok(()),
    }
}

/// A connection of a pool. It returns to the pool only if everything succeeded.
struct Lease {
    connection: PoolConnection<Any>,
    is_good: bool,
}

impl Lease {
    async fn of(pool: &AnyPool) -> Result<Self, sqlx::Error> {
        Ok(Self { connection: pool.acquire().await?, is_good: false })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.is_good {
            self.connection.close_on_drop();
        }
    }
}

/// A transaction. If it is dropped before [`Tx::commit`] has returned success, its connection is closed, which undoes everything, and is
/// not used again.
pub(super) struct Tx {
    lease: Lease,
    file: Option<Arc<DatabaseFile>>,
    /// Whether every statement so far succeeded. After one that failed, SQLite may have rolled everything back.
    is_whole: bool,
}

impl Tx {
    /// Makes writers of several servers wait for each other until this transaction ends. On SQLite there is only one writer anyway.
    ///
    /// This is an advisory lock and not a row lock, because any session can lock a row for as long as it likes. Only tagalong servers use
    /// this lock, and a server that hangs loses it, so it is safe to wait for. (The previous version locks a row instead. A server of that
    /// version does not wait for this lock; then the unique indexes let only one of the two write, and the other tries again.)
    pub(super) async fn alone(&mut self, name: &'static str) -> Result<(), sqlx::Error> {
        if self.file.is_some() {
            return Ok(());
        }
        let wait = format!(
            "SET LOCAL lock_timeout = '10s'; SELECT pg_advisory_xact_lock(hashtext('tagalong'), hashtext('{name}')); \
             SET LOCAL lock_timeout = '2s';"
        );
        let done = in_time(DEADLINE, self.lease.connection.execute(sqlx::AssertSqlSafe(wait))).await;
        self.is_whole &= done.is_ok();
        done.map(|_| ())
    }

    /// `select`, with the rows that it finds locked until this transaction ends. Rows that another session has locked are skipped, so that
    /// nobody waits for a session that hangs. On SQLite the whole database is locked by this transaction.
    pub(super) fn seizing(&self, select: &'static str) -> Statement<'static> {
        if self.file.is_some() { sqlx::query(select) } else { sqlx::query(sqlx::AssertSqlSafe(format!("{select} FOR UPDATE SKIP LOCKED"))) }
    }

    /// Executes a statement. Returns how many rows it changed.
    pub(super) async fn execute(&mut self, statement: Statement<'_>) -> Result<u64, sqlx::Error> {
        let done = in_time(DEADLINE, statement.execute(&mut *self.lease.connection)).await;
        self.is_whole &= done.is_ok();
        Ok(done?.rows_affected())
    }

    pub(super) async fn fetch_all(&mut self, statement: Statement<'_>) -> Result<Vec<AnyRow>, sqlx::Error> {
        let done = in_time(DEADLINE, statement.fetch_all(&mut *self.lease.connection)).await;
        self.is_whole &= done.is_ok();
        done
    }

    pub(super) async fn fetch_optional(&mut self, statement: Statement<'_>) -> Result<Option<AnyRow>, sqlx::Error> {
        let done = in_time(DEADLINE, statement.fetch_optional(&mut *self.lease.connection)).await;
        self.is_whole &= done.is_ok();
        done
    }

    /// Commits the transaction. When this returns, all of it is on disk.
    ///
    /// # Errors
    /// When an earlier statement failed: nothing is kept then. Or when the COMMIT was not answered with success: then only a look over
    /// another connection can tell whether it succeeded.
    pub(super) async fn commit(mut self) -> Result<(), sqlx::Error> {
        if !self.is_whole {
            // PostgreSQL answers the COMMIT of a failed transaction with success, but keeps nothing.
            return Err(sqlx::Error::Protocol("a statement of the transaction was not executed".into()));
        }
        in_time(DEADLINE, self.lease.connection.execute("COMMIT")).await?;
        self.lease.is_good = true;
        stands(self.file.as_deref()).await
    }
}
