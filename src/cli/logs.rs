//! `tagalong logs`.

use clap_complete::ArgValueCompleter;

use crate::api;
use crate::cli::client::Client;
use crate::cli::complete;
use crate::cli::follow;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::which::Which;
use crate::model::State;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The deployment: its id, a unique beginning or end of the id, or a service for its newest deployment
    #[arg(value_name = "ID|SERVICE", value_parser = Which::parse, add = ArgValueCompleter::new(complete::deployments))]
    which: Which,
    /// Follow the deployment to its end, and exit with the exit code of its outcome
    #[arg(long, short)]
    follow: bool,
}

pub(crate) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    let client = Client::new(global)?;
    let id = args.which.find(&client).await?;
    let deployment: api::Deployment = client.get(&format!("/api/v1/deployments/{id}")).await?;
    let ended = matches!(deployment.state, State::Done { .. });
    if args.follow || ended {
        let code = follow::follow(&client, output, &id).await?;
        // Reading the journal of a failed deployment is not a failure itself.
        return Ok(if args.follow { code } else { 0 });
    }
    follow::so_far(&client, output, &id).await?;
    Ok(0)
}
