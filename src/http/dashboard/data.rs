//! `/data`: the datasets.

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web;
use askama::Template;

use crate::api;
use crate::http::Shared;
use crate::http::auth::PageError;
use crate::http::auth::Viewer;
use crate::http::dashboard::kept::Patience;
use crate::http::dashboard::page::Frame;
use crate::http::dashboard::page::Place;
use crate::http::dashboard::page::answer;
use crate::http::dashboard::words;
use crate::http::dashboard::words::Moment;
use crate::http::dashboard::words::Pill;
use crate::http::dashboard::words::Tone;
use crate::model::Scope;
use crate::model::Target;
use crate::model::Verb;

/// Their checkouts are looked at with git, which a disk may keep waiting.
const PATIENCE: Patience =
    Patience { good_for: Duration::from_secs(1), first: Duration::from_millis(600), again: Duration::from_millis(600) };

#[derive(Template)]
#[template(path = "data.html")]
struct Data {
    frame: Frame,
    is_seen: bool,
    datasets: Vec<Shown>,
}

/// A dataset as it is shown.
struct Shown {
    pill: Pill,
    /// Commits by what they are: the checkout's, the remote's, and what the app serves.
    commits: Vec<(&'static str, String)>,
    loaded_at: Option<Moment>,
    last_at: Option<Moment>,
    owed: Vec<(String, Moment, String)>,
    may_reload: bool,
    set: api::Dataset,
}

impl Shown {
    fn of(viewer: &Viewer, set: api::Dataset) -> Self {
        let commits = [("Checkout", &set.head), ("Remote", &set.remote), ("Served by the app", &set.loaded)];
        let commits = commits.into_iter().filter_map(|(name, commit)| Some((name, words::short(commit.as_deref()?).to_owned()))).collect();
        let owed = |one: &api::Owed| {
            let why = one.why.clone().unwrap_or_else(|| "on its way".to_owned());
            (one.peer.clone(), Moment(one.since_ms), why)
        };
        Self {
            pill: dataset_pill(&set),
            commits,
            loaded_at: set.loaded_ms.map(Moment),
            last_at: set.last.as_ref().map(|last| Moment(last.at_ms)),
            owed: set.owed.iter().map(owed).collect(),
            may_reload: viewer.may(&Scope { verb: Verb::Reload, target: Target::Dataset(set.name.clone()) }),
            set,
        }
    }
}

/// Those datasets that `viewer` may read, as they are within a moment, or were before. None: they were never seen.
pub(super) async fn readable(viewer: &Viewer, shared: &Shared) -> Option<Vec<api::Dataset>> {
    let reloader = Arc::clone(&shared.reloader);
    let read = async move {
        let datasets = reloader.datasets().await;
        datasets.inspect_err(|error| tracing::warn!(%error, "how datasets stand is not known, because the database does not answer")).ok()
    };
    let all = shared.dashboard.datasets.now(PATIENCE, || read).await?;
    let is_readable = |set: &&api::Dataset| viewer.may(&Scope { verb: Verb::Read, target: Target::Dataset(set.name.clone()) });
    Some(all.iter().filter(is_readable).cloned().collect())
}

pub(in crate::http) async fn show(viewer: Viewer, shared: web::Data<Shared>) -> Result<HttpResponse, PageError> {
    let datasets = readable(&viewer, &shared).await;
    let is_seen = datasets.is_some();
    let frame = Frame { fresh_s: if is_seen { 10 } else { 1 }, ..Frame::of(&viewer, Place::Data) };
    let datasets = datasets.unwrap_or_default().into_iter().map(|set| Shown::of(&viewer, set)).collect();
    Ok(answer(StatusCode::OK, &Data { frame, is_seen, datasets }))
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
