//! `/services/{name}/rollback`: from what, to what, why that one, and in whose name.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::ResponseError as _;
use actix_web::http::StatusCode;
use actix_web::web;
use askama::Template;
use serde::Deserialize;

use crate::api;
use crate::http::Shared;
use crate::http::auth::Change;
use crate::http::auth::Page;
use crate::http::auth::PageError;
use crate::http::auth::Viewer;
use crate::http::auth::once;
use crate::http::dashboard::answered::reason_of;
use crate::http::dashboard::answered::to;
use crate::http::dashboard::asks::ForService;
use crate::http::dashboard::asks::OrderForm;
use crate::http::dashboard::page::Frame;
use crate::http::dashboard::page::Place;
use crate::http::dashboard::page::answer;
use crate::http::dashboard::words;
use crate::http::dashboard::words::Moment;
use crate::http::error::ApiError;
use crate::model::DeploymentId;
use crate::model::OrderKind;
use crate::model::RollbackTo;
use crate::model::ServiceName;
use crate::orders::Depth;

/// What is chosen and typed.
#[derive(Debug, Default, Deserialize)]
pub(in crate::http) struct Form {
    /// The deployment whose release comes back; empty: the previous one.
    #[serde(default)]
    to: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    force: String,
}

impl OrderForm for Form {
    const KIND: OrderKind = OrderKind::Rollback;

    fn is_forced(&self) -> bool {
        !self.force.is_empty()
    }
}

#[derive(Template)]
#[template(path = "rollback.html")]
struct Rollback {
    frame: Frame,
    name: ServiceName,
    said: Option<String>,
    from: Option<(String, String, Moment)>,
    to: Option<Target>,
    others: Vec<(String, String)>,
    running: Option<(String, String)>,
    form: Form,
    offers_force: bool,
    once: String,
}

/// What comes back.
struct Target {
    id: String,
    tag: String,
    at: Moment,
    why: &'static str,
    gone: usize,
}

pub(in crate::http) async fn show(page: Page<ForService<Form>>, shared: web::Data<Shared>) -> Result<HttpResponse, PageError> {
    // A link may name the release, and decides nothing else: what is forced and why is for the person who sends the form.
    let form = Form { to: page.viewer.query::<Form>()?.to, ..Form::default() };
    made(&page.viewer, &shared, &page.ask.service.name, form, None).await
}

pub(in crate::http) async fn order(change: Change<ForService<Form>>, shared: web::Data<Shared>) -> Result<HttpResponse, PageError> {
    let Change { viewer, ask: ForService { service, form }, delivery } = change;
    let ordered = match ask(&service.name, &form) {
        Ok(ask) => shared.deployer.order_rollback(ask, viewer.caller(), delivery).await.map_err(ApiError::from),
        Err(error) => Err(error),
    };
    match ordered {
        Ok(accepted) => Ok(to(&format!("/deployments/{}", accepted.id))),
        Err(error) => made(&viewer, &shared, &service.name, form, Some(error)).await,
    }
}

fn ask(service: &ServiceName, form: &Form) -> Result<api::NewRollback, ApiError> {
    let to = match form.to.as_str() {
        "" => RollbackTo::Previous,
        id => RollbackTo::Deployment(DeploymentId::parse(id).map_err(|error| ApiError::bad_request(error.to_string()))?),
    };
    Ok(api::NewRollback {
        service: service.clone(),
        to,
        run_url: None,
        actor: None,
        reason: reason_of(&form.reason)?,
        force: form.is_forced(),
    })
}

async fn made(
    viewer: &Viewer,
    shared: &Shared,
    name: &ServiceName,
    form: Form,
    error: Option<ApiError>,
) -> Result<HttpResponse, PageError> {
    let config = shared.config.now();
    let Some(service) = config.service(name) else { return Err(ApiError::not_found("There is no such service.").into()) };
    let glimpse = shared.deployer.glimpses(&[Arc::clone(service)], Depth::Whole).await?.pop();
    let Some(now) = glimpse.map(|glimpse| glimpse.state) else { return Err(ApiError::not_found("There is no such service.").into()) };
    let chosen = match form.to.as_str() {
        "" => now.rollback_candidates.iter().find(|one| !one.left),
        id => now.rollback_candidates.iter().find(|one| one.deployment.as_str() == id),
    };
    let why = match (form.to.is_empty(), chosen.is_some_and(|one| one.left)) {
        (true, _) => "it is the last verified release before the live one",
        (_, true) => "you chose it, although an earlier rollback left it",
        _ => "you chose it",
    };
    let is_other = |one: &&api::Candidate| chosen.is_none_or(|chosen| chosen.deployment != one.deployment);
    let page = Rollback {
        frame: Frame::of(viewer, Place::Overview),
        name: name.clone(),
        from: now.live.as_ref().map(|live| (live.id.to_string(), words::tag(live), Moment(live.ended_ms.unwrap_or(live.created_ms)))),
        to: chosen.map(|one| target(one, why)),
        others: now.rollback_candidates.iter().filter(is_other).map(|one| (one.deployment.to_string(), tag(one))).collect(),
        running: now.running.as_ref().map(|one| (one.id.to_string(), words::tag(one))),
        offers_force: form.is_forced() || error.as_ref().is_some_and(|error| error.code() == "barrier"),
        said: error.as_ref().map(ToString::to_string),
        form,
        once: once(),
    };
    Ok(answer(error.map_or(StatusCode::OK, |error| error.status_code()), &page))
}

fn target(one: &api::Candidate, why: &'static str) -> Target {
    Target { id: one.deployment.to_string(), tag: tag(one), at: Moment(one.at_ms), why, gone: one.gone.len() }
}

fn tag(one: &api::Candidate) -> String {
    one.tag.as_ref().map_or_else(|| "(no tag)".to_owned(), ToString::to_string)
}
