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
use crate::model::Scope;
use crate::model::ServiceName;
use crate::model::Target;
use crate::model::Verb;
use crate::store::Glance;
use crate::store::StoreError;

/// How many services a page shows.
const MOST: usize = 50;
/// How often it is asked for again.
const FRESH_S: u32 = 5;

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
    figures: Vec<Figure>,
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
    let readable: Vec<&Service> =
        config.services.values().map(Arc::as_ref).filter(|service| viewer.may_on(Verb::Read, &service.name)).collect();
    let asked = query.q.trim().to_lowercase();
    let mut found: Vec<&Service> = readable
        .iter()
        .copied()
        .filter(|service| service.name.as_str().contains(&asked))
        .filter(|service| query.after.as_ref().is_none_or(|after| service.name > *after))
        .collect();
    let has_more = found.len() > MOST;
    found.truncate(MOST);
    let states = shared.watcher.dressed(shared.deployer.states(&found).await?).await?;
    let names: Vec<&ServiceName> = readable.iter().map(|service| &service.name).collect();
    let waits = waits::all(viewer, shared, &names, &states).await?;
    let mut services = Vec::with_capacity(states.len());
    for state in &states {
        services.push(row(state, &shared.store.glances(&state.name, strip::MOST).await?));
    }
    let visible: HashSet<&str> = names.iter().map(|name| name.as_str()).collect();
    let figures = shared.dashboard.figures.now(&shared.store, |service| visible.contains(service)).await?;
    let frame = Frame { fresh_s: FRESH_S, ..Frame::of(viewer, Place::Overview) };
    let find = Some(asked.as_str()).filter(|asked| !asked.is_empty());
    let next = found.last().filter(|_| has_more);
    Ok(Overview {
        headline: headline(readable.len(), waits.len()),
        summary: summary(readable.len(), &states),
        is_filtered: !asked.is_empty(),
        query: query.q,
        first: query.after.is_some().then(|| link::address("/", &[("q", find)])),
        next: next.map(|last| link::address("/", &[("after", Some(last.name.as_str())), ("q", find)])),
        waits,
        services,
        figures,
        datasets: datasets(viewer, shared).await?,
        frame,
    })
}

fn headline(services: usize, waits: usize) -> String {
    match (services, waits) {
        (0, _) => "Nothing to look after yet".to_owned(),
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

fn row(state: &api::Service, glances: &[Glance]) -> Row {
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
        pill: Pill::standing(state.standing.word),
        note,
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

async fn datasets(viewer: &Viewer, shared: &Shared) -> Result<Vec<Data>, StoreError> {
    let all = shared.reloader.datasets().await?;
    let is_readable = |dataset: &&api::Dataset| viewer.may(&Scope { verb: Verb::Read, target: Target::Dataset(dataset.name.clone()) });
    let shown = |dataset: &api::Dataset| Data {
        name: dataset.name.to_string(),
        pill: dataset_pill(dataset),
        loaded: dataset.loaded.as_deref().map(|commit| words::short(commit).to_owned()),
        loaded_at: dataset.loaded_ms.map(Moment),
    };
    Ok(all.iter().filter(is_readable).map(shown).collect())
}

/// How a dataset stands.
pub(super) fn dataset_pill(dataset: &api::Dataset) -> Pill {
    let last = dataset.last.as_ref();
    if dataset.fault.is_some() {
        return Pill::new(Tone::Bad, "cannot be read");
    }
    if last.is_some_and(|last| last.load_fault.is_some()) {
        return Pill::new(Tone::Bad, "not loaded");
    }
    if !dataset.parked.is_empty() || !dataset.aside.is_empty() {
        return Pill::new(Tone::Warn, "needs a look");
    }
    if dataset.loaded.is_some() && dataset.loaded == dataset.head {
        return Pill::new(Tone::Good, "serves the newest");
    }
    if dataset.loaded.is_none() { Pill::new(Tone::Still, "not loaded yet") } else { Pill::new(Tone::Warn, "behind") }
}

#[cfg(test)]
mod tests {
    use super::headline;

    #[test]
    fn the_headline_says_whether_a_person_is_needed() {
        assert_eq!(headline(3, 0), "All is well");
        assert_eq!(headline(3, 1), "1 thing waits for you");
        assert_eq!(headline(3, 2), "2 things wait for you");
        assert_eq!(headline(0, 0), "Nothing to look after yet");
    }
}
