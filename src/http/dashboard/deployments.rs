//! `/deployments`: of all services, newest first, the queue included.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web;
use askama::Template;
use serde::Deserialize;

use crate::http::Shared;
use crate::http::auth::PageError;
use crate::http::auth::Viewer;
use crate::http::dashboard::link;
use crate::http::dashboard::page::Frame;
use crate::http::dashboard::page::Place;
use crate::http::dashboard::page::answer;
use crate::http::dashboard::rows::Row;
use crate::http::dashboard::words::spaced;
use crate::http::error::ApiError;
use crate::model::DeploymentId;
use crate::model::Outcome;
use crate::model::Scope;
use crate::model::ServiceName;
use crate::model::State;
use crate::model::Target;
use crate::model::Verb;
use crate::orders;
use crate::store::Filter;

/// How many a page shows.
const MOST: i64 = 50;
const FRESH_S: u32 = 5;

#[derive(Template)]
#[template(path = "deployments.html")]
struct Deployments {
    frame: Frame,
    services: Vec<Choice>,
    states: Vec<Choice>,
    is_filtered: bool,
    rows: Vec<Row>,
    unreadable: Vec<String>,
    first: Option<String>,
    next: Option<String>,
}

/// A choice of a filter.
struct Choice {
    value: String,
    name: String,
    is_chosen: bool,
}

/// What the address may say.
#[derive(Debug, Default, Deserialize)]
pub(in crate::http) struct Query {
    #[serde(default)]
    service: String,
    #[serde(default)]
    state: String,
    before: Option<DeploymentId>,
}

pub(in crate::http) async fn show(viewer: Viewer, shared: web::Data<Shared>) -> Result<HttpResponse, PageError> {
    let query: Query = viewer.query()?;
    let config = shared.config.now();
    let readable: Vec<&ServiceName> = config.services.keys().filter(|name| viewer.may_on(Verb::Read, name)).collect();
    let service = named(&query.service)?;
    if service.as_ref().is_some_and(|name| !viewer.may_on(Verb::Read, name)) {
        return Err(ApiError::forbidden("You may not see the deployments of this service.").into());
    }
    let state = Some(query.state.clone()).filter(|state| !state.is_empty());
    if state.as_ref().is_some_and(|state| !names().any(|name| name == state)) {
        return Err(ApiError::bad_request("There is no such state; choose one of the list.").into());
    }
    let filter = Filter { service, state, before: query.before.clone(), limit: MOST };
    let found = shared.store.list(&filter).await?;
    let is_full = found.deployments.len() + found.unreadable.len() == MOST as usize;
    let visible = found.deployments.iter().filter(|one| viewer.may_on(Verb::Read, &one.order.service));
    let sees_all = viewer.may(&Scope { verb: Verb::Read, target: Target::Everything });
    let rows = visible.map(|one| Row::of(&orders::view(one))).collect();
    let keep = [("service", some(&query.service)), ("state", some(&query.state))];
    let further = |before: &str| link::address("/deployments", &[keep[0], keep[1], ("before", Some(before))]);
    let page = Deployments {
        frame: Frame { fresh_s: if query.before.is_none() { FRESH_S } else { 0 }, ..Frame::of(&viewer, Place::Deployments) },
        services: readable.iter().map(|name| choice(name.as_str(), name.as_str(), &query.service)).collect(),
        states: names().map(|name| choice(name, &spaced(name), &query.state)).collect(),
        is_filtered: !(query.service.is_empty() && query.state.is_empty()),
        rows,
        // Nobody knows of which services these are, so they are for who may see all.
        unreadable: if sees_all { found.unreadable.iter().map(ToString::to_string).collect() } else { Vec::new() },
        first: query.before.is_some().then(|| link::address("/deployments", &keep)),
        next: found.last.as_ref().filter(|_| is_full).map(|last| further(last.as_str())),
    };
    Ok(answer(StatusCode::OK, &page))
}

fn names() -> impl Iterator<Item = &'static str> {
    State::NAMES.into_iter().chain(Outcome::NAMES)
}

fn some(value: &str) -> Option<&str> {
    Some(value).filter(|value| !value.is_empty())
}

fn choice(value: &str, name: &str, chosen: &str) -> Choice {
    Choice { value: value.to_owned(), name: name.to_owned(), is_chosen: value == chosen }
}

/// The service of a filter; none: all of them.
pub(super) fn named(given: &str) -> Result<Option<ServiceName>, ApiError> {
    let name = some(given).map(ServiceName::parse).transpose();
    name.map_err(|error| ApiError::bad_request(error.to_string()))
}
