//! `tagalong restore`.

use std::fs::File;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::app;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::clock;
use crate::config::Config;
use crate::line;
use crate::line::Memory;
use crate::store::AUDIT_HEAD_FILE;
use crate::store::SQLITE_FILE;

/// The state of a server, file by file.
const FILES: [&str; 5] = [SQLITE_FILE, "tagalong.db-wal", "tagalong.db-shm", "executor-id", AUDIT_HEAD_FILE];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder that `tagalong backup` created
    folder: PathBuf,
}

/// The old state is moved aside, never overwritten.
pub(crate) fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    let config = Config::load(&global.config)?;
    anyhow::ensure!(config.store.postgres.is_none(), "The state is in PostgreSQL; restore it with pg_restore.");
    let from = args.folder.join(SQLITE_FILE);
    let head = std::fs::read(&from)
        .with_context(|| format!("{} could not be read; name a folder that `tagalong backup` created", from.display()))?;
    anyhow::ensure!(
        head.starts_with(b"SQLite format 3\0"),
        "{} is not a database; name a folder that `tagalong backup` created.",
        from.display()
    );
    let data_dir = &config.server.data_dir;
    let _lock = app::lock_data_dir(data_dir)?;
    // Whatever can fail for want of room or rights is done before anything is moved.
    let beside = tempfile::Builder::new().prefix("restoring-").tempdir_in(data_dir).context("The data folder cannot be written")?;
    let restored = copied(&args.folder, beside.path())?;
    // An agent that was revoked since then stays revoked.
    Memory::of(beside.path()).take_revocations(&Memory::of(data_dir))?;
    let aside = data_dir.join(format!("{}{}", app::ASIDE, clock::now_ms()));
    std::fs::create_dir(&aside)?;
    // A backup of an earlier version has no keys of agents: those that are there stay.
    for name in FILES.iter().chain(line::KEY_FILES.iter().filter(|name| restored.contains(name))) {
        let old = data_dir.join(name);
        if old.exists() {
            std::fs::rename(&old, aside.join(name)).with_context(|| format!("{} could not be moved aside", old.display()))?;
        }
    }
    for name in restored {
        let new = data_dir.join(name);
        std::fs::rename(beside.path().join(name), &new).with_context(|| format!("{} could not be put in place", new.display()))?;
    }
    File::open(data_dir)?.sync_all()?;
    beside.close()?;
    app::close_data_dir(data_dir)?;
    output.fact("restored", &data_dir.display().to_string());
    output.fact("moved aside", &aside.display().to_string());
    Ok(0)
}

/// Copies what the backup has of the state into `to`, where it is on disk when this returns; gives the names.
fn copied(backup: &Path, to: &Path) -> anyhow::Result<Vec<&'static str>> {
    let mut names = Vec::new();
    for name in FILES.into_iter().chain(line::KEY_FILES).filter(|name| backup.join(name).exists()) {
        let copy = to.join(name);
        std::fs::copy(backup.join(name), &copy).with_context(|| format!("{} could not be copied", backup.join(name).display()))?;
        File::open(&copy)?.sync_all()?;
        names.push(name);
    }
    Ok(names)
}
