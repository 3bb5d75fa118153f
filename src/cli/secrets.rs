//! `tagalong secrets`.

mod manifest;
mod put;
mod say;
mod sync;

use crate::cli::global::Global;
use crate::cli::output::Output;

pub(super) use say::Line;
pub(super) use say::say;
pub(super) use sync::How;
pub(super) use sync::put_all;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Args {
    /// Put what the tables `[[secret]]` and `[[variable]]` of the configuration name where they say
    ///
    /// Shows for each whether it was created, updated or unchanged. What fails does not keep the others, and the next run tries it again.
    Sync(sync::Args),
    /// Put one secret or variable at a forge, with a value from a file, the environment or standard input
    Put(put::Args),
}

pub(crate) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    match args {
        Args::Sync(args) => sync::run(global, output, args).await,
        Args::Put(args) => put::run(global, output, args).await,
    }
}
