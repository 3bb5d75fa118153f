//! `/incidents`: what was found wrong, the newest first.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web;
use askama::Template;
use serde::Deserialize;

use crate::api;
use crate::http::Shared;
use crate::http::auth::PageError;
use crate::http::auth::Viewer;
use crate::http::dashboard::deployments::named;
use crate::http::dashboard::link;
use crate::http::dashboard::page::Frame;
use crate::http::dashboard::page::Place;
use crate::http::dashboard::page::answer;
use crate::http::dashboard::waits::incident_title;
use crate::http::dashboard::words::Moment;
use crate::http::dashboard::words::span;
use crate::http::error::ApiError;
use crate::model::IncidentId;
use crate::model::ServiceName;
use crate::model::Verb;
use crate::store::IncidentFilter;

const MOST: i64 = 50;

#[derive(Template)]
#[template(path = "incidents.html")]
struct Incidents {
    frame: Frame,
    all: Vec<Shown>,
    is_all: bool,
    first: Option<String>,
    next: Option<String>,
}

/// An incident as it is shown.
pub(super) struct Shown {
    pub(super) service: ServiceName,
    pub(super) title: &'static str,
    pub(super) what: String,
    pub(super) mend: Option<String>,
    pub(super) opened: Moment,
    /// How long it lasted; none: it is open.
    pub(super) lasted: Option<String>,
    pub(super) seen: i64,
}

impl Shown {
    pub(super) fn of(one: &api::Incident) -> Self {
        Self {
            service: one.service.clone(),
            title: incident_title(one.kind),
            what: one.what.clone(),
            mend: one.mend.clone(),
            opened: Moment(one.opened_ms),
            lasted: one.closed_ms.map(|closed_ms| span(closed_ms - one.opened_ms)),
            seen: one.seen,
        }
    }
}

/// What the address may say.
#[derive(Debug, Default, Deserialize)]
pub(in crate::http) struct Query {
    #[serde(default)]
    all: String,
    #[serde(default)]
    service: String,
    before: Option<IncidentId>,
}

pub(in crate::http) async fn show(viewer: Viewer, shared: web::Data<Shared>) -> Result<HttpResponse, PageError> {
    let query: Query = viewer.query()?;
    let service = named(&query.service)?;
    if service.as_ref().is_some_and(|name| !viewer.may_on(Verb::Read, name)) {
        return Err(ApiError::forbidden("You may not see the incidents of this service.").into());
    }
    let is_all = !query.all.is_empty();
    let filter = IncidentFilter { service, all: is_all, before: query.before.clone(), limit: MOST };
    let found = shared.watcher.incidents(&filter).await?;
    let keep = [("all", is_all.then_some("1")), ("service", Some(query.service.as_str()).filter(|name| !name.is_empty()))];
    let page = Incidents {
        frame: Frame { fresh_s: if query.before.is_none() { 10 } else { 0 }, ..Frame::of(&viewer, Place::Incidents) },
        all: found.incidents.iter().filter(|one| viewer.may_on(Verb::Read, &one.service)).map(Shown::of).collect(),
        is_all,
        first: query.before.is_some().then(|| link::address("/incidents", &keep)),
        next: found.next_before.map(|last| link::address("/incidents", &[keep[0], keep[1], ("before", Some(last.as_str()))])),
    };
    Ok(answer(StatusCode::OK, &page))
}
