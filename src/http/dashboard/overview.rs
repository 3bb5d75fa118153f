//! `/`: every service, and first what waits for a person.

use std::collections::HashSet;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web;
use askama::Template;
use serde::Deserialize;

use crate::api;
use crate::api::Word;
use crate::config::Service;
use crate::http::Shared;
use crate::http::auth::PageError;
use crate::http::auth::Viewer;
use crate::http::dashboard::agents;
use crate::http::dashboard::agents::Host;
use crate::http::dashboard::data;
use crate::http::dashboard::figures::Figure;
use crate::http::dashboard::link;
use crate::http::dashboard::page::Frame;
use crate::http::dashboard::page::Place;
use crate::http::dashboard::page::answer;
use crate::http::dashboard::strip;
use crate::http::dashboard::strip::Strip;
use crate::http::dashboard::waits;
use crate::http::dashboard::waits::Wait;
use crate::http::dashboard::words;
use crate::http::dashboard::words::Moment;
use crate::http::dashboard::words::Pill;
use crate::http::dashboard::words::Tone;
use crate::http::dashboard::words::many;
use crate::model::LookResult;
use crate::model::ServiceName;
use crate::model::Verb;
use crate::orders::Depth;
use crate::orders::SeenWhen;
use crate::store::Glance;

/// How many services a page shows.
const MOST: usize = 50;
/// How often it is asked for again; and while something is not known yet.
const FRESH_S: u32 = 5;
const SOON_S: u32 = 1;

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    frame: Frame,
    headline: String,
    summary: String,
    query: String,
    is_filtered: bool,
    /// The first page, if this is a further one, and the next.
    first: Option<String>,
    next: Option<String>,
    waits: Vec<Wait>,
    services: Vec<Row>,
    figures: Option<Vec<Figure>>,
    /// How hosts stand, and some of them; none: there is none, or they are not for this person.
    hosts: Option<(String, Vec<Host>)>,
    datasets: Vec<Data>,
}

impl Overview {
    fn has_pages(&self) -> bool {
        self.first.is_some() || self.next.is_some()
    }
}

/// What is shown of a release: its deployment, its tag, since when it is live, and by whom.
type Live = (String, String, Moment, String);

/// A service.
struct Row {
    name: ServiceName,
    pill: Pill,
    note: Option<String>,
    live: Option<Live>,
    /// What runs or waits.
    at_work: Option<(String, Pill, String)>,
    /// How its page was, and further words.
    page: Option<(Pill, String)>,
    strip: Strip,
}

/// A dataset.
struct Data {
    name: String,
    pill: Pill,
    loaded: Option<String>,
    loaded_at: Option<Moment>,
}

/// What the address may say.
#[derive(Debug, Default, Deserialize)]
pub(in crate::http) struct Query {
    /// A part of the name.
    #[serde(default)]
    q: String,
    /// The last service of the page before.
    after: Option<ServiceName>,
}

pub(in crate::http) async fn show(viewer: Viewer, shared: web::Data<Shared>) -> Result<HttpResponse, PageError> {
    Ok(answer(StatusCode::OK, &made(&viewer, &shared).await?))
}

async fn made(viewer: &Viewer, shared: &Shared) -> Result<Overview, PageError> {
    let query: Query = viewer.query()?;
    let config = shared.config.now();
    let readable: Vec<&Arc<Service>> = config.services.values().filter(|service| viewer.may_on(Verb::Read, &service.name)).collect();
    let asked = query.q.trim().to_lowercase();
    let mut found: Vec<Arc<Service>> = readable
        .iter()
        .filter(|service| service.name.as_str().contains(&asked))
        .filter(|service| query.after.as_ref().is_none_or(|after| service.name > *after))
        .map(|service| Arc::clone(service))
        .collect();
    let has_more = found.len() > MOST;
    found.truncate(MOST);
    let glimpses = shared.deployer.glimpses(&found, Depth::Brief).await?;
    let unseen = glimpses.iter().filter(|glimpse| glimpse.seen != SeenWhen::Now).count();
    let (seen, states): (Vec<SeenWhen>, Vec<api::Service>) = glimpses.into_iter().map(|glimpse| (glimpse.seen, glimpse.state)).unzip();
    let states = shared.watcher.dressed(states).await?;
    let names: Vec<&ServiceName> = readable.iter().map(|service| &service.name).collect();
    // What was not seen yet does not wait for a person.
    let known: Vec<&api::Service> =
        states.iter().zip(&seen).filter(|(_, seen)| **seen != SeenWhen::NotYet).map(|(state, _)| state).collect();
    let waits = waits::all(viewer, shared, &names, &known).await?;
    let shown: Vec<&ServiceName> = states.iter().map(|state| &state.name).collect();
    let mut glances = shared.store.glances(&shown, strip::MOST).await?;
    let services =
        states.iter().zip(&seen).map(|(state, seen)| row(state, *seen, &glances.remove(&state.name).unwrap_or_default())).collect();
    let visible: HashSet<&str> = names.iter().map(|name| name.as_str()).collect();
    let figures = shared.dashboard.figures.now(&shared.store, |service| visible.contains(service)).await;
    let datasets = data::readable(viewer, shared).await;
    let fresh_s = if unseen > 0 || figures.is_none() || datasets.is_none() { SOON_S } else { FRESH_S };
    let frame = Frame { fresh_s, ..Frame::of(viewer, Place::Overview) };
    let find = Some(asked.as_str()).filter(|asked| !asked.is_empty());
    let next = found.last().filter(|_| has_more);
    Ok(Overview {
        headline: headline(readable.len(), waits.len(), unseen),
        summary: summary(readable.len(), &states),
        is_filtered: !asked.is_empty(),
        query: query.q,
        first: query.after.is_some().then(|| link::address("/", &[("q", find)])),
        next: next.map(|last| link::address("/", &[("after", Some(last.name.as_str())), ("q", find)])),
        waits,
        services,
        figures,
        hosts: if frame.open.contains(&Place::Agents) { agents::brief(shared).await? } else { None },
        datasets: datasets.iter().flatten().map(dataset).collect(),
        frame,
    })
}

fn headline(services: usize, waits: usize, unseen: usize) -> String {
    match (services, waits) {
        (0, _) => "Nothing to look after yet".to_owned(),
        (_, 0) if unseen > 0 => "Nothing is known to be wrong".to_owned(),
        (_, 0) => "All is well".to_owned(),
        (_, 1) => "1 thing waits for you".to_owned(),
        (_, waits) => format!("{waits} things wait for you"),
    }
}

/// How the services of the page stand.
fn summary(services: usize, states: &[api::Service]) -> String {
    let mut said = vec![many(services, "service")];
    for (word, text) in [
        (Word::Ok, "ok"),
        (Word::Deploying, "being deployed"),
        (Word::Down, "down"),
        (Word::Unhealthy, "unhealthy"),
        (Word::Drift, "drifted"),
        (Word::Unknown, "unknown"),
        (Word::Empty, "without a release"),
    ] {
        let count = states.iter().filter(|state| state.standing.word == word).count();
        if count > 0 {
            said.push(format!("{count} {text}"));
        }
    }
    said.join(" · ")
}

fn row(state: &api::Service, seen: SeenWhen, glances: &[Glance]) -> Row {
    let live = state
        .live
        .as_ref()
        .map(|live| (live.id.to_string(), words::tag(live), Moment(live.ended_ms.unwrap_or(live.created_ms)), words::who(live)));
    let at_work = state.running.as_ref().or(state.waiting.as_ref());
    let is_bad = state.standing.word.is_bad();
    let note =
        state.standing.why.clone().filter(|_| is_bad).or_else(|| state.held.as_ref().map(|_| "held: CI's orders are refused".to_owned()));
    Row {
        name: state.name.clone(),
        pill: if seen == SeenWhen::NotYet { Pill::new(Tone::Wait, "not seen yet") } else { Pill::standing(state.standing.word) },
        note: words::seen(seen).or(note),
        live,
        at_work: at_work.map(|one| (one.id.to_string(), Pill::of(one.kind, &one.state), words::tag(one))),
        page: page(state),
        strip: Strip::of(glances),
    }
}

/// How the page was when it was looked at last.
pub(super) fn page(state: &api::Service) -> Option<(Pill, String)> {
    if let Some(watch) = state.schedule.as_ref().or(state.watch.as_ref())
        && let Some((at_ms, last)) = watch.last_ms.zip(watch.last)
    {
        let pill = match last {
            LookResult::Good => Pill::new(Tone::Good, "good"),
            LookResult::Bad => Pill::new(Tone::Bad, "bad"),
            LookResult::Blind => Pill::new(Tone::Warn, "not seen"),
        };
        return Some((pill, Moment(at_ms).ago()));
    }
    let live = state.live.as_ref()?;
    let report = live.report.as_ref()?;
    let at = Moment(live.ended_ms.unwrap_or(live.created_ms)).ago();
    let pill = match (report.passed(), report.findings.len()) {
        (true, 0) => Pill::new(Tone::Good, "good"),
        (true, count) => Pill::new(Tone::Warn, many(count, "finding")),
        (false, count) => Pill::new(Tone::Bad, many(count, "finding")),
    };
    Some((pill, at))
}

fn dataset(dataset: &api::Dataset) -> Data {
    Data {
        name: dataset.name.to_string(),
        pill: data::dataset_pill(dataset),
        loaded: dataset.loaded.as_deref().map(|commit| words::short(commit).to_owned()),
        loaded_at: dataset.loaded_ms.map(Moment),
    }
}

#[cfg(test)]
mod tests {
    use super::headline;

    #[test]
    fn the_headline_says_whether_a_person_is_needed() {
        assert_eq!(headline(3, 0, 0), "All is well");
        assert_eq!(headline(3, 0, 1), "Nothing is known to be wrong");
        assert_eq!(headline(3, 1, 2), "1 thing waits for you");
        assert_eq!(headline(3, 2, 0), "2 things wait for you");
        assert_eq!(headline(0, 0, 0), "Nothing to look after yet");
    }
}
