//! `tagalong deploy`.

use clap_complete::ArgValueCompleter;

use crate::api;
use crate::cli::client::Client;
use crate::cli::complete;
use crate::cli::follow;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::model::Digest;
use crate::model::ServiceName;
use crate::model::Tag;
use crate::model::commit_text;
use crate::model::ref_text;
use crate::model::run_url_text;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The service, as the configuration names it
    #[arg(add = ArgValueCompleter::new(complete::services))]
    service: ServiceName,
    /// The tag to deploy
    #[arg(add = ArgValueCompleter::new(complete::tags))]
    tag: Tag,
    /// Return as soon as the order is accepted
    #[arg(long)]
    no_wait: bool,
    /// The digest that the tag must resolve to
    #[arg(long)]
    digest: Option<Digest>,
    /// The commit that the image was built from
    #[arg(long, value_parser = commit_text)]
    commit: Option<String>,
    /// The git ref that the image was built from
    #[arg(long = "ref", value_name = "REF", value_parser = ref_text)]
    git_ref: Option<String>,
    /// The address of the workflow run
    #[arg(long, value_name = "URL", value_parser = run_url_text)]
    run_url: Option<String>,
    /// The run number of the workflow: an order with a lower number than the live release is refused
    #[arg(long, value_name = "N")]
    run_number: Option<i64>,
    /// The reason, for the record
    #[arg(long, short = 'm')]
    reason: Option<String>,
    /// Change nothing: stop after the preflight and show what would be pinned
    #[arg(long)]
    dry_run: bool,
    /// Deploy even if the service is held, needs an operator, or a newer release is live; on the host itself, also past the refs, actors and
    /// checks of the service's source; with a reason, also during a freeze and against the policy
    #[arg(long)]
    force: bool,
}

pub(crate) async fn run(global: &Global, output: &Output, args: Args) -> anyhow::Result<u8> {
    let client = Client::new(global)?;
    let ask = api::NewDeployment {
        service: args.service,
        tag: args.tag,
        digest: args.digest,
        commit: args.commit,
        git_ref: args.git_ref,
        run_url: args.run_url,
        run_number: args.run_number,
        actor: None,
        reason: args.reason,
        dry_run: args.dry_run,
        force: args.force,
    };
    let accepted: api::Accepted = client.post("/api/v1/deployments", &ask).await?;
    follow::accepted(&client, output, &accepted, !args.no_wait).await
}
