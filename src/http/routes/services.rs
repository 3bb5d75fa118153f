//! `/api/v1/services`.

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::web;

use crate::api;
use crate::config::Service;
use crate::http::Shared;
use crate::http::auth;
use crate::http::error::ApiError;
use crate::http::routes::deployments::accepted_answer;
use crate::model::ServiceName;
use crate::store::Resumed;

type Answer = Result<HttpResponse, ApiError>;

pub(super) async fn list(request: HttpRequest, payload: web::Payload, shared: web::Data<Shared>) -> Answer {
    let proof = auth::prove(&request, payload, &shared).await?;
    let config = shared.deployer.config();
    let mut services = Vec::new();
    for service in config.services.values().filter(|service| proof.may_read(&service.name)) {
        services.push(shared.deployer.service_state(service).await?);
    }
    if services.is_empty() && !config.services.is_empty() {
        proof.allow(None)?;
    }
    Ok(HttpResponse::Ok().json(api::Services { services }))
}

pub(super) async fn show(request: HttpRequest, payload: web::Payload, shared: web::Data<Shared>, name: web::Path<String>) -> Answer {
    let proof = auth::prove(&request, payload, &shared).await?;
    let service = find(&shared, &name)?;
    proof.allow(Some(&service.name))?;
    Ok(HttpResponse::Ok().json(shared.deployer.service_state(&service).await?))
}

pub(super) async fn adopt(request: HttpRequest, payload: web::Payload, shared: web::Data<Shared>, name: web::Path<String>) -> Answer {
    let proof = auth::prove(&request, payload, &shared).await?;
    let service = find(&shared, &name)?;
    let (caller, delivery) = proof.operator(&service.name)?;
    let accepted = shared.deployer.order_adoption(&service.name, caller, delivery).await?;
    Ok(accepted_answer(accepted, &shared))
}

pub(super) async fn resume(request: HttpRequest, payload: web::Payload, shared: web::Data<Shared>, name: web::Path<String>) -> Answer {
    let proof = auth::prove(&request, payload, &shared).await?;
    let service = find(&shared, &name)?;
    let (caller, delivery) = proof.operator(&service.name)?;
    let message = match shared.deployer.resume(&service.name, &caller, delivery.as_ref()).await? {
        Resumed::Now => format!("{} takes orders again.", service.name),
        Resumed::NotHeld => format!("{} was not held.", service.name),
        Resumed::Before => "This very call was carried out before; nothing was changed.".to_owned(),
    };
    Ok(HttpResponse::Ok().json(api::Done { message }))
}

fn find(shared: &Shared, name: &str) -> Result<Arc<Service>, ApiError> {
    let missing = || ApiError::not_found(format!("There is no service {}; `tagalong status` lists them.", name.escape_default()));
    let name = ServiceName::parse(name).map_err(|_| missing())?;
    shared.deployer.config().service(&name).cloned().ok_or_else(missing)
}
