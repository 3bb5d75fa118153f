//! `/services/{name}`: everything about one service.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web;
use askama::Template;
use serde::Deserialize;

use crate::api;
use crate::api::Says;
use crate::api::Word;
use crate::http::Shared;
use crate::http::auth::Page;
use crate::http::auth::PageError;
use crate::http::auth::Viewer;
use crate::http::dashboard::asks::SeeService;
use crate::http::dashboard::hosts;
use crate::http::dashboard::hosts::Host;
use crate::http::dashboard::incidents::Shown;
use crate::http::dashboard::link;
use crate::http::dashboard::overview;
use crate::http::dashboard::page::Frame;
use crate::http::dashboard::page::Place;
use crate::http::dashboard::page::answer;
use crate::http::dashboard::plot;
use crate::http::dashboard::rows::Row;
use crate::http::dashboard::steps;
use crate::http::dashboard::words;
use crate::http::dashboard::words::Moment;
use crate::http::dashboard::words::Pill;
use crate::http::dashboard::words::Tone;
use crate::http::dashboard::words::sentence;
use crate::http::dashboard::words::spaced;
use crate::http::dashboard::words::span;
use crate::http::error::ApiError;
use crate::model::DeploymentId;
use crate::model::Outcome;
use crate::model::ServiceName;
use crate::model::State;
use crate::model::Verb;
use crate::orders;
use crate::orders::Depth;
use crate::orders::Glimpse;
use crate::orders::SeenWhen;
use crate::store::Deployment;
use crate::store::Filter;

/// How many deployments of the history a page shows.
const MOST: i64 = 20;
/// How many deployments the plot of steps shows.
const MOST_PLOTTED: usize = 20;
/// How many points the plot of the page has.
const MOST_POINTS: usize = 120;

#[derive(Template)]
#[template(path = "service.html")]
struct Service {
    frame: Frame,
    name: ServiceName,
    url: Option<String>,
    pill: Pill,
    said: Option<(Tone, String, Option<String>)>,
    acts: Vec<Act>,
    /// Whether its containers were ever seen.
    is_seen: bool,
    may_go_back: bool,
    live: Option<Live>,
    working: Vec<Row>,
    pinned: Vec<String>,
    files: Option<String>,
    hosts: Vec<Host>,
    containers: Vec<(Tone, api::Container)>,
    back: Vec<Back>,
    history: Vec<Row>,
    states: Vec<(&'static str, String, bool)>,
    next: Option<String>,
    is_further: bool,
    page: Option<PageSeen>,
    guards: Vec<(Tone, &'static str, &'static str, String)>,
    incidents: Vec<Shown>,
    watched: Vec<(&'static str, String)>,
    steps: Vec<Stacked>,
    slowest: String,
}

/// Something that this person may do to it.
struct Act {
    name: &'static str,
    /// The last part of the page's address.
    verb: &'static str,
    /// Whether it is what one does most.
    is_main: bool,
}

/// The live release.
struct Live {
    id: String,
    tag: String,
    at: Moment,
    who: String,
    commit: Option<String>,
    run: Option<String>,
    images: Vec<String>,
    is_unseen: bool,
}

/// A release that can be restored.
struct Back {
    id: String,
    tag: String,
    at: Moment,
    note: Option<&'static str>,
}

/// How the page was over time.
struct PageSeen {
    pill: Pill,
    at: String,
    status: Option<i64>,
    latency: Option<String>,
    certificate: Option<(Tone, String)>,
    curve: Option<plot::Curve>,
    bad: Vec<plot::Bar>,
    since: Option<Moment>,
    away: Option<String>,
}

/// The steps of one deployment, above each other.
struct Stacked {
    id: String,
    title: String,
    parts: Vec<(String, String, String, String, &'static str)>,
}

/// What the address may say.
#[derive(Debug, Default, Deserialize)]
pub(in crate::http) struct Query {
    #[serde(default)]
    state: String,
    before: Option<DeploymentId>,
}

pub(in crate::http) async fn show(page: Page<SeeService>, shared: web::Data<Shared>) -> Result<HttpResponse, PageError> {
    let Page { viewer, ask: SeeService(service) } = page;
    let query: Query = viewer.query()?;
    let state = Some(query.state.clone()).filter(|state| !state.is_empty());
    let known = || State::NAMES.into_iter().chain(Outcome::NAMES);
    if state.as_ref().is_some_and(|state| !known().any(|name| name == state)) {
        return Err(ApiError::bad_request("There is no such state; choose one of the list.").into());
    }
    let Some(Glimpse { state: now, seen }) = shared.deployer.glimpses(&[Arc::clone(&service)], Depth::Whole).await?.pop() else {
        return Err(ApiError::not_found("There is no such service.").into());
    };
    let Some(now) = shared.watcher.dressed(vec![now]).await?.pop() else {
        return Err(ApiError::not_found("There is no such service.").into());
    };
    let filter = Filter { service: Some(service.name.clone()), state, before: query.before.clone(), limit: MOST };
    let found = shared.store.list(&filter).await?;
    let is_full = found.deployments.len() + found.unreadable.len() == MOST as usize;
    let path = format!("/services/{}", service.name);
    let keep = ("state", Some(query.state.as_str()).filter(|state| !state.is_empty()));
    let looks = shared.watcher.looks(&service.name).await?;
    let (steps, slowest) = stacked(&shared, &found.deployments).await?;
    let is_busy = now.running.is_some() || now.waiting.is_some();
    let fresh_s = match (seen, is_busy) {
        (SeenWhen::Now, false) => 6,
        (SeenWhen::Now, true) => 2,
        _ => 1,
    };
    let shown = Service {
        frame: Frame { fresh_s, ..Frame::of(&viewer, Place::Overview) },
        name: service.name.clone(),
        url: service.smoke.as_ref().and_then(|smoke| link::of_the_web(Some(smoke.plan.url.as_str()))),
        pill: if seen == SeenWhen::NotYet { Pill::new(Tone::Wait, "not seen yet") } else { Pill::standing(now.standing.word) },
        said: words::seen(seen).map(|seen| (Tone::Wait, sentence(&seen), None)).or_else(|| standing_said(&now)),
        is_seen: seen != SeenWhen::NotYet,
        acts: acts(&viewer, &now),
        may_go_back: viewer.may_on(Verb::Rollback, &now.name),
        live: now.live.as_ref().map(live),
        working: now.running.iter().chain(&now.waiting).map(Row::of).collect(),
        pinned: now.pinned.clone(),
        files: now.files.clone(),
        hosts: hosts::of_service(&now),
        containers: now.containers.iter().map(|one| (tone_of(one), one.clone())).collect(),
        back: now.rollback_candidates.iter().map(back).collect(),
        history: found.deployments.iter().map(|one| Row::of(&orders::view(one))).collect(),
        states: known().map(|name| (name, spaced(name), name == query.state)).collect(),
        next: found.last.as_ref().filter(|_| is_full).map(|last| link::address(&path, &[keep, ("before", Some(last.as_str()))])),
        is_further: query.before.is_some(),
        page: page_seen(&now, &looks),
        guards: now.guards.iter().map(guard).collect(),
        incidents: now.incidents.iter().map(Shown::of).collect(),
        watched: watched(&now),
        steps,
        slowest,
    };
    Ok(answer(StatusCode::OK, &shown))
}

/// What is said at the top: what is wrong, and what a person does about it on the host.
fn standing_said(now: &api::Service) -> Option<(Tone, String, Option<String>)> {
    if let Some(why) = now.standing.why.as_ref().filter(|_| now.standing.word != Word::Deploying) {
        let tone = match now.standing.word {
            Word::Empty => Tone::Busy,
            Word::Unknown => Tone::Warn,
            _ => Tone::Bad,
        };
        return Some((tone, why.clone(), now.standing.mend.clone()));
    }
    if let Some(blocked) = &now.blocked {
        return Some((Tone::Warn, blocked.clone(), None));
    }
    let held = now.held.as_ref()?;
    Some((Tone::Warn, sentence(held.split("; `").next().unwrap_or(held)), None))
}

fn acts(viewer: &Viewer, now: &api::Service) -> Vec<Act> {
    let may_go_back = viewer.may_on(Verb::Rollback, &now.name);
    let mends_by = |verb: &str| now.standing.mend.as_deref().is_some_and(|mend| mend.starts_with(verb));
    let is_broken = now.live.is_some() && now.standing.word.is_bad() && now.standing.word != Word::Unknown;
    let all = [
        (may_go_back && now.held.is_some(), "Resume…", "resume", false),
        (may_go_back && mends_by("tagalong adopt"), "Adopt…", "adopt", false),
        (may_go_back && is_broken, "Repair…", "repair", false),
        (may_go_back && !now.rollback_candidates.is_empty(), "Roll back…", "rollback", false),
        (viewer.may_on(Verb::Deploy, &now.name), "Deploy…", "deploy", true),
    ];
    all.into_iter().filter(|(may, ..)| *may).map(|(_, name, verb, is_main)| Act { name, verb, is_main }).collect()
}

fn live(live: &api::Deployment) -> Live {
    Live {
        id: live.id.to_string(),
        tag: words::tag(live),
        at: Moment(live.ended_ms.unwrap_or(live.created_ms)),
        who: words::who(live),
        commit: live.commit.as_deref().map(|commit| words::short(commit).to_owned()),
        run: link::of_the_web(live.run_url.as_deref()),
        images: live.images.clone(),
        is_unseen: words::is_unseen(live),
    }
}

fn back(one: &api::Candidate) -> Back {
    let note = match (one.gone.is_empty(), one.left) {
        (_, true) => Some("a rollback left it"),
        (false, _) => Some("is pulled again"),
        _ => None,
    };
    let tag = one.tag.as_ref().map_or_else(|| "(no tag)".to_owned(), ToString::to_string);
    Back { id: one.deployment.to_string(), tag, at: Moment(one.at_ms), note }
}

fn tone_of(one: &api::Container) -> Tone {
    match (one.state.as_str(), one.health.as_deref(), one.exit_code) {
        ("running", Some("unhealthy"), _) => Tone::Bad,
        ("running", Some("starting"), _) => Tone::Busy,
        ("running", ..) => Tone::Good,
        (_, _, Some(0)) => Tone::Still,
        _ => Tone::Bad,
    }
}

fn guard(now: &api::GuardNow) -> (Tone, &'static str, &'static str, String) {
    let tone = match now.says {
        Says::Passes => Tone::Good,
        Says::Asks => Tone::Still,
        Says::Waits => Tone::Wait,
        Says::Refuses => Tone::Bad,
    };
    (tone, now.guard.as_str(), now.says.as_str(), now.why.clone())
}

/// How it is watched, in words.
fn watched(now: &api::Service) -> Vec<(&'static str, String)> {
    let line = |watch: &api::Watch| {
        let looks = words::many(usize::try_from(watch.looks).unwrap_or(0), "look");
        let until = watch.until_ms.map_or(String::new(), |until_ms| format!(" until {}", Moment(until_ms).utc()));
        let bad = if watch.bad > 0 { format!(", {} bad in a row", watch.bad) } else { String::new() };
        let why = watch.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
        format!("{}{until}, {looks}{bad}{why}", spaced(watch.state.as_str()))
    };
    let release = now.watch.as_ref().map(|watch| ("Release", line(watch)));
    let page = now.schedule.as_ref().map(|watch| ("Schedule", format!("every {} s, {}", watch.every_s, line(watch))));
    release.into_iter().chain(page).collect()
}

/// How the page was, and is.
fn page_seen(now: &api::Service, looks: &api::Looks) -> Option<PageSeen> {
    let (pill, at) = overview::page(now)?;
    let report = now.live.as_ref().and_then(|live| live.report.as_ref());
    // Hours show a week; before there are enough of them, each look shows itself.
    let all = if looks.hours.len() > 6 { &looks.hours } else { &looks.looks };
    let all = &all[all.len().saturating_sub(MOST_POINTS)..];
    let last = looks.looks.last();
    let points: Vec<Option<i64>> = all.iter().map(|look| look.latency_ms).collect();
    let bar = |look: &api::Look| {
        let said = if look.rules.is_empty() { String::new() } else { format!(": {}", look.rules.join(", ")) };
        (look.bad as f64, format!("{} of {} bad, {}{said}", look.bad, look.looks, Moment(look.at_ms).utc()), "bad")
    };
    let certificate = report.and_then(|report| report.certificate.as_ref()).map(|certificate| {
        let tone = match certificate.days_left {
            ..3 => Tone::Bad,
            3..14 => Tone::Warn,
            _ => Tone::Good,
        };
        (tone, certificate.lasts())
    });
    let latency = last.and_then(|look| look.latency_ms).or_else(|| i64::try_from(report?.latency_ms?).ok());
    Some(PageSeen {
        pill,
        at,
        status: last.and_then(|look| look.status).or_else(|| report?.status.map(i64::from)),
        latency: latency.map(span),
        certificate,
        curve: if points.len() > 1 { plot::curve(&points) } else { None },
        bad: if all.iter().any(|look| look.bad > 0) { plot::bars(&all.iter().map(bar).collect::<Vec<_>>()) } else { Vec::new() },
        since: all.first().map(|look| Moment(look.at_ms)),
        away: now.away.first().map(|one| one.measured.in_short()),
    })
}

/// The steps of the last deployments that were carried out, the oldest first, and how long the longest took.
async fn stacked(shared: &Shared, newest_first: &[Deployment]) -> Result<(Vec<Stacked>, String), PageError> {
    let mut all = Vec::new();
    for one in newest_first.iter().filter(|one| one.started_ms.is_some()).take(MOST_PLOTTED) {
        let mut sums = [0_i64; steps::GROUPS.len()];
        for part in shared.dashboard.steps.of(&shared.store, one).await?.iter() {
            sums[steps::group(part.step)] += part.to_ms - part.from_ms;
        }
        all.push((one, sums));
    }
    all.reverse();
    let top = all.iter().map(|(_, sums)| sums.iter().sum::<i64>()).max().unwrap_or(0);
    let wide = 100.0 / MOST_PLOTTED as f64;
    let first = MOST_PLOTTED - all.len();
    let drawn = all.iter().enumerate().map(|(at, (one, sums))| {
        let mut y = plot::HEIGHT;
        let parts = sums.iter().zip(steps::GROUPS).filter(|(sum, _)| **sum > 0).map(|(sum, (_, class))| {
            let height = *sum as f64 / top.max(1) as f64 * plot::HEIGHT;
            y -= height;
            let x = (first + at) as f64 * wide + wide * 0.1;
            (plot::short(x), plot::short(y), plot::short(wide * 0.8), plot::short(height), class)
        });
        let parts = parts.collect();
        let each = sums.iter().zip(steps::GROUPS).filter(|(sum, _)| **sum > 0).map(|(sum, (name, _))| format!("{name} {}", span(*sum)));
        let title = format!("{}: {}", words::tag(&orders::view(one)), each.collect::<Vec<_>>().join(", "));
        Stacked { id: one.id.to_string(), title, parts }
    });
    Ok((drawn.collect(), span(top)))
}
