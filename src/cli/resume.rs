//! `tagalong resume`.

use clap_complete::ArgValueCompleter;

use crate::api;
use crate::cli::client::Client;
use crate::cli::complete;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::model::ServiceName;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The service
    #[arg(add = ArgValueCompleter::new(complete::services))]
    service: ServiceName,
}

pub(crate) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    let done: api::Done = Client::new(global)?.act(&format!("/api/v1/services/{}/resume", args.service)).await?;
    output.done(&done);
    Ok(0)
}
