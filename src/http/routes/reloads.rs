//! `/api/v1/reloads`, `/api/v1/datasets`, and `/api/_internal/reload-data` as its users have called it since before there was a
//! tagalong: same questions, same words in the answers, ours beside them.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::api;
use crate::clock;
use crate::http::Shared;
use crate::http::auth::Ask;
use crate::http::auth::Call;
use crate::http::auth::Json;
use crate::http::auth::Needs;
use crate::http::auth::NoBody;
use crate::http::auth::Proven;
use crate::http::auth::Told;
use crate::http::auth::Unproven;
use crate::http::auth::agrees;
use crate::http::error::ApiError;
use crate::http::reloading::carry_out;
use crate::http::repeats;
use crate::model::Caller;
use crate::model::CommitName;
use crate::model::DatasetName;
use crate::model::Reconcile;
use crate::model::Scope;
use crate::model::Target;
use crate::model::Verb;
use crate::model::is_ref;
use crate::model::ref_text;
use crate::oidc::Job;
use crate::reload;
use crate::reload::Done;
use crate::reload::Load;
use crate::reload::Ran;
use crate::reload::ReloadError;
use crate::reload::Reply;
use crate::reload::TellPeers;
use crate::store::Delivery;

type Answer = Result<HttpResponse, ApiError>;

impl Ask for api::NewReload {
    const VERB: Verb = Verb::Reload;
    type Body = Json<Self>;

    async fn read(_: &Call<'_>, body: Json<Self>) -> Result<Self, ApiError> {
        Ok(body.0)
    }

    fn needs(&self) -> Needs {
        let full = |branch: &String| if branch.starts_with("refs/") { branch.clone() } else { format!("refs/heads/{branch}") };
        Needs::to_act(Verb::Reload, Target::Dataset(self.dataset.clone()), self.branch.as_ref().map(full))
    }

    /// The job may be of another repository than the data, so nothing is filled in.
    fn of_job(self, job: &Job) -> Result<Self, ApiError> {
        let short = job.git_ref.strip_prefix("refs/heads/").unwrap_or(&job.git_ref);
        let is_full = self.branch.as_ref().is_some_and(|branch| branch.starts_with("refs/"));
        agrees("branch", self.branch.as_deref(), if is_full { &job.git_ref } else { short })?;
        agrees("commitHash", self.commit_hash.as_ref().map(CommitName::as_str), &job.commit.to_ascii_lowercase())?;
        Ok(self)
    }
}

pub(super) async fn create(proven: Proven<api::NewReload>, shared: web::Data<Shared>) -> Answer {
    let Proven { ask, caller, delivery, .. } = proven;
    ask.branch.as_deref().map(ref_text).transpose().map_err(|error| ApiError::bad_request(error.to_string()))?;
    repeats::use_up(&shared, &caller, delivery.as_ref()).await?;
    // Servers on one database each have a checkout of their own, and may be told by the very same call.
    let here = |delivery: Delivery| Delivery { caller: format!("{} {}", delivery.caller, shared.deployer.executor()), ..delivery };
    let work = create_once(shared.clone(), caller, ask);
    let (status, view) = repeats::once(&shared, delivery.map(here), work).await?;
    Ok(HttpResponse::build(status).json(view))
}

/// The answer, once something was done.
async fn create_once(shared: web::Data<Shared>, caller: Caller, ask: api::NewReload) -> Result<repeats::Answer, ApiError> {
    let peers = match ask.all_peers {
        None => TellPeers::Later,
        Some(true) => TellPeers::Now,
        Some(false) => TellPeers::Never,
    };
    tracing::debug!(dataset = %ask.dataset, %caller, commit = ask.commit_hash.as_ref().map(tracing::field::display), "reload requested");
    let asked = reload::Ask { branch: ask.branch, commit: ask.commit_hash, peers };
    let reply = carry_out(&shared, &caller.to_string(), &ask.dataset, &asked).await?;
    let view = reply.view(&ask.dataset);
    if peers == TellPeers::Now {
        let all = view.ok && view.peers.iter().all(|peer| peer.ok);
        return Ok(Ok((if all { StatusCode::OK } else { StatusCode::MULTI_STATUS }, view)));
    }
    if view.ok {
        return Ok(Ok((StatusCode::OK, view)));
    }
    Ok(Err(refusal(&reply, view.why.unwrap_or_default())))
}

/// A reload that failed, as a problem whose code names the outcome.
fn refusal(reply: &Reply, why: String) -> ApiError {
    let Done::Ran(ran) = &reply.done else { return ApiError::conflict("not_contained", why) };
    if ran.is_ok() {
        return ApiError::conflict("not_contained", why);
    }
    let code = match (&ran.load, ran.reconciled) {
        (Load::Failed(_), _) => "not_loaded",
        (_, Some(Reconcile::FetchFailed)) => "fetch_failed",
        (_, Some(Reconcile::PushFailed)) => "push_failed",
        (_, Some(Reconcile::RemoteBranchMissing)) => "remote_branch_missing",
        _ => "dataset_unusable",
    };
    ApiError::behind(code, why)
}

/// The datasets that the caller may read.
pub(super) struct Readable {
    datasets: Vec<api::Dataset>,
    unseen: Vec<String>,
    is_any_hidden: bool,
}

/// What needs reading a dataset.
fn reading(dataset: &DatasetName) -> Scope {
    Scope { verb: Verb::Read, target: Target::Dataset(dataset.clone()) }
}

impl Ask for Readable {
    const VERB: Verb = Verb::Read;
    type Body = NoBody;

    async fn read(call: &Call<'_>, _: NoBody) -> Result<Self, ApiError> {
        let mut datasets = call.shared().reloader.datasets().await?;
        let all = datasets.len();
        datasets.retain(|dataset| call.may(&reading(&dataset.name)));
        let is_any_hidden = datasets.len() < all;
        let mut unseen = Vec::new();
        // A scope for one dataset is for the one of this host, whatever an agent calls its own.
        if call.may(&Scope { verb: Verb::Read, target: Target::Datasets }) {
            let (elsewhere, why) = call.shared().deployer.agents().datasets().await;
            datasets.extend(elsewhere);
            unseen = why;
        }
        Ok(Self { datasets, unseen, is_any_hidden })
    }

    fn needs(&self) -> Needs {
        if self.datasets.is_empty() && self.is_any_hidden { Needs::to_read(Target::Datasets) } else { Needs::only_proof() }
    }
}

pub(super) async fn list(proven: Proven<Readable>, _: web::Data<Shared>) -> Answer {
    let Readable { datasets, unseen, .. } = proven.ask;
    Ok(HttpResponse::Ok().json(api::Datasets { datasets, unseen }))
}

/// A dataset that is read.
pub(super) struct ReadOne(DatasetName);

impl Ask for ReadOne {
    const VERB: Verb = Verb::Read;
    type Body = NoBody;

    async fn read(call: &Call<'_>, _: NoBody) -> Result<Self, ApiError> {
        let name = call.part("name");
        let missing = || ApiError::not_found(format!("There is no dataset {}; `tagalong data status` lists them.", name.escape_default()));
        let found = DatasetName::parse(name).map_err(|_| missing())?;
        if call.shared().config.now().datasets.contains_key(&found) { Ok(Self(found)) } else { Err(missing()) }
    }

    fn needs(&self) -> Needs {
        Needs::to_read(Target::Dataset(self.0.clone()))
    }
}

pub(super) async fn show(proven: Proven<ReadOne>, shared: web::Data<Shared>) -> Answer {
    Ok(HttpResponse::Ok().json(shared.reloader.dataset(&proven.ask.0).await?))
}

/// `POST /api/_internal/reload-data`.
pub(super) async fn reload_data(told: Result<Told, Unproven>, shared: web::Data<Shared>) -> HttpResponse {
    let trace = clock::new_id().to_string();
    let told = match told {
        Ok(told) => told,
        Err(Unproven::Unauthorized) => return failure(StatusCode::UNAUTHORIZED, "unauthorized", "Authentication required", &trace),
        Err(Unproven::NotConfigured) => {
            return failure(StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", "hot-reload not configured", &trace);
        }
        Err(Unproven::Other(error)) => return error.in_envelope(&trace),
    };
    let (dataset, ask) = match read(&told) {
        Ok(ask) => (told.dataset(), ask),
        Err((status, code, why)) => return failure(status, code, &why, &trace),
    };
    // Who has the secret is who calls.
    match carry_out(&shared, &format!("secret:{dataset}"), dataset, &ask).await {
        Ok(reply) => answer(&reply, &trace),
        Err(ReloadError::Unknown(_)) => {
            failure(StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", "hot-reload not configured", &trace)
        }
        Err(ReloadError::NoName(..)) => failure(StatusCode::BAD_REQUEST, "bad_request", NO_NAME, &trace),
        Err(error @ (ReloadError::Stopping(_) | ReloadError::Store(_))) => {
            failure(StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", &error.to_string(), &trace)
        }
    }
}

/// The body, when there is one. Fields that nobody knows are passed over, as they have always been.
fn read(told: &Told) -> Result<reload::Ask, (StatusCode, &'static str, String)> {
    let wrong = |why: &str| (StatusCode::BAD_REQUEST, "bad_request", why.to_owned());
    if told.body().is_empty() {
        return Ok(reload::Ask::default());
    }
    let kind = told.content_type().unwrap_or("application/json");
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "body must be application/json".to_owned()));
    }
    let given: Value = serde_json::from_slice(told.body()).map_err(|_| wrong("body must be JSON"))?;
    let Value::Object(fields) = given else { return Err(wrong("body must be an object")) };
    let text = |name: &str| match fields.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(wrong(&format!("body/{name} must be string"))),
    };
    let branch = text("branch")?;
    if branch.as_ref().is_some_and(|branch| branch.is_empty() || branch.chars().count() > 200) {
        return Err(wrong("body/branch must have 1 to 200 characters"));
    }
    if branch.as_deref().is_some_and(|branch| !is_ref(branch)) {
        return Err(wrong("body/branch must be the name of a branch"));
    }
    let commit = text("commitHash")?.map(|commit| CommitName::parse(&commit));
    let commit = commit.transpose().map_err(|_| wrong(NO_NAME))?;
    Ok(reload::Ask { branch, commit, peers: TellPeers::Later })
}

const NO_NAME: &str = "body/commitHash must be a full or abbreviated object name";

/// The words that its users know for the outcomes.
fn their_word(outcome: Option<Reconcile>) -> &'static str {
    match outcome {
        None => "unusable",
        Some(Reconcile::Pushed) => "pushed-ahead",
        Some(Reconcile::ConflictParked) => "conflict-escaped",
        Some(other) => other.as_str(),
    }
}

fn answer(reply: &Reply, trace: &str) -> HttpResponse {
    let duration_ms = reply.took.as_millis() as u64;
    let loaded = reply.loaded.as_ref().map(ToString::to_string);
    let data = match &reply.done {
        Done::Ignored => json!({ "noChanges": true, "outcome": "ignored", "durationMs": duration_ms }),
        Done::Contained => json!({ "noChanges": true, "outcome": "in-sync", "head": loaded, "durationMs": duration_ms }),
        Done::Ran(ran) if !ran.is_ok() => return behind(ran, trace),
        Done::Ran(ran) if !reply.is_ok() => return missing(reply, ran, trace),
        Done::Ran(ran) => {
            let (rebuilt, (from, to)) = (ran.load == Load::Loaded, (&ran.from, &ran.to));
            let mut data = Map::new();
            data.insert("noChanges".into(), (!rebuilt).into());
            if rebuilt {
                data.insert("rebuilt".into(), true.into());
            }
            data.insert("outcome".into(), their_word(ran.reconciled).into());
            data.insert("oldCommit".into(), json!(from));
            data.insert("newCommit".into(), json!(to));
            if let Some(branch) = &ran.parked {
                data.insert("conflictBranch".into(), branch.as_str().into());
            }
            data.insert("durationMs".into(), duration_ms.into());
            data.insert("reconcile".into(), ran.outcome().into());
            data.insert("from".into(), json!(from));
            data.insert("to".into(), json!(to));
            data.insert("loaded".into(), json!(loaded));
            if let Some(why) = ran.why() {
                data.insert("why".into(), why.into());
            }
            Value::Object(data)
        }
    };
    HttpResponse::Ok().json(json!({ "success": true, "data": data, "traceId": trace }))
}

/// What is served is not as new as it should be: never a success.
fn behind(ran: &Ran, trace: &str) -> HttpResponse {
    let why = ran.why().unwrap_or_default();
    let (status, code) = match (&ran.load, ran.reconciled) {
        (Load::Failed(_), _) => (StatusCode::INTERNAL_SERVER_ERROR, "internal_error"),
        (_, Some(Reconcile::FetchFailed)) => (StatusCode::BAD_GATEWAY, "fetch_failed"),
        (_, Some(Reconcile::PushFailed)) => (StatusCode::BAD_GATEWAY, "push_failed"),
        (_, Some(Reconcile::RemoteBranchMissing)) => (StatusCode::BAD_GATEWAY, "remote_branch_missing"),
        _ => (StatusCode::BAD_GATEWAY, "dataset_unusable"),
    };
    let error = json!({ "code": code, "message": why, "outcome": their_word(ran.reconciled) });
    HttpResponse::build(status).json(json!({ "success": false, "error": error, "traceId": trace }))
}

/// All is well but for the commit that was asked for, which is not served.
fn missing(reply: &Reply, ran: &Ran, trace: &str) -> HttpResponse {
    let loaded = reply.loaded.as_ref().map(ToString::to_string);
    let message = reply.missing().unwrap_or_default();
    let error = json!({ "code": "not_contained", "message": message, "outcome": their_word(ran.reconciled), "loaded": loaded });
    HttpResponse::build(StatusCode::CONFLICT).json(json!({ "success": false, "error": error, "traceId": trace }))
}

fn failure(status: StatusCode, code: &str, message: &str, trace: &str) -> HttpResponse {
    HttpResponse::build(status).json(json!({ "success": false, "error": { "code": code, "message": message }, "traceId": trace }))
}
