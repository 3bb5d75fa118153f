//! `/agents`: the hosts of agents, whether each is there and why not, and what stands on it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web;
use askama::Template;
use serde::Deserialize;

use crate::api;
use crate::api::AgentState;
use crate::config::Service;
use crate::executor::Seat;
use crate::http::Shared;
use crate::http::asks::SeeHosts;
use crate::http::auth::Needs;
use crate::http::auth::Page;
use crate::http::auth::PageError;
use crate::http::dashboard::link;
use crate::http::dashboard::page::Frame;
use crate::http::dashboard::page::Place;
use crate::http::dashboard::page::answer;
use crate::http::dashboard::words;
use crate::http::dashboard::words::Moment;
use crate::http::dashboard::words::Pill;
use crate::http::dashboard::words::Tone;
use crate::http::dashboard::words::many;
use crate::http::dashboard::words::sentence;
use crate::http::dashboard::words::span;
use crate::http::enrolment;
use crate::line::Hello;
use crate::model::AgentName;
use crate::model::ServiceName;
use crate::orders;
use crate::store::Recorded;
use crate::store::StoreError;

/// How many hosts a page shows.
const MOST: usize = 40;
/// How many of its services are shown for each.
const MOST_SERVICES: usize = 12;
/// How many hosts the overview shows.
const MOST_BRIEF: usize = 8;
/// How often it is asked for again.
const FRESH_S: u32 = 5;
/// A clock that is further off than this is said to be; less may be the way.
const CLOCK_MS: i64 = 5000;

#[derive(Template)]
#[template(path = "agents.html")]
struct Agents {
    frame: Frame,
    summary: String,
    query: String,
    is_filtered: bool,
    first: Option<String>,
    next: Option<String>,
    hosts: Vec<Host>,
    problems: Vec<String>,
    uplink: Option<Uplink>,
    may_operate: bool,
}

/// A host.
pub(super) struct Host {
    pub(super) name: AgentName,
    pub(super) pill: Pill,
    /// Since when it is so; none: it never was there.
    pub(super) since: Option<Moment>,
    why: Option<String>,
    /// What was refused that came with its key from elsewhere.
    clone: Option<(String, Moment)>,
    program: Option<String>,
    facts: Option<String>,
    clock: Option<String>,
    /// Whether this server dials it; then a code would enrol nobody under its name.
    is_by_ssh: bool,
    is_revoked: bool,
    /// Whether an agent of its name has keys that count.
    may_revoke: bool,
    services: Vec<Placed>,
    more: usize,
}

/// A service on a host.
struct Placed {
    name: ServiceName,
    tag: Option<String>,
    /// What is pinned, whole.
    images: String,
    pill: Option<Pill>,
}

/// The line of this server to its own control plane.
struct Uplink {
    url: String,
    name: AgentName,
    since: Option<Moment>,
    why: String,
}

/// What the address may say.
#[derive(Debug, Default, Deserialize)]
pub(in crate::http) struct Query {
    /// A part of the name.
    #[serde(default)]
    q: String,
    /// How many hosts stand on the pages before.
    #[serde(default)]
    from: usize,
}

pub(in crate::http) async fn show(page: Page<SeeHosts>, shared: web::Data<Shared>) -> Result<HttpResponse, PageError> {
    let query: Query = page.viewer.query()?;
    let api::Agents { agents: enrolled, hosts: dialled, uplink, problems } = enrolment::agents(&shared).await?;
    let asked = query.q.trim().to_lowercase();
    let mut hosts = hosts(&shared, &enrolled, &dialled);
    let summary = summary(&hosts);
    hosts.retain(|host| host.name.as_str().contains(&asked));
    // What a person should look at comes first.
    hosts.sort_by_key(|host| (Reverse(rank(host)), host.name.clone()));
    let has_more = hosts.len() > query.from.saturating_add(MOST);
    let mut shown: Vec<Host> = hosts.into_iter().skip(query.from).take(MOST).collect();
    place_services(&shared, &mut shown).await?;
    let find = Some(asked.as_str()).filter(|asked| !asked.is_empty());
    let next = query.from.saturating_add(MOST).to_string();
    let agents = Agents {
        frame: Frame { fresh_s: FRESH_S, ..Frame::of(&page.viewer, Place::Agents) },
        summary,
        is_filtered: find.is_some(),
        first: (query.from > 0).then(|| link::address("/agents", &[("q", find)])),
        next: has_more.then(|| link::address("/agents", &[("q", find), ("from", Some(&next))])),
        hosts: shown,
        problems,
        uplink: uplink.map(of_uplink),
        may_operate: page.viewer.may_all(&Needs::operator()),
        query: query.q.clone(),
    };
    Ok(answer(StatusCode::OK, &agents))
}

/// What the overview shows of hosts: how they stand, and the first few, those first that a person should look at. None: there is none.
pub(super) async fn brief(shared: &Shared) -> Result<Option<(String, Vec<Host>)>, StoreError> {
    let enrolled = shared.lines.presence.views(&shared.store.agents().await?);
    let mut hosts = hosts(shared, &enrolled, &shared.deployer.agents().dialled());
    let summary = summary(&hosts);
    hosts.retain(|host| !host.is_revoked);
    hosts.sort_by_key(|host| (Reverse(rank(host)), host.name.clone()));
    hosts.truncate(MOST_BRIEF);
    Ok((!hosts.is_empty()).then_some((summary, hosts)))
}

/// Every host that was enrolled or is dialled, without its services. One that is both is shown as its line by ssh stands.
fn hosts(shared: &Shared, enrolled: &[api::Agent], dialled: &[api::Agent]) -> Vec<Host> {
    let agents = shared.deployer.agents();
    let mut all: BTreeMap<&AgentName, Host> = BTreeMap::new();
    for agent in enrolled {
        all.insert(&agent.name, host(agent, false, &agents.seat_of(&agent.name), agents.why_not(&agent.name)));
    }
    for agent in dialled {
        let dialled = host(agent, true, &agents.seat_of(&agent.name), agents.why_not(&agent.name));
        let may_revoke = all.get(&agent.name).is_some_and(|enrolled| enrolled.may_revoke);
        all.insert(&agent.name, Host { may_revoke, ..dialled });
    }
    all.into_values().collect()
}

fn host(agent: &api::Agent, is_by_ssh: bool, seat: &Seat, why_not: Option<String>) -> Host {
    let hello = seat.hello();
    let is_revoked = agent.state == AgentState::Revoked;
    Host {
        name: agent.name.clone(),
        pill: state(agent.state, is_by_ssh),
        since: (agent.state != AgentState::Never).then_some(Moment(agent.since_ms)),
        why: why(agent.state, is_by_ssh, seat, why_not),
        clone: agent.clone.as_ref().map(|clone| (clone.what.clone(), Moment(clone.at_ms))),
        program: hello.map(|hello| hello.program.clone()),
        facts: hello.and_then(|hello| facts(hello)),
        clock: seat.attached().and_then(|attached| clock(attached.since_ms - attached.hello.host.now_ms)),
        is_by_ssh,
        is_revoked,
        may_revoke: !is_by_ssh && !is_revoked,
        services: Vec::new(),
        more: 0,
    }
}

/// How it stands.
fn state(state: AgentState, is_by_ssh: bool) -> Pill {
    match state {
        AgentState::Online => Pill::new(Tone::Good, "online"),
        AgentState::Stuck => Pill::new(Tone::Bad, "stuck"),
        AgentState::Away => Pill::new(Tone::Bad, "away"),
        AgentState::Never if is_by_ssh => Pill::new(Tone::Warn, "not reached yet"),
        AgentState::Never => Pill::new(Tone::Wait, "not connected yet"),
        AgentState::Revoked => Pill::new(Tone::Still, "revoked"),
    }
}

/// What its state means, where the word does not say it. `why_not` says why nothing can be asked of it.
fn why(state: AgentState, is_by_ssh: bool, seat: &Seat, why_not: Option<String>) -> Option<String> {
    match state {
        AgentState::Stuck => Some("It answers pings, and does not take what it is sent.".to_owned()),
        AgentState::Never if !is_by_ssh => Some("Its host was enrolled and has not opened its line since.".to_owned()),
        AgentState::Away | AgentState::Never => why_not.map(|why| sentence(&why)),
        AgentState::Online if seat.attached().is_none() && seat.hello().is_some() => {
            Some("It is back, and what it has to tell is being stored.".to_owned())
        }
        AgentState::Online | AgentState::Revoked => None,
    }
}

/// What its host is, in one line.
fn facts(hello: &Hello) -> Option<String> {
    let host = &hello.host;
    let parts: Vec<&str> = [host.name.as_str(), &host.system, &host.architecture].into_iter().filter(|part| !part.is_empty()).collect();
    (!parts.is_empty()).then(|| parts.join(" · "))
}

/// By how much its clock is off: `behind_ms` behind ours.
fn clock(behind_ms: i64) -> Option<String> {
    let way = if behind_ms > 0 { "behind" } else { "ahead" };
    (behind_ms.abs() > CLOCK_MS).then(|| format!("Its clock is {} {way}.", span(behind_ms.abs())))
}

fn rank(host: &Host) -> u8 {
    match (host.clone.is_some() && !host.is_revoked, host.pill.tone) {
        (true, _) | (_, Tone::Bad) => 3,
        (_, Tone::Warn | Tone::Wait) => 2,
        (_, Tone::Good | Tone::Busy) => 1,
        (_, Tone::Still) => 0,
    }
}

fn summary(hosts: &[Host]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for host in hosts {
        match counts.iter_mut().find(|(word, _)| *word == host.pill.word) {
            Some((_, count)) => *count += 1,
            None => counts.push((&host.pill.word, 1)),
        }
    }
    let counts = counts.into_iter().map(|(word, count)| format!("{count} {word}"));
    [many(hosts.len(), "host")].into_iter().chain(counts).collect::<Vec<_>>().join(" · ")
}

/// What stands on these hosts, as the record has it: nobody is asked.
async fn place_services(shared: &Shared, hosts: &mut [Host]) -> Result<(), StoreError> {
    let config = shared.config.now();
    let mut on_host: BTreeMap<&AgentName, Vec<&Service>> = BTreeMap::new();
    for service in config.services.values() {
        for agent in service.stack.agents() {
            on_host.entry(agent).or_default().push(service);
        }
    }
    let placed = |host: &Host| on_host.get(&host.name).into_iter().flatten().take(MOST_SERVICES).map(|service| (&service.name, 1));
    let asked: Vec<(&ServiceName, usize)> = hosts.iter().flat_map(placed).collect();
    let mut recorded = shared.store.recorded(&asked).await?.into_iter().zip(asked).collect::<Vec<_>>().into_iter();
    for host in hosts {
        let all = on_host.get(&host.name).map_or(0, Vec::len);
        host.more = all.saturating_sub(MOST_SERVICES);
        host.services = recorded.by_ref().take(all.min(MOST_SERVICES)).map(|(recorded, (name, _))| service(name, &recorded)).collect();
    }
    Ok(())
}

fn service(name: &ServiceName, recorded: &Recorded) -> Placed {
    let live = recorded.live().map(orders::view);
    let at_work = recorded.running().or_else(|| recorded.waiting()).map(|one| Pill::of(one.order.kind, &one.state));
    // Where the hold cannot be read, CI's orders are refused as well.
    let held = || (!matches!(recorded.hold, Ok(None))).then(|| Pill::new(Tone::Warn, "held"));
    Placed {
        name: name.clone(),
        tag: live.as_ref().map(words::tag),
        images: live.map(|live| live.images.join(", ")).unwrap_or_default(),
        pill: at_work.or_else(held),
    }
}

fn of_uplink(uplink: api::Uplink) -> Uplink {
    let why = uplink.why.unwrap_or_else(|| "The control plane is being dialled.".to_owned());
    Uplink { url: uplink.url, name: uplink.name, since: uplink.online_ms.map(Moment), why }
}

#[cfg(test)]
mod tests {
    use super::clock;

    #[test]
    fn a_clock_is_said_to_be_off_only_where_it_is() {
        assert_eq!(clock(4000), None);
        assert_eq!(clock(600_000).as_deref(), Some("Its clock is 10 min 0 s behind."));
        assert_eq!(clock(-7000).as_deref(), Some("Its clock is 7.0 s ahead."));
    }
}
