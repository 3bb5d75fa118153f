//! `/api/v1/deployments` and `/api/v1/rollbacks`.

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::web;
use utoipa::IntoParams as _;
use utoipa::openapi::path::Parameter;
use utoipa::openapi::path::ParameterIn;

use crate::api;
use crate::http::Shared;
use crate::http::auth;
use crate::http::auth::token;
use crate::http::error::ApiError;
use crate::model::DeploymentId;
use crate::model::Outcome;
use crate::model::ServiceName;
use crate::model::State;
use crate::model::commit_text;
use crate::model::ref_text;
use crate::model::run_url_text;
use crate::orders;
use crate::store;
use crate::store::Deployment;
use crate::store::Filter;

type Answer = Result<HttpResponse, ApiError>;

pub(super) async fn create(request: HttpRequest, payload: web::Payload, shared: web::Data<Shared>) -> Answer {
    let proof = auth::prove(&request, payload, &shared).await?;
    let (ask, caller, delivery) = proof.order(|ask: &api::NewDeployment| &ask.service, |ask| ask.git_ref.as_deref())?;
    if ask.force {
        proof.allow_force(&ask.service)?;
    }
    check_text(ask.reason.as_deref())?;
    for (given, check) in [(&ask.commit, commit_text as fn(&str) -> _), (&ask.git_ref, ref_text), (&ask.run_url, run_url_text)] {
        given.as_deref().map(check).transpose().map_err(|error| ApiError::bad_request(error.to_string()))?;
    }
    let accepted = shared.deployer.order_deployment(ask, caller, delivery).await?;
    Ok(accepted_answer(accepted, &shared))
}

pub(super) async fn roll_back(request: HttpRequest, payload: web::Payload, shared: web::Data<Shared>) -> Answer {
    let proof = auth::prove(&request, payload, &shared).await?;
    // A rollback names no ref, so a key that is bound to refs may not order one.
    let (ask, caller, delivery) = proof.order(|ask: &api::NewRollback| &ask.service, |_| None)?;
    check_text(ask.reason.as_deref())?;
    let accepted = shared.deployer.order_rollback(ask, caller, delivery).await?;
    Ok(accepted_answer(accepted, &shared))
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Those of one service only.
    #[param(value_type = Option<String>)]
    service: Option<ServiceName>,
    /// `waiting`, `running`, `done`, or the name of an outcome.
    state: Option<String>,
    /// Those older than this deployment: `next_before` of the page before.
    #[param(value_type = Option<String>)]
    before: Option<DeploymentId>,
    /// How many at most; 20 if it is not said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
}

pub(super) fn list_takes() -> Vec<Parameter> {
    ListQuery::into_params(|| Some(ParameterIn::Query))
}

pub(super) async fn list(request: HttpRequest, payload: web::Payload, shared: web::Data<Shared>) -> Answer {
    let proof = auth::prove(&request, payload, &shared).await?;
    let query = web::Query::<ListQuery>::from_query(request.query_string())
        .map_err(|error| ApiError::bad_request(format!("The query does not read: {error}.")))?
        .into_inner();
    proof.allow(query.service.as_ref())?;
    if let Some(unknown) =
        query.state.as_ref().filter(|state| !State::NAMES.contains(&state.as_str()) && !Outcome::NAMES.contains(&state.as_str()))
    {
        return Err(ApiError::bad_request(format!(
            "There is no state {}; it is waiting, running, done or an outcome.",
            unknown.escape_default()
        )));
    }
    let limit = query.limit.unwrap_or(20).clamp(1, 200);
    let filter = Filter { service: query.service, state: query.state, before: query.before, limit };
    let found = shared.deployer.store().list(&filter).await?;
    let many = found.deployments.len() + found.unreadable.len();
    let next_before = if many as i64 == limit { found.last } else { None };
    let unreadable = found.unreadable.iter().map(ToString::to_string).collect();
    Ok(HttpResponse::Ok().json(api::Deployments {
        deployments: found.deployments.iter().map(orders::view).collect(),
        next_before,
        unreadable,
    }))
}

pub(super) async fn show(request: HttpRequest, payload: web::Payload, shared: web::Data<Shared>, id: web::Path<String>) -> Answer {
    let proof = auth::prove(&request, payload, &shared).await?;
    let found = find(&shared, &id).await?;
    proof.allow_deployment(&found.id, &found.order.service)?;
    Ok(HttpResponse::Ok().json(orders::view(&found)))
}

pub(super) async fn cancel(request: HttpRequest, payload: web::Payload, shared: web::Data<Shared>, id: web::Path<String>) -> Answer {
    let proof = auth::prove(&request, payload, &shared).await?;
    let found = find(&shared, &id).await?;
    let (caller, _) = proof.upon(&found.order)?;
    let (done, message) = shared.deployer.cancel(&found, &caller).await?;
    if done { Ok(HttpResponse::Ok().json(api::Done { message })) } else { Err(ApiError::conflict("ended", message)) }
}

pub(super) async fn retry(request: HttpRequest, payload: web::Payload, shared: web::Data<Shared>, id: web::Path<String>) -> Answer {
    let proof = auth::prove(&request, payload, &shared).await?;
    let found = find(&shared, &id).await?;
    let (caller, delivery) = proof.upon(&found.order)?;
    let accepted = shared.deployer.retry(&found, caller, delivery).await?;
    Ok(accepted_answer(accepted, &shared))
}

/// The deployment of that id.
pub(super) async fn find(shared: &Shared, id: &str) -> Result<Deployment, ApiError> {
    let missing = || ApiError::not_found(format!("There is no deployment {}; `tagalong history` lists them.", id.escape_default()));
    let id = DeploymentId::parse(id).map_err(|_| missing())?;
    shared.deployer.store().get(&id).await?.ok_or_else(missing)
}

/// 202: the order is on disk.
pub(super) fn accepted_answer(accepted: store::Accepted, shared: &Shared) -> HttpResponse {
    let location = format!("/api/v1/deployments/{}", accepted.id);
    HttpResponse::Accepted()
        .insert_header(("location", location.clone()))
        .insert_header((api::READ_TOKEN_HEADER, token::make(&shared.token_key, &accepted.id)))
        .json(api::Accepted { id: accepted.id, location, superseded: accepted.superseded, preempted: accepted.preempted })
}

/// A text for the record: bounded, so that a record stays a record.
fn check_text(reason: Option<&str>) -> Result<(), ApiError> {
    const LONGEST: usize = 2000;
    match reason.filter(|text| text.len() > LONGEST || text.contains('\0')) {
        Some(_) => Err(ApiError::bad_request(format!("The reason must be shorter than {LONGEST} bytes and without NUL."))),
        None => Ok(()),
    }
}
