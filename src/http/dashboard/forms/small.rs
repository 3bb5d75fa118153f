//! What is asked with one question: adopt, repair, resume, cancel, retry; and the code of an approval.

use actix_web::HttpResponse;
use actix_web::web;
use serde::Deserialize;

use crate::http::Shared;
use crate::http::auth::Change;
use crate::http::auth::Page;
use crate::http::auth::PageError;
use crate::http::auth::Viewer;
use crate::http::dashboard::answered::to;
use crate::http::dashboard::asks::Approve;
use crate::http::dashboard::asks::ForService;
use crate::http::dashboard::asks::OrderForm;
use crate::http::dashboard::asks::Upon;
use crate::http::dashboard::confirm::Confirm;
use crate::http::dashboard::page::Place;
use crate::http::dashboard::words;
use crate::http::error::ApiError;
use crate::model::Behind;
use crate::model::Code;
use crate::model::OrderKind;
use crate::model::ServiceName;
use crate::model::Stage;
use crate::model::Via;
use crate::orders;
use crate::store::Deployment;

/// The form of an adoption.
#[derive(Debug, Default, Deserialize)]
pub(in crate::http) struct Adoption {}

impl OrderForm for Adoption {
    const KIND: OrderKind = OrderKind::Adopt;
}

/// The form of a repair.
#[derive(Debug, Default, Deserialize)]
pub(in crate::http) struct Repair {}

impl OrderForm for Repair {
    const KIND: OrderKind = OrderKind::Repair;
}

/// The form that ends a hold; it needs what a rollback needs.
#[derive(Debug, Default, Deserialize)]
pub(in crate::http) struct Resumption {}

impl OrderForm for Resumption {
    const KIND: OrderKind = OrderKind::Rollback;
}

fn of_service(viewer: &Viewer, name: &ServiceName, question: &str, verb: &str, button: &'static str) -> Confirm {
    let back = format!("/services/{name}");
    Confirm::new(viewer, Place::Overview, format!("{question} {name}?"), format!("{back}/{verb}"), button, back)
}

fn adoption(viewer: &Viewer, name: &ServiceName) -> Confirm {
    of_service(viewer, name, "Adopt what runs of", "adopt", "Adopt")
        .point("Its page is looked at, and what runs is recorded as the live release. Nothing is changed.")
}

fn repairing(viewer: &Viewer, name: &ServiceName) -> Confirm {
    let confirm = of_service(viewer, name, "Repair", "repair", "Repair")
        .point("The last verified release is brought up again, and its page is looked at. Containers that differ are replaced.");
    confirm.dangerous()
}

fn resuming(viewer: &Viewer, name: &ServiceName) -> Confirm {
    of_service(viewer, name, "Let CI deploy again to", "resume", "Resume")
        .point("What holds the service ends; nothing is deployed by that.")
}

type Answer = Result<HttpResponse, PageError>;

pub(in crate::http) async fn adopt(page: Page<ForService<Adoption>>, _: web::Data<Shared>) -> Answer {
    Ok(adoption(&page.viewer, &page.ask.service.name).answer())
}

pub(in crate::http) async fn order_adopt(change: Change<ForService<Adoption>>, shared: web::Data<Shared>) -> Answer {
    let Change { viewer, ask: ForService { service, .. }, delivery } = change;
    let ordered = shared.deployer.order_adoption(&service.name, Behind::default(), viewer.caller(), delivery).await;
    Ok(match ordered {
        Ok(accepted) => to(&format!("/deployments/{}", accepted.id)),
        Err(error) => adoption(&viewer, &service.name).refused(&error.into()),
    })
}

pub(in crate::http) async fn repair(page: Page<ForService<Repair>>, _: web::Data<Shared>) -> Answer {
    Ok(repairing(&page.viewer, &page.ask.service.name).answer())
}

pub(in crate::http) async fn order_repair(change: Change<ForService<Repair>>, shared: web::Data<Shared>) -> Answer {
    let Change { viewer, ask: ForService { service, .. }, delivery } = change;
    let ordered = shared.deployer.order_repair(&service.name, Behind::default(), viewer.caller(), delivery).await;
    Ok(match ordered {
        Ok(accepted) => to(&format!("/deployments/{}", accepted.id)),
        Err(error) => repairing(&viewer, &service.name).refused(&error.into()),
    })
}

pub(in crate::http) async fn resume(page: Page<ForService<Resumption>>, _: web::Data<Shared>) -> Answer {
    Ok(resuming(&page.viewer, &page.ask.service.name).answer())
}

pub(in crate::http) async fn order_resume(change: Change<ForService<Resumption>>, shared: web::Data<Shared>) -> Answer {
    let Change { viewer, ask: ForService { service, .. }, delivery } = change;
    Ok(match shared.deployer.resume(&service.name, &viewer.caller(), delivery.as_ref()).await {
        Ok((_, silent)) if silent.is_empty() => to(&format!("/services/{}", service.name)),
        Ok((_, silent)) => resuming(&viewer, &service.name).refused(&ApiError::still_held(&silent)),
        Err(error) => resuming(&viewer, &service.name).refused(&error.into()),
    })
}

fn of_deployment(viewer: &Viewer, one: &Deployment, question: &str, verb: &str, button: &'static str) -> Confirm {
    let back = format!("/deployments/{}", one.id);
    let shown = orders::view(one);
    let question = format!("{question} the {} of {} to {}?", shown.kind.as_str(), words::tag(&shown), shown.service);
    Confirm::new(viewer, Place::Deployments, question, format!("{back}/{verb}"), button, back)
}

fn cancelling(viewer: &Viewer, one: &Deployment) -> Confirm {
    let then = if one.step.is_some_and(Stage::changes_the_host) {
        "It has changed the host already, so the release before it is restored and verified."
    } else {
        "Nothing was changed on the host yet."
    };
    of_deployment(viewer, one, "Cancel", "cancel", "Cancel it").point(then).dangerous()
}

fn retrying(viewer: &Viewer, one: &Deployment) -> Confirm {
    of_deployment(viewer, one, "Repeat", "retry", "Retry").point("The same is ordered once more; guards are asked as for every order.")
}

pub(in crate::http) async fn cancel(page: Page<Upon>, _: web::Data<Shared>) -> Answer {
    Ok(cancelling(&page.viewer, &page.ask.0).answer())
}

pub(in crate::http) async fn order_cancel(change: Change<Upon>, shared: web::Data<Shared>) -> Answer {
    let Upon(one) = change.ask;
    let (is_done, message) = shared.deployer.cancel(&one, &change.viewer.caller()).await?;
    Ok(if is_done {
        to(&format!("/deployments/{}", one.id))
    } else {
        cancelling(&change.viewer, &one).refused(&ApiError::conflict("ended", message))
    })
}

pub(in crate::http) async fn retry(page: Page<Upon>, _: web::Data<Shared>) -> Answer {
    Ok(retrying(&page.viewer, &page.ask.0).answer())
}

pub(in crate::http) async fn order_retry(change: Change<Upon>, shared: web::Data<Shared>) -> Answer {
    let Change { viewer, ask: Upon(old), delivery } = change;
    Ok(match shared.deployer.retry(&old, viewer.caller(), delivery).await {
        Ok(accepted) => to(&format!("/deployments/{}", accepted.id)),
        Err(error) => retrying(&viewer, &old).refused(&error.into()),
    })
}

fn approving(viewer: &Viewer, one: &Deployment) -> Confirm {
    let confirm = of_deployment(viewer, one, "Approve", "approval", "Approve")
        .point("The code was sent to you when the order came; it approves exactly the images of this deployment, once.");
    confirm.asking_code()
}

pub(in crate::http) async fn approval(page: Page<Approve>, _: web::Data<Shared>) -> Answer {
    Ok(approving(&page.viewer, &page.ask.deployment).answer())
}

pub(in crate::http) async fn approve(change: Change<Approve>, shared: web::Data<Shared>) -> Answer {
    let Change { viewer, ask: Approve { deployment, typed }, .. } = change;
    let code = match Code::parse(&typed.code) {
        Ok(code) => code,
        Err(why) => return Ok(approving(&viewer, &deployment).typed(typed.code).refused(&ApiError::bad_request(why))),
    };
    match shared.deployer.approve(&deployment.id, &code, &Via::Call(viewer.caller())).await {
        Ok(_) => Ok(to(&format!("/deployments/{}", deployment.id))),
        Err(why) => {
            let error = ApiError::from(why);
            if error.is_wrong_code() {
                viewer.guessed_wrong(&shared);
            }
            Ok(approving(&viewer, &deployment).typed(typed.code).refused(&error))
        }
    }
}
