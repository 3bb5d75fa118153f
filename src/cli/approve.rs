//! `tagalong approve`.

use std::path::PathBuf;

use clap_complete::ArgValueCompleter;
use text::without_controls;

use crate::api;
use crate::cli::client::Client;
use crate::cli::complete;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::typed;
use crate::cli::which::Which;
use crate::clock;
use crate::model::Code;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The deployment: its id, a unique beginning or end of the id, or a service for its newest deployment
    #[arg(value_name = "ID|SERVICE", value_parser = Which::parse, add = ArgValueCompleter::new(complete::deployments))]
    which: Which,
    /// Read the code from this file, or from standard input (-), instead of asking for it
    #[arg(long, value_name = "FILE")]
    code_file: Option<PathBuf>,
}

pub(crate) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    let client = Client::new(global)?;
    let id = args.which.find(&client).await?;
    let code = if let Some(file) = &args.code_file {
        typed::read(file)?
    } else {
        let order: api::Deployment = client.get(&format!("/api/v1/deployments/{id}")).await?;
        ask(&order).await?
    };
    // What cannot be a code is no try.
    let code = Code::parse(&code).map_err(anyhow::Error::msg)?.grouped();
    let done: api::Done = client.post(&format!("/api/v1/deployments/{id}/approval"), &api::NewApproval { code }).await?;
    output.done(&done);
    Ok(0)
}

/// Shows what is to be approved on the terminal and asks for the code, which is not shown there.
async fn ask(order: &api::Deployment) -> anyhow::Result<String> {
    let none = "There is no terminal to ask for the code; give it in a file with --code-file FILE, or on standard input with --code-file -";
    typed::ask(&question(order), none, "Nothing was approved.").await
}

/// What is to be approved, and the question. Words from outside cannot steer the terminal.
fn question(order: &api::Deployment) -> String {
    let tag = order.tag.as_ref().map_or("", |tag| tag.as_str());
    let by = order.actor.as_ref().map_or_else(|| order.caller.clone(), |actor| format!("{actor} ({})", order.caller));
    let mut lines =
        vec![format!("{} {tag} of {}, ordered by {by} at {}", order.kind.as_str(), order.service, clock::local(order.created_ms))];
    for (name, value) in [("reason", &order.reason), ("commit", &order.commit), ("waits", &order.waits_why)] {
        lines.extend(value.as_ref().map(|value| format!("  {name}: {value}")));
    }
    lines.extend(order.approval.iter().flat_map(|approval| &approval.images).map(|image| format!("  image: {image}")));
    let lines: Vec<String> = lines.iter().map(|line| without_controls(line)).collect();
    format!("{}\nCode for {}: ", lines.join("\n"), order.id)
}
