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
use crate::model::OrderKind;
use crate::model::Outcome;
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

/// A line of facts, and below it who ordered it, why, and how it ended.
fn show(output: &Output, one: &api::Deployment) {
    let (word, tone) = match &one.state {
        State::Waiting { waits_for: WaitsFor::Turn } => ("waiting".to_owned(), Tone::Faint),
        State::Waiting { waits_for } => (format!("for {}", waits_for.as_str()), Tone::Faint),
        State::Running { step } => (format!("at {step}"), Tone::Strong),
        State::Done { outcome } => {
            let tone = if outcome.is_success() { Tone::Good } else { Tone::Bad };
            (done(one.kind, outcome).to_owned(), tone)
        }
    };
    let tag = one.tag.as_ref().map_or("-", |tag| tag.as_str());
    let word = output.paint(tone, &format!("{word:<15}"));
    output.say(&format!("{}  {}  {word}  {tag}", one.id, clock::local(one.created_ms)));
    let took = one.took_ms.map_or(String::new(), |took| format!(", took {}", duration(took)));
    let cause = one.cause.as_ref().map(|cause| cause.replacen(' ', " of ", 1)).unwrap_or_default();
    let comma = if cause.is_empty() { "" } else { ", " };
    let mut facts = vec![format!("{} by {}{took}{comma}{cause}", one.kind.as_str(), one.caller)];
    let approved = one.approval.iter().flat_map(|approval| &approval.by).map(|by| format!("{} ({})", by.who, by.via));
    let approved: Vec<String> = approved.collect();
    facts.extend((!approved.is_empty()).then(|| format!("approved by {}", approved.join(" and "))));
    facts.extend(one.away.map(|away| away.to_string()));
    facts.extend(one.reason.as_ref().filter(|reason| **reason != cause).map(|reason| format!("reason: {reason}")));
    // What went as it was ordered needs no more words.
    let is_plain = matches!(&one.state, State::Done { outcome: Outcome::Live { warnings, page_seen: true } } if warnings.is_empty());
    facts.extend(one.summary.clone().filter(|_| !is_plain || one.kind != OrderKind::Deploy));
    for fact in facts {
        output.say(&output.paint(Tone::Faint, &output.wrapped(4, &fact)));
    }
}

/// How it ended, in a word: what worked reads as what was ordered.
fn done(kind: OrderKind, outcome: &Outcome) -> &'static str {
    match (kind, outcome) {
        (OrderKind::Rollback, Outcome::Live { .. }) => "rollback done",
        (OrderKind::Repair, Outcome::Live { .. }) => "repaired",
        (OrderKind::Adopt, Outcome::Live { .. }) => "adopted",
        _ => outcome.name(),
    }
}
