//! Whether the server is well, its metrics and its contract.

use std::sync::LazyLock;

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::web;
use actix_web::web::Bytes;
use tokio::sync::oneshot;

use crate::api;
use crate::clock;
use crate::config::Service;
use crate::http::Shared;
use crate::http::asks::Operator;
use crate::http::asks::SeeHosts;
use crate::http::auth::Proven;
use crate::http::error::ApiError;
use crate::http::openapi;

type Answer = Result<HttpResponse, ApiError>;

pub(super) async fn healthz(_: web::Data<Shared>) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("ok\n")
}

pub(super) async fn readyz(shared: web::Data<Shared>) -> HttpResponse {
    let mut problems = Vec::new();
    if let Err(error) = shared.store.probe().await {
        tracing::warn!(%error, "not ready: the database cannot be written");
        problems.push("The database cannot be written.".to_owned());
    }
    if shared.hub.is_unwritable() {
        problems.push("The journal cannot be written; most likely the disk is full.".to_owned());
    }
    // What a dataset waits for is no reason to send nobody here.
    let mut notes = shared.reloader.notes().await.unwrap_or_default();
    let uplink = shared.lines.uplink.as_ref().map(|uplink| uplink.borrow().clone());
    notes.extend(uplink.and_then(|uplink| Some(format!("The line to {} is not open: {}", uplink.url, uplink.why?))));
    let readiness = api::Readiness { ready: problems.is_empty(), problems, notes };
    if readiness.ready { HttpResponse::Ok().json(readiness) } else { HttpResponse::ServiceUnavailable().json(readiness) }
}

pub(super) async fn metrics(_: Proven<SeeHosts>, shared: web::Data<Shared>) -> Answer {
    let (waiting, running) = shared.store.counts().await?;
    shared.reloader.measure().await?;
    shared.watcher.measure().await?;
    shared.notices.measure().await?;
    let metrics = &shared.metrics;
    metrics.set_now(waiting, running, shared.hub.is_unwritable());
    metrics.set_unapproved(&shared.store.waiting_for_approval().await?, clock::now_ms());
    let config = shared.config.now();
    let services: Vec<&Service> = config.services.values().map(AsRef::as_ref).collect();
    for (service, standing) in services.iter().zip(shared.deployer.standings(&services).await?) {
        metrics.set_standing(&service.name, standing.word.as_str(), api::Word::ALL.map(api::Word::as_str));
    }
    Ok(HttpResponse::Ok().content_type("application/openmetrics-text; version=1.0.0; charset=utf-8").body(metrics.text()))
}

/// Which calls were refused and why: over ways only that nobody else can read.
pub(super) async fn refused(proven: Proven<Operator>, shared: web::Data<Shared>) -> Answer {
    if !proven.line.is_private() {
        return Err(ApiError::forbidden("What was refused is told over the unix socket, https or loopback only."));
    }
    Ok(HttpResponse::Ok().json(shared.refused.list()))
}

/// The file of the configuration is read again, as on SIGHUP.
pub(super) async fn read_again(proven: Proven<Operator>, shared: web::Data<Shared>) -> Answer {
    if !proven.line.is_private() {
        return Err(ApiError::forbidden("The configuration is read again for callers over the unix socket, https or loopback only."));
    }
    let (tell, told) = oneshot::channel();
    let stopping = || ApiError::busy("The server is stopping.");
    shared.read_again.send(tell).await.map_err(|_| stopping())?;
    if !told.await.map_err(|_| stopping())? {
        let why = "The configuration could not be read again, and the previous one stays in effect; `tagalong check` shows why.";
        return Err(ApiError::conflict("invalid_configuration", why));
    }
    let secrets = shared.rotations.marks(&shared.config.now());
    let secrets = secrets.into_iter().map(|(whose, mark)| (whose.to_string(), mark)).collect();
    Ok(HttpResponse::Ok().json(api::ReadAgain { message: "The configuration was read again.".to_owned(), secrets }))
}

/// Made once: anybody who asks has shown nothing, and to make it is work.
static CONTRACT: LazyLock<Bytes> = LazyLock::new(|| serde_json::to_vec(&openapi::openapi()).unwrap_or_default().into());

pub(super) async fn openapi_json(_: web::Data<Shared>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(CONTRACT.clone())
}

pub(in crate::http) async fn unknown(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Err(ApiError::not_found(format!(
        "There is no {} {}; /api/v1/openapi.json lists all calls.",
        request.method(),
        request.path().escape_default()
    )))
}
