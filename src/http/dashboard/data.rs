//! `/data`: the datasets.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web;
use askama::Template;

use crate::api;
use crate::http::Shared;
use crate::http::auth::PageError;
use crate::http::auth::Viewer;
use crate::http::dashboard::overview::dataset_pill;
use crate::http::dashboard::page::Frame;
use crate::http::dashboard::page::Place;
use crate::http::dashboard::page::answer;
use crate::http::dashboard::words;
use crate::http::dashboard::words::Moment;
use crate::http::dashboard::words::Pill;
use crate::model::Scope;
use crate::model::Target;
use crate::model::Verb;

#[derive(Template)]
#[template(path = "data.html")]
struct Data {
    frame: Frame,
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
    set: api::Dataset,
}

impl Shown {
    fn of(set: api::Dataset) -> Self {
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
            set,
        }
    }
}

pub(in crate::http) async fn show(viewer: Viewer, shared: web::Data<Shared>) -> Result<HttpResponse, PageError> {
    let mut datasets = shared.reloader.datasets().await?;
    datasets.retain(|set| viewer.may(&Scope { verb: Verb::Read, target: Target::Dataset(set.name.clone()) }));
    let frame = Frame { fresh_s: 10, ..Frame::of(&viewer, Place::Data) };
    Ok(answer(StatusCode::OK, &Data { frame, datasets: datasets.into_iter().map(Shown::of).collect() }))
}
