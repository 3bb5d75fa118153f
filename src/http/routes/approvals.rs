//! Approvals: `POST /api/v1/deployments/{id}/approval` for programs, and the form `/approve/{id}` for people.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use actix_web::web;

use crate::api;
use crate::http::Shared;
use crate::http::approval_page;
use crate::http::approval_page::Said;
use crate::http::auth::Ask;
use crate::http::auth::Call;
use crate::http::auth::Json;
use crate::http::auth::Needs;
use crate::http::auth::Proven;
use crate::http::auth::Unwelcome;
use crate::http::auth::Visit;
use crate::http::error::ApiError;
use crate::http::routes::deployments::find;
use crate::model::Code;
use crate::model::Target;
use crate::model::Verb;
use crate::model::Via;
use crate::oidc::Job;
use crate::orders::Unapproved;
use crate::store::Deployment;

type Answer = Result<HttpResponse, ApiError>;

/// A deployment that is to be approved, and the code for it.
pub(super) struct ApproveOne {
    deployment: Deployment,
    body: api::NewApproval,
}

impl Ask for ApproveOne {
    const VERB: Verb = Verb::Approve;
    type Body = Json<api::NewApproval>;

    async fn read(call: &Call<'_>, body: Self::Body) -> Result<Self, ApiError> {
        Ok(Self { deployment: find(call).await?, body: body.0 })
    }

    fn needs(&self) -> Needs {
        let order = &self.deployment.order;
        Needs::to_act(Verb::Approve, Target::Service(order.service.clone()), order.git_ref.clone())
    }

    fn of_job(self, _: &Job) -> Result<Self, ApiError> {
        Err(ApiError::token_refused("A job cannot approve an order; a person does, with the code that was sent to them."))
    }
}

pub(super) async fn approve(proven: Proven<ApproveOne>, shared: web::Data<Shared>) -> Answer {
    let ApproveOne { deployment, body } = proven.ask;
    if !proven.line.is_private() {
        return Err(ApiError::forbidden("A code must not be sent unencrypted; use https, or call from this host."));
    }
    let code = Code::parse(&body.code).map_err(ApiError::bad_request)?;
    let message = shared.deployer.approve(&deployment.id, &code, &Via::Call(proven.caller)).await?;
    Ok(HttpResponse::Ok().json(api::Done { message }))
}

/// Shows the form. Nothing changes and nothing is used up, however often it is opened.
pub(super) async fn show(visit: Result<Visit, Unwelcome>, _: web::Data<Shared>) -> HttpResponse {
    match visit {
        Ok(visit) => match &visit.form.closed {
            Some(why) => approval_page::message(StatusCode::OK, &Said::Bad(why)),
            None => approval_page::form(StatusCode::OK, &visit.form, None),
        },
        Err(unwelcome) => away(&unwelcome),
    }
}

/// Takes what was typed into the form.
pub(super) async fn enter(visit: Result<Visit, Unwelcome>, shared: web::Data<Shared>) -> HttpResponse {
    let visit = match visit {
        Ok(visit) => visit,
        Err(unwelcome) => return away(&unwelcome),
    };
    let code = match Code::parse(visit.typed.as_deref().unwrap_or_default()) {
        Ok(code) => code,
        Err(why) => return approval_page::form(StatusCode::BAD_REQUEST, &visit.form, Some(Said::Bad(why))),
    };
    let via = Via::Form(visit.form.approver.clone());
    match shared.deployer.approve(&visit.form.deployment.id, &code, &via).await {
        Ok(message) => approval_page::message(StatusCode::OK, &Said::Good(&message)),
        Err(why) => refused(why, &visit, &shared),
    }
}

fn refused(why: Unapproved, visit: &Visit, shared: &Shared) -> HttpResponse {
    let may_try_again = matches!(why, Unapproved::Wrong { .. } | Unapproved::NotNow(_) | Unapproved::Store(_));
    if matches!(why, Unapproved::Wrong { .. } | Unapproved::Ended { .. }) {
        visit.was_wrong(shared);
    }
    let error = ApiError::from(why);
    let status = actix_web::ResponseError::status_code(&error);
    let text = error.to_string();
    if may_try_again {
        approval_page::form(status, &visit.form, Some(Said::Bad(&text)))
    } else {
        approval_page::message(status, &Said::Bad(&text))
    }
}

fn away(unwelcome: &Unwelcome) -> HttpResponse {
    let mut page = approval_page::message(unwelcome.status, &Said::Bad(unwelcome.why));
    if matches!(unwelcome.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        page.headers_mut().insert(RETRY_AFTER, actix_web::http::header::HeaderValue::from_static("60"));
    }
    page
}
