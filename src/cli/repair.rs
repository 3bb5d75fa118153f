//! `tagalong repair`.

use clap_complete::ArgValueCompleter;

use crate::api;
use crate::cli::client::Client;
use crate::cli::complete;
use crate::cli::follow;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::model::ServiceName;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The service
    #[arg(add = ArgValueCompleter::new(complete::services))]
    service: ServiceName,
    /// Return as soon as the order is accepted
    #[arg(long)]
    no_wait: bool,
}

pub(crate) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    let client = Client::new(global)?;
    let accepted: api::Accepted = client.act(&format!("/api/v1/services/{}/repair", args.service)).await?;
    follow::accepted(&client, output, &accepted, !args.no_wait).await
}
