//! `/api/v1/deployments` and `/api/v1/rollbacks`.

use actix_web::HttpResponse;
use actix_web::web;
use utoipa::IntoParams as _;
use utoipa::openapi::path::Parameter;
use utoipa::openapi::path::ParameterIn;

use crate::api;
use crate::http::Shared;
use crate::http::auth::Ask;
use crate::http::auth::Call;
use crate::http::auth::Json;
use crate::http::auth::Line;
use crate::http::auth::Needs;
use crate::http::auth::NoBody;
use crate::http::auth::Proven;
use crate::http::auth::agrees;
use crate::http::error::ApiError;
use crate::http::repeats;
use crate::model::Caller;
use crate::model::DeploymentId;
use crate::model::OrderKind;
use crate::model::Outcome;
use crate::model::ServiceName;
use crate::model::State;
use crate::model::Target;
use crate::model::Verb;
use crate::model::commit_text;
use crate::model::ref_text;
use crate::model::run_url_text;
use crate::oidc::Job;
use crate::orders;
use crate::store;
use crate::store::Deployment;
use crate::store::Filter;

type Answer = Result<HttpResponse, ApiError>;

impl Ask for api::NewDeployment {
    const VERB: Verb = Verb::Deploy;
    type Body = Json<Self>;

    async fn read(_: &Call<'_>, body: Json<Self>) -> Result<Self, ApiError> {
        Ok(body.0)
    }

    fn needs(&self) -> Needs {
        Needs::to_order(OrderKind::Deploy, &self.service, self.force, self.git_ref.as_deref())
    }

    fn of_job(self, job: &Job) -> Result<Self, ApiError> {
        agrees("commit", self.commit.as_deref(), &job.commit)?;
        agrees("ref", self.git_ref.as_deref(), &job.git_ref)?;
        agrees("run_url", self.run_url.as_deref(), &job.run_url)?;
        agrees("run_number", self.run_number.map(|number| number.to_string()).as_deref(), &job.run_number.to_string())?;
        for commit in whole_commits(self.tag.as_str()) {
            agrees("tag", Some(commit), &job.commit)?;
        }
        Ok(Self {
            commit: Some(job.commit.clone()),
            git_ref: Some(job.git_ref.clone()),
            run_url: Some(job.run_url.clone()),
            run_number: Some(job.run_number),
            actor: job.actor.clone(),
            ..self
        })
    }
}

/// What in a tag is the whole name of a commit: 40 or 64 hex digits.
fn whole_commits(tag: &str) -> impl Iterator<Item = &str> {
    tag.split(|c: char| !c.is_ascii_hexdigit()).filter(|part| matches!(part.len(), 40 | 64))
}

pub(super) async fn create(proven: Proven<api::NewDeployment>, shared: web::Data<Shared>) -> Answer {
    let Proven { ask, caller, delivery, line } = proven;
    check_text(ask.reason.as_deref())?;
    for (given, check) in [(&ask.commit, commit_text as fn(&str) -> _), (&ask.git_ref, ref_text), (&ask.run_url, run_url_text)] {
        given.as_deref().map(check).transpose().map_err(|error| ApiError::bad_request(error.to_string()))?;
    }
    let accepted = shared.deployer.order_deployment(ask, caller, delivery).await?;
    Ok(accepted_answer(accepted, line, &shared))
}

impl Ask for api::NewRollback {
    const VERB: Verb = Verb::Rollback;
    type Body = Json<Self>;

    async fn read(_: &Call<'_>, body: Json<Self>) -> Result<Self, ApiError> {
        Ok(body.0)
    }

    /// A rollback names no ref, so a key that is bound to refs may not order one.
    fn needs(&self) -> Needs {
        Needs::to_order(OrderKind::Rollback, &self.service, self.force, None)
    }

    fn of_job(self, job: &Job) -> Result<Self, ApiError> {
        agrees("run_url", self.run_url.as_deref(), &job.run_url)?;
        Ok(Self { run_url: Some(job.run_url.clone()), actor: job.actor.clone(), ..self })
    }
}

pub(super) async fn roll_back(proven: Proven<api::NewRollback>, shared: web::Data<Shared>) -> Answer {
    let Proven { ask, caller, delivery, line } = proven;
    check_text(ask.reason.as_deref())?;
    ask.run_url.as_deref().map(run_url_text).transpose().map_err(|error| ApiError::bad_request(error.to_string()))?;
    let accepted = shared.deployer.order_rollback(ask, caller, delivery).await?;
    Ok(accepted_answer(accepted, line, &shared))
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Only the deployments of this service.
    #[param(value_type = Option<String>)]
    service: Option<ServiceName>,
    /// `waiting`, `running`, `done`, or the name of an outcome.
    state: Option<String>,
    /// Only deployments older than this one: `next_before` of the previous page.
    #[param(value_type = Option<String>)]
    before: Option<DeploymentId>,
    /// The most deployments to return; the default is 20.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
}

pub(super) fn list_takes() -> Vec<Parameter> {
    ListQuery::into_params(|| Some(ParameterIn::Query))
}

/// Deployments of one service, or of all.
pub(super) struct Listed(Filter);

impl Ask for Listed {
    const VERB: Verb = Verb::Read;
    type Body = NoBody;

    async fn read(call: &Call<'_>, _: NoBody) -> Result<Self, ApiError> {
        let ListQuery { service, state, before, limit } = call.query()?;
        Ok(Self(Filter { service, state, before, limit: limit.unwrap_or(20).clamp(1, 200) }))
    }

    fn needs(&self) -> Needs {
        Needs::to_read(self.0.service.clone().map_or(Target::Services, Target::Service))
    }
}

pub(super) async fn list(proven: Proven<Listed>, shared: web::Data<Shared>) -> Answer {
    let Listed(filter) = proven.ask;
    if let Some(unknown) =
        filter.state.as_ref().filter(|state| !State::NAMES.contains(&state.as_str()) && !Outcome::NAMES.contains(&state.as_str()))
    {
        return Err(ApiError::bad_request(format!(
            "There is no state {}; use waiting, running, done or an outcome.",
            unknown.escape_default()
        )));
    }
    let found = shared.store.list(&filter).await?;
    let many = found.deployments.len() + found.unreadable.len();
    let next_before = if many as i64 == filter.limit { found.last } else { None };
    let unreadable = found.unreadable.iter().map(ToString::to_string).collect();
    Ok(HttpResponse::Ok().json(api::Deployments {
        deployments: found.deployments.iter().map(orders::view).collect(),
        next_before,
        unreadable,
    }))
}

/// A deployment that is read.
pub(super) struct ReadOne(pub(super) Deployment);

impl Ask for ReadOne {
    const VERB: Verb = Verb::Read;
    type Body = NoBody;

    async fn read(call: &Call<'_>, _: NoBody) -> Result<Self, ApiError> {
        Ok(Self(find(call).await?))
    }

    fn needs(&self) -> Needs {
        Needs::to_read(Target::Service(self.0.order.service.clone()))
    }

    fn ordered_by(&self) -> Option<&Caller> {
        Some(&self.0.order.caller)
    }
}

pub(super) async fn show(proven: Proven<ReadOne>, shared: web::Data<Shared>) -> Answer {
    Ok(HttpResponse::Ok().json(shared.deployer.view(&proven.ask.0).await?))
}

/// A deployment that is called off or ordered once more: it needs what its order needed, verb, force and ref.
pub(super) struct ActUpon(Deployment);

impl Ask for ActUpon {
    const VERB: Verb = Verb::Deploy;
    type Body = NoBody;

    async fn read(call: &Call<'_>, _: NoBody) -> Result<Self, ApiError> {
        Ok(Self(find(call).await?))
    }

    fn needs(&self) -> Needs {
        let order = &self.0.order;
        Needs::to_order(order.kind, &order.service, order.force, order.git_ref.as_deref())
    }

    /// What another run ordered is another commit's, or somebody else's.
    fn of_job(mut self, job: &Job) -> Result<Self, ApiError> {
        if self.0.order.run_url.as_deref() == Some(&job.run_url) {
            self.0.order.actor.clone_from(&job.actor);
            return Ok(self);
        }
        Err(ApiError::token_refused(format!(
            "Deployment {} was not ordered by the run {} of the token; a job can cancel or retry only what its own run ordered.",
            self.0.id, job.run_url
        )))
    }
}

pub(super) async fn cancel(proven: Proven<ActUpon>, shared: web::Data<Shared>) -> Answer {
    repeats::use_up(&shared, &proven.caller, proven.delivery.as_ref()).await?;
    let (done, message) = shared.deployer.cancel(&proven.ask.0, &proven.caller).await?;
    if done { Ok(HttpResponse::Ok().json(api::Done { message })) } else { Err(ApiError::conflict("ended", message)) }
}

pub(super) async fn retry(proven: Proven<ActUpon>, shared: web::Data<Shared>) -> Answer {
    let Proven { ask: ActUpon(old), caller, delivery, line } = proven;
    let accepted = shared.deployer.retry(&old, caller, delivery).await?;
    Ok(accepted_answer(accepted, line, &shared))
}

/// The deployment that the path names.
pub(super) async fn find(call: &Call<'_>) -> Result<Deployment, ApiError> {
    let id = call.part("id");
    let missing = || ApiError::not_found(format!("There is no deployment {}; `tagalong history` lists them.", id.escape_default()));
    let id = DeploymentId::parse(id).map_err(|_| missing())?;
    call.shared().store.get(&id).await?.ok_or_else(missing)
}

/// 202: the order is on disk.
pub(super) fn accepted_answer(accepted: store::Accepted, line: Line, shared: &Shared) -> HttpResponse {
    let location = format!("/api/v1/deployments/{}", accepted.id);
    let mut answer = HttpResponse::Accepted();
    answer.insert_header(("location", location.clone()));
    if let Some(token) = line.read_token(&accepted, &shared.token_key) {
        answer.insert_header((api::READ_TOKEN_HEADER, token));
    }
    answer.json(api::Accepted { id: accepted.id, location, superseded: accepted.superseded, preempted: accepted.preempted })
}

/// A text for the record: bounded, so that a record stays a record.
fn check_text(reason: Option<&str>) -> Result<(), ApiError> {
    const LONGEST: usize = 2000;
    match reason.filter(|text| text.len() > LONGEST || text.contains('\0')) {
        Some(_) => Err(ApiError::bad_request(format!("The reason must be shorter than {LONGEST} bytes and must not contain NUL."))),
        None => Ok(()),
    }
}
