//! `tagalong tags`.

use clap_complete::ArgValueCompleter;

use crate::api;
use crate::cli::client::Client;
use crate::cli::complete;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::output::Tone;
use crate::clock;
use crate::model::ServiceName;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The service
    #[arg(add = ArgValueCompleter::new(complete::services))]
    service: ServiceName,
    /// How many tags to show
    #[arg(long, short = 'n', default_value_t = 20)]
    limit: usize,
}

pub(crate) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    let all: api::Tags = Client::new(global)?.get(&format!("/api/v1/services/{}/tags", args.service)).await?;
    if output.is_json() {
        output.json(&all);
        return Ok(0);
    }
    if all.tags.is_empty() {
        let registry = if all.registry_fault.is_none() { ", and the registry lists none" } else { "" };
        output.say(&format!("There are no tags of {} yet: nothing was verified here{registry}.", args.service));
    }
    let width = all.tags.iter().take(args.limit).map(|tag| tag.tag.as_str().len()).max().unwrap_or(0);
    for tag in all.tags.iter().take(args.limit) {
        show(output, tag, width);
    }
    if let Some(fault) = &all.registry_fault {
        output.say(&format!("{} Only verified tags are listed. {fault}", output.paint(Tone::Careful, "!")));
    }
    if all.tags.len() > args.limit {
        output.say(&format!("{} more; show them with -n {}", all.tags.len() - args.limit, all.tags.len()));
    } else if all.has_more {
        output.say("The registry has more tags than are listed.");
    }
    Ok(0)
}

fn show(output: &Output, tag: &api::KnownTag, width: usize) {
    let (word, tone) = match (tag.live, tag.verified_ms) {
        (true, _) => ("live", Tone::Good),
        (false, Some(_)) => ("verified", Tone::Strong),
        (false, None) => ("-", Tone::Faint),
    };
    let digest = tag.digest.as_ref().map_or("-", |digest| digest.short());
    let at = tag.verified_ms.or(tag.built_ms).map_or_else(|| "-".to_owned(), clock::local);
    let mut facts: Vec<&str> = tag.platforms.iter().map(String::as_str).collect();
    if tag.on_host == Some(true) {
        facts.push("on the host");
    }
    if tag.in_registry == Some(false) {
        facts.push("no longer in the registry");
    }
    if tag.moved {
        facts.push("the registry has another image under this tag now");
    }
    let line = format!("{:<width$}  {}  {digest}  {at}  {}", tag.tag.as_str(), output.paint(tone, &format!("{word:<8}")), facts.join(", "));
    output.say(line.trim_end());
}
