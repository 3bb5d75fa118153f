//! `tagalong history`.

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
use crate::model::State;
use crate::model::WaitsFor;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The service
    #[arg(add = ArgValueCompleter::new(complete::services))]
    service: ServiceName,
    /// How many deployments to show
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
        // A service that is no longer configured may have a history; one that never existed is a typo.
        client.get::<api::Service>(&format!("/api/v1/services/{}", args.service)).await?;
        output.say(&format!("{} has no deployments yet.", args.service));
    }
    for one in &page.deployments {
        show(output, one);
    }
    for fault in &page.unreadable {
        output.say(&format!("{} {fault}", output.paint(Tone::Bad, "!")));
    }
    Ok(0)
}

/// A line of facts; and a second one for why it was ordered and why it did not go well, where there is something to say.
fn show(output: &Output, one: &api::Deployment) {
    let (word, tone) = match &one.state {
        State::Waiting { waits_for: WaitsFor::Turn } => ("waiting".to_owned(), Tone::Faint),
        State::Waiting { waits_for } => (format!("for {}", waits_for.as_str()), Tone::Faint),
        State::Running { step } => (format!("at {step}"), Tone::Strong),
        State::Done { outcome } if outcome.is_success() => (outcome.name().to_owned(), Tone::Good),
        State::Done { outcome } => (outcome.name().to_owned(), Tone::Bad),
    };
    let tag = one.tag.as_ref().map_or("-", |tag| tag.as_str());
    let took = one.started_ms.zip(one.ended_ms).map_or_else(|| "-".to_owned(), |(from, to)| duration(to - from));
    let word = output.paint(tone, &format!("{word:<15}"));
    let when = clock::local(one.created_ms);
    output.say(&format!("{}  {when}  {word}  {:<8}  {tag:<16}  {took:>7}  {}", one.id, one.kind.as_str(), one.caller));
    let is_bad = matches!(&one.state, State::Done { outcome } if !outcome.is_success());
    let reason = one.reason.as_ref().map(|reason| format!("reason: {reason}"));
    let why = one.summary.as_ref().filter(|_| is_bad).cloned();
    for line in reason.into_iter().chain(why) {
        output.say(&output.paint(Tone::Faint, &output.wrapped(4, &line)));
    }
}
