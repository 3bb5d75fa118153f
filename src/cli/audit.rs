//! `tagalong audit`.

use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::config::Config;
use crate::store::Store;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Args {
    /// Read the whole audit trail and report whether an entry was changed or removed
    Verify {
        /// A hash that you noted earlier: the trail must still contain its entry
        #[arg(long, value_name = "HASH")]
        head: Option<String>,
    },
}

pub(crate) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    let Args::Verify { head } = args;
    let config = Config::load(&global.config)?;
    let store = Store::open(&config.server.data_dir, config.store.postgres.as_ref()).await?;
    let (entries, last) = store.verify_audit(head.as_deref()).await??;
    output.fact("entries", &entries.to_string());
    output.fact("last hash", &last);
    Ok(0)
}
