//! Databases for tests: SQLite in the data folder, or one of a PostgreSQL cluster that this test process starts.

use std::io::BufRead as _;
use std::io::BufReader;
use std::path::Path;
use std::process::Stdio;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use sqlx::AnyPool;

/// Which database a server keeps its state in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Database {
    Sqlite,
    Postgres,
}

/// The PostgreSQL cluster of this test process.
pub(crate) struct Cluster {
    dir: String,
    /// When this ends, with the process at the latest, the cluster goes.
    _script: std::process::Child,
}

impl Cluster {
    #[allow(clippy::disallowed_methods, reason = "a test may start what it needs")]
    fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/postgres.sh");
        // A session of its own, so that whatever ends the tests does not end it before it has cleaned up.
        let mut command = std::process::Command::new("setsid");
        if rustix::process::geteuid().is_root() {
            command.args(["runuser", "-u", "postgres", "--"]);
        }
        command.args(["sh", "-c"]).arg(std::fs::read_to_string(script).unwrap()).current_dir("/");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut dir = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut dir).unwrap();
        assert!(dir.starts_with("/tmp/tagalong-pg."), "PostgreSQL does not start; is postgresql-15 installed? {dir}");
        Self { dir: dir.trim().to_owned(), _script: child }
    }

    /// The address of a new, empty database.
    pub(crate) async fn new_database() -> String {
        Self::make("").await
    }

    /// The address of a new, empty database whose tables lie in `folder`, which the server must be able to write.
    #[allow(dead_code, reason = "of those who share this, the disk is full for one only")]
    pub(crate) async fn new_database_in(folder: &Path) -> String {
        Self::make(&folder.display().to_string()).await
    }

    async fn make(folder: &str) -> String {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        static LAST: AtomicU32 = AtomicU32::new(0);
        sqlx::any::install_default_drivers();
        let cluster = tokio::task::spawn_blocking(|| CLUSTER.get_or_init(Cluster::start)).await.unwrap();
        let name = format!("t{}", LAST.fetch_add(1, Ordering::Relaxed));
        let url = |name: &str| format!("postgres://tagalong@localhost/{name}?host={}", cluster.dir);
        let pool = AnyPool::connect(&url("postgres")).await.unwrap();
        let mut place = String::new();
        if !folder.is_empty() {
            let space = format!("CREATE TABLESPACE small{name} LOCATION '{folder}'");
            sqlx::query(sqlx::AssertSqlSafe(space)).execute(&pool).await.unwrap();
            place = format!(" TABLESPACE small{name}");
        }
        sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}{place}"))).execute(&pool).await.unwrap();
        pool.close().await;
        url(&name)
    }
}
