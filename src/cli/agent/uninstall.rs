//! `tagalong agent uninstall`: a host is no agent any more, and its stacks run on.

use crate::api;
use crate::api::AgentState;
use crate::cli::agent::install::seen;
use crate::cli::agent::plan::Changed;
use crate::cli::agent::remote::PROGRAM;
use crate::cli::agent::target::Target;
use crate::cli::agent::target::show_taken;
use crate::cli::client::Client;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::model::AgentName;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// The name of the agent [default: NAME of the host in the configuration, or the first part of HOST]
    #[arg(long)]
    name: Option<AgentName>,
}

pub(super) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    let (mut remote, is_configured) = args.target.remote(global, args.name.as_ref())?;
    let client = Client::new(global)?;
    let facts = remote.facts().await?;
    if !is_configured {
        show_taken(output, &remote)?;
    }
    let mut changed = Vec::new();
    if facts.installed.is_some() {
        if !is_configured && args.name.is_none() {
            let typed = remote.name.clone();
            remote.take_enrolled_name().await?;
            // What a host says must not choose whose keys are revoked.
            anyhow::ensure!(
                remote.name == typed,
                "{} says that it is enrolled as the agent {}, and would be {typed} by its address; nothing was changed. Say with --name which agent is to \
                 be revoked.",
                remote.address(),
                remote.name
            );
        }
        changed = remote.asked::<Changed>(PROGRAM, "remove", None).await?.changed;
    } else if facts.is_packaged {
        anyhow::bail!("tagalong was installed on {} by a package; remove that there (`apt-get remove tagalong`).", remote.address());
    }
    if seen(&client, &remote.name).await?.is_some_and(|agent| !agent.keys.is_empty() && agent.state != AgentState::Revoked) {
        let _: api::Done = client.act(&format!("/api/v1/agents/{}/revoke", remote.name)).await?;
        changed.push("its keys were revoked".to_owned());
    }
    if output.is_json() {
        output.json(&serde_json::json!({ "name": remote.name, "changed": changed }));
        return Ok(0);
    }
    for change in &changed {
        output.say(&format!("  {change}"));
    }
    let what = if changed.is_empty() { "had no agent; nothing was changed" } else { "is no agent any more" };
    output.say(&format!("{} {what}. Its stacks keep running; /etc/tagalong and its data folder stay there.", remote.name));
    Ok(0)
}
