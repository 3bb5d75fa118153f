//! `tagalong backup`.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::app;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::config::Config;
use crate::line;
use crate::store::SQLITE_FILE;
use crate::store::Store;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder to create; it must not exist yet
    folder: PathBuf,
}

pub(crate) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    let config = Config::load(&global.config)?;
    anyhow::ensure!(config.store.postgres.is_none(), "The state is in PostgreSQL; back it up with pg_dump.");
    let data_dir = &config.server.data_dir;
    anyhow::ensure!(
        data_dir.join(SQLITE_FILE).exists(),
        "{} does not contain a database yet; start `tagalong serve` first.",
        data_dir.display()
    );
    // What it holds is as secret as the data folder.
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&args.folder)
        .with_context(|| format!("The folder {} could not be created; name one that does not exist yet", args.folder.display()))?;
    let store = Store::open(data_dir, None).await?;
    store.copy_to(&args.folder.join(SQLITE_FILE)).await?;
    store.close().await;
    let id = data_dir.join("executor-id");
    std::fs::copy(&id, args.folder.join("executor-id")).with_context(|| format!("{} could not be copied", id.display()))?;
    for name in line::KEY_FILES.into_iter().filter(|name| data_dir.join(name).exists()) {
        std::fs::copy(data_dir.join(name), args.folder.join(name)).with_context(|| format!("{name} could not be copied"))?;
    }
    app::close_data_dir(&args.folder)?;
    output.fact("backup", &args.folder.display().to_string());
    Ok(0)
}
