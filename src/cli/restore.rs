//! `tagalong restore`.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::app;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::clock;
use crate::config::Config;
use crate::line;
use crate::store::AUDIT_HEAD_FILE;
use crate::store::SQLITE_FILE;

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
    let aside = data_dir.join(format!("{}{}", app::ASIDE, clock::now_ms()));
    std::fs::create_dir(&aside)?;
    for name in [SQLITE_FILE, "tagalong.db-wal", "tagalong.db-shm", "executor-id", AUDIT_HEAD_FILE] {
        let old = data_dir.join(name);
        if old.exists() {
            std::fs::rename(&old, aside.join(name)).with_context(|| format!("{} could not be moved aside", old.display()))?;
        }
        let new = args.folder.join(name);
        if new.exists() {
            std::fs::copy(&new, &old).with_context(|| format!("{} could not be written", old.display()))?;
        }
    }
    // A backup of an earlier version has no keys of agents: those that are there stay.
    for name in line::KEY_FILES.into_iter().filter(|name| args.folder.join(name).exists()) {
        let own = data_dir.join(name);
        if own.exists() {
            std::fs::rename(&own, aside.join(name)).with_context(|| format!("{} could not be moved aside", own.display()))?;
        }
        std::fs::copy(args.folder.join(name), &own).with_context(|| format!("{} could not be written", own.display()))?;
    }
    app::close_data_dir(data_dir)?;
    output.fact("restored", &data_dir.display().to_string());
    output.fact("moved aside", &aside.display().to_string());
    Ok(0)
}
