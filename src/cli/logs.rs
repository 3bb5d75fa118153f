//! `tagalong logs`.

use crate::api;
use crate::cli::Global;
use crate::cli::client::Client;
use crate::cli::follow;
use crate::cli::output::Output;
use crate::model::DeploymentId;
use crate::model::State;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The deployment
    id: DeploymentId,
    /// Follow it to its end and end with the exit code of its outcome
    #[arg(long, short)]
    follow: bool,
}

pub(crate) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    let client = Client::new(global)?;
    let deployment: api::Deployment = client.get(&format!("/api/v1/deployments/{}", args.id)).await?;
    let ended = matches!(deployment.state, State::Done { .. });
    if args.follow || ended {
        let code = follow::follow(&client, output, &args.id).await?;
        // Reading an old journal is no failure, whatever it tells.
        return Ok(if args.follow { code } else { 0 });
    }
    follow::so_far(&client, output, &args.id).await?;
    Ok(0)
}
