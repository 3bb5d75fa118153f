//! `tagalong status`.

use clap_complete::ArgValueCompleter;
use smoke::Report;

use crate::api;
use crate::cli::client::Client;
use crate::cli::complete;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::output::Tone;
use crate::cli::output::duration;
use crate::clock;
use crate::model::ServiceName;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The service [default: all]
    #[arg(add = ArgValueCompleter::new(complete::services))]
    service: Option<ServiceName>,
}

pub(crate) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    let client = Client::new(global)?;
    if let Some(name) = &args.service {
        let service: api::Service = client.get(&format!("/api/v1/services/{name}")).await?;
        if output.is_json() {
            output.json(&service);
        } else {
            show(output, &service);
        }
        return Ok(0);
    }
    let all: api::Services = client.get("/api/v1/services").await?;
    if output.is_json() {
        output.json(&all);
        return Ok(0);
    }
    if all.services.is_empty() {
        output.say("No service is configured; add a [service.NAME] to the configuration.");
    }
    for (at, service) in all.services.iter().enumerate() {
        if at > 0 {
            output.say("");
        }
        show(output, service);
    }
    Ok(0)
}

fn show(output: &Output, service: &api::Service) {
    let fact = |name: &str, text: &str| output.say(&format!("  {} {text}", output.paint(Tone::Faint, &format!("{name:<10}"))));
    output.say(&output.paint(Tone::Strong, service.name.as_str()));
    match &service.live {
        Some(live) => {
            let tag = live.tag.as_ref().map_or_else(|| "(no tag)".to_owned(), ToString::to_string);
            let ago = duration(clock::now_ms() - live.ended_ms.unwrap_or(live.created_ms));
            fact("live", &format!("{} verified {ago} ago, {} by {}", output.paint(Tone::Good, &tag), live.id, live.caller));
        }
        None => fact("live", "no verified release yet; deploy a tag, or `tagalong adopt` what runs"),
    }
    if let Some(report) = service.live.as_ref().and_then(|live| live.report.as_ref()) {
        let (tone, text) = smoke(report);
        fact("smoke", &output.paint(tone, &text));
    }
    for pinned in &service.pinned {
        fact("pinned", pinned);
    }
    if let Some(drift) = &service.drift {
        fact("drift", &output.paint(Tone::Careful, drift));
    }
    for container in &service.containers {
        let health = container.health.as_ref().map_or(String::new(), |health| format!(", {health}"));
        let tone = if container.state == "running" && container.health.as_deref() != Some("unhealthy") { Tone::Good } else { Tone::Bad };
        fact("container", &format!("{} {}", container.name, output.paint(tone, &format!("{}{health}", container.state))));
    }
    if let Some(running) = &service.running {
        fact("running", &format!("{} {}", running.id, running.tag.as_ref().map_or("", |tag| tag.as_str())));
    }
    if let Some(waiting) = &service.waiting {
        fact("waiting", &format!("{} {}", waiting.id, waiting.tag.as_ref().map_or("", |tag| tag.as_str())));
    }
    if let Some(held) = &service.held {
        fact("held", &output.paint(Tone::Careful, held));
    }
    if let Some(blocked) = &service.blocked {
        fact("blocked", &output.paint(Tone::Careful, blocked));
    }
    for candidate in &service.rollback_candidates {
        let tag = candidate.tag.as_ref().map_or("(no tag)", |tag| tag.as_str());
        let missing = output.paint(Tone::Careful, "; its image is gone from this host, so going back pulls it again");
        let missing = if candidate.gone.is_empty() { "" } else { missing.as_str() };
        fact("back to", &format!("{tag} verified {} ago, {}{missing}", duration(clock::now_ms() - candidate.at_ms), candidate.deployment));
    }
}

/// What the last look at the live release found: how much of it is new, and which rules it is about.
fn smoke(report: &Report) -> (Tone, String) {
    let counted = report.findings.len();
    if counted == 0 {
        return (Tone::Good, "nothing was found wrong".to_owned());
    }
    let new = report.findings.iter().filter(|finding| !finding.known).count();
    let since = report.since.as_ref().map_or(String::new(), |since| format!(", {new} of them new since {since}"));
    let plural = if counted == 1 { "" } else { "s" };
    (if report.passed() { Tone::Careful } else { Tone::Bad }, format!("{counted} finding{plural}{since}: {}", report.rules().join(", ")))
}
