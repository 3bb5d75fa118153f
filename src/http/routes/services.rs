//! `/api/v1/services`.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::web;
use smoke::Release;

use crate::api;
use crate::config::Service;
use crate::http::Shared;
use crate::http::auth::Ask;
use crate::http::auth::Call;
use crate::http::auth::Json;
use crate::http::auth::Needs;
use crate::http::auth::NoBody;
use crate::http::auth::Proven;
use crate::http::error::ApiError;
use crate::http::routes::deployments::accepted_answer;
use crate::model::Behind;
use crate::model::OrderKind;
use crate::model::Scope;
use crate::model::ServiceName;
use crate::model::Target;
use crate::model::Verb;
use crate::oidc::Job;
use crate::store::Resumed;

type Answer = Result<HttpResponse, ApiError>;

/// The services that the caller may read.
pub(super) struct Readable {
    services: Vec<Arc<Service>>,
    is_any_hidden: bool,
}

impl Ask for Readable {
    const VERB: Verb = Verb::Read;
    type Body = NoBody;

    async fn read(call: &Call<'_>, _: NoBody) -> Result<Self, ApiError> {
        let config = call.shared().config.now();
        let may_read = |service: &&Arc<Service>| call.may(&Scope::on(Verb::Read, &service.name));
        let services: Vec<Arc<Service>> = config.services.values().filter(may_read).cloned().collect();
        Ok(Self { is_any_hidden: services.len() < config.services.len(), services })
    }

    fn needs(&self) -> Needs {
        if self.services.is_empty() && self.is_any_hidden { Needs::to_read(Target::Services) } else { Needs::only_proof() }
    }
}

pub(super) async fn list(proven: Proven<Readable>, shared: web::Data<Shared>) -> Answer {
    let services: Vec<&Service> = proven.ask.services.iter().map(AsRef::as_ref).collect();
    let services = shared.watcher.dressed(shared.deployer.states(&services).await?).await?;
    let notifiers = if proven.ask.is_any_hidden { Vec::new() } else { shared.notices.states().await? };
    Ok(HttpResponse::Ok().json(api::Services { services, notifiers }))
}

/// A service that is read.
pub(super) struct ReadOne(Arc<Service>);

impl Ask for ReadOne {
    const VERB: Verb = Verb::Read;
    type Body = NoBody;

    async fn read(call: &Call<'_>, _: NoBody) -> Result<Self, ApiError> {
        Ok(Self(find(call)?))
    }

    fn needs(&self) -> Needs {
        Needs::to_read(Target::Service(self.0.name.clone()))
    }
}

pub(super) async fn show(proven: Proven<ReadOne>, shared: web::Data<Shared>) -> Answer {
    let states = shared.deployer.states(&[&proven.ask.0]).await?;
    Ok(HttpResponse::Ok().json(shared.watcher.dressed(states).await?.first()))
}

pub(super) async fn tags(proven: Proven<ReadOne>, shared: web::Data<Shared>) -> Answer {
    Ok(HttpResponse::Ok().json(shared.deployer.tags(&proven.ask.0).await?))
}

pub(super) async fn looks(proven: Proven<ReadOne>, shared: web::Data<Shared>) -> Answer {
    Ok(HttpResponse::Ok().json(shared.watcher.looks(&proven.ask.0.name).await?))
}

/// A page that is to be looked at.
pub(super) struct Look {
    service: Arc<Service>,
    wanted: api::NewLook,
}

impl Ask for Look {
    const VERB: Verb = Verb::Rollback;
    type Body = Json<api::NewLook>;

    async fn read(call: &Call<'_>, body: Json<api::NewLook>) -> Result<Self, ApiError> {
        Ok(Self { service: find(call)?, wanted: body.0 })
    }

    /// It has the page requested, and many assets of it, as often as it is asked.
    fn needs(&self) -> Needs {
        Needs::to_act(Verb::Rollback, Target::Service(self.service.name.clone()), None)
    }
}

/// Looks at the page of a service, and says what is wrong with it.
pub(super) async fn look(proven: Proven<Look>, shared: web::Data<Shared>) -> Answer {
    let Look { service, wanted } = proven.ask;
    let release = wanted.tag.map(|tag| Release { tag: tag.to_string(), commit: wanted.commit });
    Ok(HttpResponse::Ok().json(shared.watcher.look_now(&service, release).await?))
}

/// A service of which something is taken or made that a rollback makes.
pub(super) struct Operate {
    service: Arc<Service>,
    behind: Behind,
}

impl Ask for Operate {
    const VERB: Verb = Verb::Rollback;
    type Body = NoBody;

    async fn read(call: &Call<'_>, _: NoBody) -> Result<Self, ApiError> {
        Ok(Self { service: find(call)?, behind: Behind::default() })
    }

    /// It names no ref, so a key that is bound to refs may not do it.
    fn needs(&self) -> Needs {
        Needs::to_order(OrderKind::Rollback, &self.service.name, false, None)
    }

    fn of_job(self, job: &Job) -> Result<Self, ApiError> {
        Ok(Self { behind: Behind { run_url: Some(job.run_url.clone()), actor: job.actor.clone() }, ..self })
    }
}

pub(super) async fn adopt(proven: Proven<Operate>, shared: web::Data<Shared>) -> Answer {
    let Proven { ask: Operate { service, behind }, caller, delivery, line } = proven;
    let accepted = shared.deployer.order_adoption(&service.name, behind, caller, delivery).await?;
    Ok(accepted_answer(accepted, line, &shared))
}

pub(super) async fn repair(proven: Proven<Operate>, shared: web::Data<Shared>) -> Answer {
    let Proven { ask: Operate { service, behind }, caller, delivery, line } = proven;
    let accepted = shared.deployer.order_repair(&service.name, behind, caller, delivery).await?;
    Ok(accepted_answer(accepted, line, &shared))
}

pub(super) async fn resume(proven: Proven<Operate>, shared: web::Data<Shared>) -> Answer {
    let service = &proven.ask.service;
    let (resumed, silent) = shared.deployer.resume(&service.name, &proven.caller, proven.delivery.as_ref()).await?;
    let message = match resumed {
        Resumed::Now => format!("{} accepts orders again.", service.name),
        Resumed::NotHeld => format!("{} was not held.", service.name),
        Resumed::Before => "This call was already carried out; nothing was changed.".to_owned(),
    };
    let message = if silent.is_empty() { message } else { format!("{message} {}", ApiError::still_held(&silent)) };
    Ok(HttpResponse::Ok().json(api::Done { message }))
}

/// The service that the path names.
fn find(call: &Call<'_>) -> Result<Arc<Service>, ApiError> {
    let name = call.part("name");
    let missing = || ApiError::not_found(format!("There is no service {}; `tagalong status` lists them.", name.escape_default()));
    let name = ServiceName::parse(name).map_err(|_| missing())?;
    call.shared().config.now().service(&name).cloned().ok_or_else(missing)
}
