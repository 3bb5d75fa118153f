//! `tagalong prove`: asked of a new version beside the one that it is to replace.

use std::path::PathBuf;

use crate::app;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::config::Config;
use crate::model::DeploymentId;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The deployment that brings this version; none: it comes by `tagalong agent upgrade`
    #[arg(value_parser = DeploymentId::parse)]
    deployment: Option<DeploymentId>,
    /// A copy of the SQLite store, which stays as it is
    #[arg(long, value_name = "FILE")]
    copy: Option<PathBuf>,
}

pub(crate) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    let config = Config::load(&global.config)?;
    app::prove(config, args.deployment.as_ref(), args.copy.as_deref()).await?;
    output.say(&format!("tagalong {} can take over", env!("CARGO_PKG_VERSION")));
    Ok(0)
}
