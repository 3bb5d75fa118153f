//! `tagalong rollback`.

use clap_complete::ArgValueCompleter;

use crate::api;
use crate::cli::client::Client;
use crate::cli::complete;
use crate::cli::follow;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::model::DeploymentId;
use crate::model::RollbackTo;
use crate::model::ServiceName;
use crate::model::Tag;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The service, as the configuration names it
    #[arg(add = ArgValueCompleter::new(complete::services))]
    service: ServiceName,
    /// The release to restore: previous, a tag, or the id of a deployment
    #[arg(long, default_value = "previous", value_name = "TAG|ID|previous", value_parser = target, add = ArgValueCompleter::new(complete::ways_back))]
    to: RollbackTo,
    /// Return as soon as the order is accepted
    #[arg(long)]
    no_wait: bool,
    /// The reason, for the record
    #[arg(long, short = 'm')]
    reason: Option<String>,
    /// Roll back even if a release in between says that it must not be undone
    #[arg(long)]
    force: bool,
}

/// A ULID is the id of a deployment; anything else is a tag.
fn target(text: &str) -> Result<RollbackTo, String> {
    if text == "previous" {
        return Ok(RollbackTo::Previous);
    }
    if text.len() == 26
        && let Ok(id) = DeploymentId::parse(text)
    {
        return Ok(RollbackTo::Deployment(id));
    }
    Tag::parse(text).map(RollbackTo::Tag).map_err(|error| error.to_string())
}

pub(crate) async fn run(global: &Global, output: &Output, args: Args) -> anyhow::Result<u8> {
    let client = Client::new(global)?;
    let ask = api::NewRollback { service: args.service, to: args.to, run_url: None, actor: None, reason: args.reason, force: args.force };
    let accepted: api::Accepted = client.post("/api/v1/rollbacks", &ask).await?;
    follow::accepted(&client, output, &accepted, !args.no_wait).await
}
