//! `tagalong cancel`.

use clap_complete::ArgValueCompleter;

use crate::api;
use crate::cli::client::Client;
use crate::cli::complete;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::which::Which;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The deployment: its id, a unique beginning or end of the id, or a service for its newest deployment
    #[arg(value_name = "ID|SERVICE", value_parser = Which::parse, add = ArgValueCompleter::new(complete::deployments))]
    which: Which,
}

pub(crate) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    let client = Client::new(global)?;
    let id = args.which.find(&client).await?;
    let done: api::Done = client.act(&format!("/api/v1/deployments/{id}/cancel")).await?;
    output.done(&done);
    Ok(0)
}
