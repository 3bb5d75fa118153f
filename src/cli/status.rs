//! `tagalong status`.

use clap_complete::ArgValueCompleter;
use smoke::Report;

use crate::api;
use crate::api::GuardNow;
use crate::api::Says;
use crate::api::Word;
use crate::cli::agent::show_uplink;
use crate::cli::client::Client;
use crate::cli::complete;
use crate::cli::global::Global;
use crate::cli::hosts;
use crate::cli::looks;
use crate::cli::output::Output;
use crate::cli::output::Tone;
use crate::cli::output::duration;
use crate::cli::output::harmless;
use crate::clock;
use crate::model::Guard;
use crate::model::Outcome;
use crate::model::ServiceName;
use crate::model::State;
use crate::model::WaitsFor;
use crate::model::WatchState;

/// The exit code when a service is not well.
const NOT_WELL: u8 = 20;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 every service shown is well, has nothing yet or is being deployed · 20 one is DOWN, UNHEALTHY, DRIFT or UNKNOWN · 1 error"
)]
pub(crate) struct Args {
    /// The service [default: all]
    #[arg(add = ArgValueCompleter::new(complete::services))]
    service: Option<ServiceName>,
    /// Show which calls were refused since the server began, and why
    #[arg(long, conflicts_with = "service")]
    refused: bool,
}

pub(crate) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    let client = Client::new(global)?;
    if args.refused {
        refused(output, &client.get("/api/v1/refused").await?);
        return Ok(0);
    }
    let mut looks = None;
    let mut notifiers = Vec::new();
    let services = if let Some(name) = &args.service {
        let service: api::Service = client.get(&format!("/api/v1/services/{name}")).await?;
        if output.is_json() {
            output.json(&service);
        } else if service.schedule.is_some() || service.watch.is_some() {
            looks = Some(client.get(&format!("/api/v1/services/{name}/looks")).await?);
        }
        vec![service]
    } else {
        let all: api::Services = client.get("/api/v1/services").await?;
        if output.is_json() {
            output.json(&all);
        } else if all.services.is_empty() {
            output.say("No service is configured; add a [service.NAME] to the configuration.");
        }
        notifiers = all.notifiers;
        all.services
    };
    for (at, service) in services.iter().enumerate().filter(|_| !output.is_json()) {
        if at > 0 {
            output.say("");
        }
        show(output, service, looks.as_ref());
    }
    for notifier in notifiers.iter().filter(|_| !output.is_json()) {
        show_notifier(output, notifier);
    }
    if args.service.is_none() && !output.is_json() {
        // A key for one service may not see it.
        let agents: Option<api::Agents> = client.get("/api/v1/agents").await.ok();
        if let Some(uplink) = agents.and_then(|agents| agents.uplink) {
            show_uplink(output, &uplink);
        }
    }
    Ok(if services.iter().any(|service| service.standing.word.is_bad()) { NOT_WELL } else { 0 })
}

/// Nothing is said of a notifier that has nothing to send, or whose messages are only on their way.
fn show_notifier(output: &Output, notifier: &api::Notifier) {
    let Some(why) = &notifier.why else { return };
    let api::Notifier { id, kind, owed, refused, dropped, tries, .. } = notifier;
    let lost = if *dropped == 0 { String::new() } else { format!("; {dropped} were dropped so far, since too many were owed") };
    let since = notifier.since_ms.map_or_else(String::new, |at_ms| format!(" since {}", ago(at_ms)));
    let (word, tone, text) = match (*refused, *tries) {
        (0, 0) => ("WAITS", Tone::Careful, format!("{owed} to send")),
        (0, _) => ("FAILS", Tone::Bad, format!("{owed} to send{since}, {tries} tries")),
        _ => ("REFUSED", Tone::Bad, format!("{refused} refused, {owed} to send; tried again after `systemctl reload tagalong`")),
    };
    output.say("");
    output.say(&format!("{} {} ({kind})", output.paint(tone, word), output.paint(Tone::Strong, &format!("notifier {id}"))));
    output.say(&output.wrapped(2, &format!("{text}{lost}: {}", harmless(why))));
}

fn refused(output: &Output, refused: &api::RefusedCalls) {
    if output.is_json() {
        return output.json(refused);
    }
    if refused.counts.is_empty() {
        return output.say("No call was refused since the server began.");
    }
    let counts: Vec<String> = refused.counts.iter().map(|(check, count)| format!("{check} {count}")).collect();
    output.say(&output.wrapped(0, &format!("Refused since the server began: {}.", counts.join(", "))));
    for call in &refused.calls {
        let address = call.address.as_deref().unwrap_or("the unix socket");
        let key = call.key.as_ref().map_or("an unknown key".to_owned(), |key| format!("key {key}"));
        let times = if call.count == 1 { String::new() } else { format!(", {} times", call.count) };
        let check = output.paint(Tone::Bad, &format!("{:<13}", call.check));
        output.say(&format!("{check} {} from {address}, {key}{times}", clock::local(call.last_ms)));
        output.say(&output.paint(Tone::Faint, &output.wrapped(4, &call.why)));
    }
}

/// The word first, then what mends it, then the facts.
fn show(output: &Output, service: &api::Service, looks: Option<&api::Looks>) {
    let standing = &service.standing;
    let tone = hosts::tone(standing.word);
    let word = standing.word.as_str();
    let word = if matches!(tone, Tone::Bad) { word.to_uppercase() } else { word.to_owned() };
    output.say(&format!("{} {}", output.paint(tone, &word), output.paint(Tone::Strong, service.name.as_str())));
    let page = Page { output };
    if let Some(why) = &standing.why {
        page.fact("why", tone, why);
    }
    if let Some(mend) = &standing.mend {
        page.fact(if standing.word.is_bad() { "mend" } else { "next" }, Tone::Strong, mend);
    }
    page.incidents(service);
    page.releases(service);
    page.at_work(service);
    page.watched(service, looks);
    page.away(service);
    page.owed(service);
    page.ways_back(service);
}

/// Facts below each other, in two columns.
struct Page<'a> {
    output: &'a Output,
}

impl Page<'_> {
    /// Where the second column begins.
    const INDENT: usize = 13;

    fn fact(&self, name: &str, tone: Tone, text: &str) {
        let text = self.output.wrapped(Self::INDENT, text);
        let text = text.trim_start().replace('\n', "\n\u{0}");
        // Each line is painted by itself, since a colour does not reach over margins.
        let lines: Vec<String> = text.split("\n\u{0}").map(|line| self.painted(tone, line)).collect();
        self.output.say(&format!("  {} {}", self.output.paint(Tone::Faint, &format!("{name:<10}")), lines.join("\n")));
    }

    fn painted(&self, tone: Tone, line: &str) -> String {
        let words = line.trim_start();
        format!("{}{}", &line[..line.len() - words.len()], self.output.paint(tone, words))
    }

    /// What is live in the record, and what runs now.
    fn releases(&self, service: &api::Service) {
        match &service.live {
            Some(live) => self.fact("live", Tone::Good, &record(live)),
            None => self.fact("live", Tone::Faint, "no release was verified yet"),
        }
        match now(service) {
            Some(now) => self.fact("runs now", Tone::Strong, &now),
            None if service.standing.word == Word::Unknown => self.fact("runs now", Tone::Careful, "unknown"),
            None => self.fact("runs now", Tone::Bad, "nothing"),
        }
        if let Some(report) = service.live.as_ref().and_then(|live| live.report.as_ref()) {
            let (tone, text) = smoke(report);
            self.fact("smoke", tone, &text);
        }
        for (tone, line) in hosts::lines(service) {
            self.fact("host", tone, &line);
        }
        for pinned in &service.pinned {
            self.fact("pinned", Tone::Faint, pinned);
        }
        for one in &service.containers {
            let is_good = one.state == "running" && one.health.as_deref() != Some("unhealthy");
            let tone = if is_good || one.exit_code == Some(0) { Tone::Good } else { Tone::Bad };
            self.fact("container", tone, &container(one));
        }
    }

    /// What was done last, what is done now, and what is held back.
    fn at_work(&self, service: &api::Service) {
        if let Some(last) = &service.last
            && let Some(summary) = &last.summary
        {
            let ago = ago(last.ended_ms.unwrap_or(last.created_ms));
            let tag = last.tag.as_ref().map_or("", |tag| tag.as_str());
            let name = if let State::Done { outcome } = &last.state { outcome.name() } else { "" };
            self.fact("last", Tone::Careful, &format!("{name} {ago}: {} {tag} {}: {summary}", last.kind.as_str(), last.id));
        }
        if let Some(next) = service.next_step.as_ref().filter(|next| service.standing.mend.as_ref() != Some(next)) {
            self.fact("next", Tone::Strong, next);
        }
        for (name, one) in [("running", &service.running), ("waiting", &service.waiting)] {
            if let Some(one) = one {
                let for_what = match &one.state {
                    State::Waiting { waits_for: WaitsFor::Turn } | State::Running { .. } | State::Done { .. } => String::new(),
                    State::Waiting { waits_for } => {
                        let since = one.waits_since_ms.map_or(String::new(), |since_ms| format!(" since {}", ago(since_ms)));
                        format!(" (for {}{since})", waits_for.as_str())
                    }
                };
                self.fact(name, Tone::Strong, &format!("{} {}{for_what}", one.id, one.tag.as_ref().map_or("", |tag| tag.as_str())));
            }
        }
        for (name, text) in [("held", service.held.as_deref()), ("blocked", blocked(service))] {
            if let Some(text) = text {
                self.fact(name, Tone::Careful, text);
            }
        }
        // What holds the service was said already.
        for GuardNow { guard, says, why } in service.guards.iter().filter(|now| now.guard != Guard::Held) {
            let tone = match says {
                Says::Passes | Says::Asks => Tone::Faint,
                Says::Waits => Tone::Careful,
                Says::Refuses => Tone::Bad,
            };
            self.fact("guard", tone, &format!("{} {}: {why}", guard.as_str(), says.as_str()));
        }
    }

    /// What was found wrong and is not over.
    fn incidents(&self, service: &api::Service) {
        for incident in &service.incidents {
            let text = format!("{} {}, since {}: {}", incident.kind.as_str(), incident.id, ago(incident.opened_ms), incident.what);
            self.fact("incident", Tone::Bad, &text);
        }
    }

    /// How the release is watched, and what the last looks have seen.
    fn watched(&self, service: &api::Service, looks: Option<&api::Looks>) {
        if let Some(watch) = &service.watch {
            let (tone, text) = watched(watch);
            self.fact("watch", tone, &text);
        }
        if let Some(line) = looks.and_then(|looks| looks::line(looks, self.output.draws())) {
            self.fact("looks", Tone::Faint, &line);
        }
    }

    /// How long the page was away during the last deployment, beside those before it.
    fn away(&self, service: &api::Service) {
        let Some((last, before)) = service.away.split_first() else { return };
        let before: Vec<String> = before.iter().map(|one| one.measured.in_short()).collect();
        let beside = if before.is_empty() { String::new() } else { format!("; away in the deployments before: {}", before.join(", ")) };
        self.fact("page", Tone::Faint, &format!("during {} {}{beside}", last.deployment, last.measured));
    }

    /// What the forge is still to be told; nothing is said of what is only on its way.
    fn owed(&self, service: &api::Service) {
        for owed in &service.owed {
            let about = format!("the forge is still to be told the {} of {}", owed.what, owed.deployment);
            match (owed.refused_ms, &owed.why) {
                (Some(at_ms), why) => {
                    let why = why.as_deref().unwrap_or_default();
                    let by_itself = owed.retry_ms.map_or_else(String::new, |at_ms| format!("by itself at {} and ", clock::utc(at_ms)));
                    let then = format!("It is tried again {by_itself}after `systemctl reload tagalong`.");
                    self.fact("forge", Tone::Bad, &format!("{about}, but refused it {}: {why} {then}", ago(at_ms)));
                }
                (None, Some(why)) => {
                    self.fact("forge", Tone::Careful, &format!("{about}, {} tries since {}: {why}", owed.tries, ago(owed.since_ms)));
                }
                (None, None) => {}
            }
        }
    }

    fn ways_back(&self, service: &api::Service) {
        for candidate in &service.rollback_candidates {
            let tag = candidate.tag.as_ref().map_or("(no tag)", |tag| tag.as_str());
            let gone = if candidate.gone.is_empty() { "" } else { "; its image is gone from this host, so going back pulls it again" };
            let left = if candidate.left { "; a rollback left it, so it is skipped unless you name it with --to" } else { "" };
            let tone = if candidate.gone.is_empty() && !candidate.left { Tone::Faint } else { Tone::Careful };
            self.fact("back to", tone, &format!("{tag} verified {}, {}{left}{gone}", ago(candidate.at_ms), candidate.deployment));
        }
    }
}

/// What blocks the service, unless it stands behind `why` already.
fn blocked(service: &api::Service) -> Option<&str> {
    let why = service.standing.why.as_deref().unwrap_or_default().trim_end_matches('.');
    service.blocked.as_deref().filter(|blocked| blocked.trim_end_matches('.') != why)
}

fn ago(at_ms: i64) -> String {
    format!("{} ago", duration(clock::now_ms() - at_ms))
}

/// How the watch over the live release stands.
fn watched(watch: &api::Watch) -> (Tone, String) {
    let looks = if watch.looks == 1 { "1 look".to_owned() } else { format!("{} looks", watch.looks) };
    let why = watch.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
    let last = watch.last_ms.zip(watch.last);
    let last = last.map_or(String::new(), |(at_ms, last)| format!(", the last one {} ({})", ago(at_ms), last.as_str()));
    let until = watch.until_ms.map_or(String::new(), |until_ms| format!(" until {}", clock::local(until_ms)));
    let placed = watch.placed.as_ref().map_or(String::new(), |placed| format!(" by {placed}"));
    match watch.state {
        WatchState::Watching if watch.bad > 0 => {
            (Tone::Bad, format!("the release is watched{until}; {looks}{last}, {} bad in a row{why}", watch.bad))
        }
        WatchState::Watching => (Tone::Good, format!("the release is watched{until}; {looks}{last}{why}")),
        WatchState::Passed => (Tone::Faint, format!("the release passed its watch{until} ({looks}{last}){why}")),
        WatchState::WentBack => (Tone::Careful, format!("the release failed while it was watched and is rolled back{placed}{why}")),
        WatchState::Left => (Tone::Bad, format!("the release failed while it was watched and needs an operator{why}")),
        WatchState::Overtaken => (Tone::Faint, format!("the release is not watched any more{why}")),
    }
}

/// The release that is live in the record. Without a look at its page nothing but its health is known.
fn record(live: &api::Deployment) -> String {
    let tag = live.tag.as_ref().map_or("(no tag)", |tag| tag.as_str());
    let at = ago(live.ended_ms.unwrap_or(live.created_ms));
    let is_seen = !matches!(&live.state, State::Done { outcome: Outcome::Live { page_seen: false, .. } });
    let how = if is_seen { format!("verified {at}") } else { format!("healthy {at}; the page was not looked at") };
    format!("{tag} {how}, {} by {}", live.id, live.caller)
}

/// What runs now, of the images that the release consists of.
fn now(service: &api::Service) -> Option<String> {
    let is_of = |image: &str, pin: &str| pin.split(['@', ' ']).next().is_some_and(|pin| image.starts_with(repository(pin)));
    let is_running = |one: &&api::Container| matches!(one.state.as_str(), "running" | "restarting");
    let running: Vec<&api::Container> = service.containers.iter().filter(is_running).collect();
    let pinned = |one: &&&api::Container| service.pinned.iter().any(|pin| is_of(&one.image, pin));
    let mut images: Vec<&str> = running.iter().filter(pinned).map(|one| short(&one.image)).collect();
    if images.is_empty() {
        images = running.iter().map(|one| short(&one.image)).collect();
    }
    images.sort_unstable();
    images.dedup();
    (!images.is_empty()).then(|| images.join(", "))
}

/// A reference without its digest.
fn short(image: &str) -> &str {
    image.split('@').next().unwrap_or(image)
}

/// A reference without tag and digest.
fn repository(image: &str) -> &str {
    let name = short(image);
    name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(name, |(repository, _)| repository)
}

fn container(one: &api::Container) -> String {
    let health = one.health.as_ref().map_or(String::new(), |health| format!(", {health}"));
    let code = one.exit_code.map_or(String::new(), |code| format!(" (exit code {code})"));
    let host = one.host.as_ref().map_or(String::new(), |host| format!("{host}: "));
    format!("{host}{} {}{code}{health}", one.name, one.state)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::blocked;
    use crate::api;

    /// A Docker that hangs is one reason, not two.
    #[test]
    fn what_blocks_a_service_is_said_once() {
        let service = |why: &str, blocked: &str| -> api::Service {
            let standing = json!({"word": "unknown", "why": why});
            serde_json::from_value(
                json!({"name": "web", "standing": standing, "blocked": blocked, "pinned": [], "containers": [], "rollback_candidates": []}),
            )
            .unwrap()
        };
        let hangs = service("Docker said nothing for 5 s.", "Docker said nothing for 5 s");
        assert_eq!(blocked(&hangs), None);
        let busy = service("Docker said nothing for 5 s.", "ID has been at up for 9 s; Docker said nothing for 5 s");
        assert_eq!(blocked(&busy), busy.blocked.as_deref());
    }
}
