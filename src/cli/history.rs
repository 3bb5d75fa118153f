//! `tagalong history`.

use crate::api;
use crate::cli::Global;
use crate::cli::client::Client;
use crate::cli::output::Output;
use crate::cli::output::Tone;
use crate::clock;
use crate::model::ServiceName;
use crate::model::State;
use crate::model::WaitsFor;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The service
    service: ServiceName,
    /// How many
    #[arg(long, short = 'n', default_value_t = 20)]
    limit: u32,
}

pub(crate) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    let client = Client::new(global)?;
    let page: api::Deployments = client.get(&format!("/api/v1/deployments?service={}&limit={}", args.service, args.limit)).await?;
    if output.is_json() {
        output.json(&page);
        return Ok(0);
    }
    if page.deployments.is_empty() && page.unreadable.is_empty() {
        output.say(&format!("{} has no deployments yet.", args.service));
    }
    for one in &page.deployments {
        let (word, tone) = match &one.state {
            State::Waiting { waits_for: WaitsFor::Turn } => ("waiting".to_owned(), Tone::Faint),
            State::Waiting { waits_for } => (format!("for {}", waits_for.as_str()), Tone::Faint),
            State::Running { step } => (format!("at {step}"), Tone::Strong),
            State::Done { outcome } if outcome.is_success() => (outcome.name().to_owned(), Tone::Good),
            State::Done { outcome } => (outcome.name().to_owned(), Tone::Bad),
        };
        let tag = one.tag.as_ref().map_or("-", |tag| tag.as_str());
        let shown = output.paint(tone, &format!("{word:<15}"));
        output.say(&format!("{}  {}  {shown}  {:<8}  {tag:<16}  {}", one.id, clock::local(one.created_ms), one.kind.as_str(), one.caller));
    }
    for fault in &page.unreadable {
        output.say(&format!("{} {fault}", output.paint(Tone::Bad, "!")));
    }
    Ok(0)
}
