//! `/services/{name}/deploy`: one of the tags that are known, or another.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::ResponseError as _;
use actix_web::http::StatusCode;
use actix_web::web;
use askama::Template;
use serde::Deserialize;

use crate::api;
use crate::config::Service;
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
use crate::model::OrderKind;
use crate::model::ServiceName;
use crate::model::Tag;
use crate::model::Verb;

/// How many tags are offered; others can be typed.
const MOST: usize = 40;

/// What is chosen or typed.
#[derive(Debug, Default, Deserialize)]
pub(in crate::http) struct Form {
    #[serde(default)]
    tag: String,
    #[serde(default)]
    other: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    force: String,
}

impl Form {
    /// A tag that is typed counts before one that is chosen.
    fn chosen(&self) -> &str {
        if self.other.trim().is_empty() { self.tag.trim() } else { self.other.trim() }
    }
}

impl OrderForm for Form {
    const KIND: OrderKind = OrderKind::Deploy;

    fn is_forced(&self) -> bool {
        !self.force.is_empty()
    }
}

#[derive(Template)]
#[template(path = "deploy.html")]
struct Deploy {
    frame: Frame,
    name: ServiceName,
    said: Option<String>,
    live: Option<String>,
    tags: Vec<Choice>,
    has_more: bool,
    registry_fault: Option<String>,
    /// Whether the registry has answered.
    is_heard: bool,
    form: Form,
    may_force: bool,
    held: Option<String>,
    once: String,
}

/// A tag that is offered.
struct Choice {
    tag: String,
    is_chosen: bool,
    is_live: bool,
    at: Option<(&'static str, Moment)>,
    notes: Vec<&'static str>,
}

pub(in crate::http) async fn show(page: Page<ForService<Form>>, shared: web::Data<Shared>) -> Result<HttpResponse, PageError> {
    // A link may name the tag, and decides nothing else: what is forced and why is for the person who sends the form.
    let form = Form { tag: page.viewer.query::<Form>()?.tag, ..Form::default() };
    made(StatusCode::OK, &page.viewer, &shared, &page.ask.service, form, None).await
}

pub(in crate::http) async fn order(change: Change<ForService<Form>>, shared: web::Data<Shared>) -> Result<HttpResponse, PageError> {
    let Change { viewer, ask: ForService { service, form }, delivery } = change;
    let asked = ask(&service.name, &form);
    let ordered = match asked {
        Ok(ask) => shared.deployer.order_deployment(ask, viewer.caller(), delivery).await.map_err(ApiError::from),
        Err(error) => Err(error),
    };
    match ordered {
        Ok(accepted) => Ok(to(&format!("/deployments/{}", accepted.id))),
        Err(error) => made(error.status_code(), &viewer, &shared, &service, form, Some(error.to_string())).await,
    }
}

fn ask(service: &ServiceName, form: &Form) -> Result<api::NewDeployment, ApiError> {
    if form.chosen().is_empty() {
        return Err(ApiError::bad_request("Choose a tag, or type one."));
    }
    let tag = Tag::parse(form.chosen()).map_err(|error| ApiError::bad_request(error.to_string()))?;
    Ok(api::NewDeployment {
        service: service.clone(),
        tag,
        digest: None,
        commit: None,
        git_ref: None,
        run_url: None,
        run_number: None,
        actor: None,
        reason: reason_of(&form.reason)?,
        dry_run: false,
        force: form.is_forced(),
    })
}

async fn made(
    status: StatusCode,
    viewer: &Viewer,
    shared: &Shared,
    service: &Arc<Service>,
    form: Form,
    said: Option<String>,
) -> Result<HttpResponse, PageError> {
    let (tags, is_heard) = shared.deployer.tags_at_once(service).await?;
    let now = shared.deployer.on_record(&[service]).await?.pop();
    let live = now.as_ref().and_then(|now| now.live.as_ref());
    // A form that was refused stays as it was sent, with what was chosen.
    let is_fresh = !is_heard && said.is_none();
    let page = Deploy {
        frame: Frame { fresh_s: is_fresh.into(), ..Frame::of(viewer, Place::Overview) },
        name: service.name.clone(),
        said,
        is_heard,
        live: live.map(words::tag),
        has_more: tags.has_more || tags.tags.len() > MOST,
        registry_fault: tags.registry_fault.clone(),
        tags: tags.tags.iter().take(MOST).map(|tag| choice(tag, &form)).collect(),
        may_force: viewer.may_on(Verb::Rollback, &service.name),
        held: now.and_then(|now| now.held).map(|held| held.split("; `").next().unwrap_or(&held).to_owned()),
        form,
        once: once(),
    };
    Ok(answer(status, &page))
}

fn choice(known: &api::KnownTag, form: &Form) -> Choice {
    let verified = known.verified_ms.map(|at_ms| ("verified", Moment(at_ms)));
    let mut notes = Vec::new();
    if known.moved {
        notes.push("the registry has another image under this tag now");
    }
    if known.in_registry == Some(false) {
        notes.push("not in the registry any more");
    }
    if known.on_host == Some(true) {
        notes.push("on the host");
    }
    Choice {
        tag: known.tag.to_string(),
        is_chosen: form.tag == known.tag.as_str(),
        is_live: known.live,
        at: verified.or(known.built_ms.map(|at_ms| ("built", Moment(at_ms)))),
        notes,
    }
}
