//! `tagalong incidents`.

use clap_complete::ArgValueCompleter;

use crate::api;
use crate::cli::client::Client;
use crate::cli::complete;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::output::Tone;
use crate::cli::output::duration;
use crate::clock;
use crate::model::ServiceName;

/// The exit code when an incident is open.
const OPEN: u8 = 20;

#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 no incident is open · 20 one is · 1 error")]
pub(crate) struct Args {
    /// The service [default: all]
    #[arg(add = ArgValueCompleter::new(complete::services))]
    service: Option<ServiceName>,
    /// Show closed incidents as well
    #[arg(long)]
    all: bool,
    /// How many incidents to show
    #[arg(long, short = 'n', default_value_t = 50)]
    limit: u32,
}

pub(crate) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    let client = Client::new(global)?;
    let service = args.service.as_ref().map_or(String::new(), |service| format!("&service={service}"));
    let page: api::Incidents = client.get(&format!("/api/v1/incidents?all={}&limit={}{service}", args.all, args.limit)).await?;
    let is_open = page.incidents.iter().any(|incident| incident.closed_ms.is_none());
    if output.is_json() {
        output.json(&page);
    } else if page.incidents.is_empty() {
        output.say(if args.all { "There were no incidents." } else { "No incident is open." });
    }
    for incident in page.incidents.iter().filter(|_| !output.is_json()) {
        show(output, incident);
    }
    Ok(if is_open { OPEN } else { 0 })
}

fn show(output: &Output, incident: &api::Incident) {
    let (tone, word, since) = match incident.closed_ms {
        None => (Tone::Bad, "open", format!("for {}", duration(clock::now_ms() - incident.opened_ms))),
        Some(closed_ms) => (Tone::Faint, "closed", format!("after {}", duration(closed_ms - incident.opened_ms))),
    };
    let name = output.paint(Tone::Strong, incident.service.as_str());
    let word = output.paint(tone, word);
    output.say(&format!("{word} {name} {} {} {since}, opened {}", incident.kind.as_str(), incident.id, clock::local(incident.opened_ms)));
    output.say(&output.wrapped(4, &incident.what));
    if let Some(mend) = incident.mend.as_ref().filter(|_| incident.closed_ms.is_none()) {
        output.say(&output.paint(Tone::Strong, &output.wrapped(4, mend)));
    }
}
