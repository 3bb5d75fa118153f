//! `tagalong retry`.

use clap_complete::ArgValueCompleter;

use crate::api;
use crate::cli::client::Client;
use crate::cli::complete;
use crate::cli::follow;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::which::Which;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The deployment to repeat: its id, a unique beginning or end of the id, or a service for its newest deployment
    #[arg(value_name = "ID|SERVICE", value_parser = Which::parse, add = ArgValueCompleter::new(complete::deployments))]
    which: Which,
    /// Return as soon as the order is accepted
    #[arg(long)]
    no_wait: bool,
}

pub(crate) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    let client = Client::new(global)?;
    let id = args.which.find(&client).await?;
    let accepted: api::Accepted = client.act(&format!("/api/v1/deployments/{id}/retry")).await?;
    follow::accepted(&client, output, &accepted, !args.no_wait).await
}
