//! `tagalong retry`.

use crate::api;
use crate::cli::Global;
use crate::cli::client::Client;
use crate::cli::follow;
use crate::cli::output::Output;
use crate::model::DeploymentId;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The ended deployment
    id: DeploymentId,
    /// Follow it and end with the exit code of its outcome
    #[arg(long, short)]
    wait: bool,
}

pub(crate) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    let client = Client::new(global)?;
    let accepted: api::Accepted = client.act(&format!("/api/v1/deployments/{}/retry", args.id)).await?;
    follow::accepted(&client, output, &accepted, args.wait).await
}
