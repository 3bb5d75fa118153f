//! `/api/v1/users`: who may log in to the dashboard. For whoever may do everything already, the operator on the host above all, since a new
//! user may be given any permission.

use actix_web::HttpResponse;
use actix_web::web;

use crate::api;
use crate::http::Shared;
use crate::http::asks::Operator;
use crate::http::auth::Ask;
use crate::http::auth::Call;
use crate::http::auth::Json;
use crate::http::auth::Needs;
use crate::http::auth::NoBody;
use crate::http::auth::Proven;
use crate::http::auth::password::is_hash;
use crate::http::error::ApiError;
use crate::http::people;
use crate::http::people::Changed;
use crate::model::Scope;
use crate::model::UserName;
use crate::model::Verb;
use crate::oidc::Job;
use crate::store::User;

type Answer = Result<HttpResponse, ApiError>;

/// A user to add.
pub(super) struct Add {
    name: UserName,
    scopes: Vec<Scope>,
}

impl Ask for Add {
    const VERB: Verb = Verb::Rollback;
    type Body = Json<api::NewUser>;

    async fn read(call: &Call<'_>, body: Self::Body) -> Result<Self, ApiError> {
        let api::NewUser { name, scopes } = body.0;
        let scopes = people::scopes_of(&call.shared().config.now(), scopes.iter().map(String::as_str))?;
        let name = people::of_this_server(name)?;
        Ok(Self { name, scopes })
    }

    fn needs(&self) -> Needs {
        Needs::operator()
    }

    fn of_job(self, _: &Job) -> Result<Self, ApiError> {
        Err(no_job())
    }
}

/// A user, by the path.
pub(super) struct One(UserName);

impl Ask for One {
    const VERB: Verb = Verb::Rollback;
    type Body = NoBody;

    async fn read(call: &Call<'_>, _: NoBody) -> Result<Self, ApiError> {
        named(call).map(Self)
    }

    fn needs(&self) -> Needs {
        Needs::operator()
    }

    fn of_job(self, _: &Job) -> Result<Self, ApiError> {
        Err(no_job())
    }
}

/// A user to change, by the path.
pub(super) struct Change {
    name: UserName,
    body: api::UserChange,
}

impl Ask for Change {
    const VERB: Verb = Verb::Rollback;
    type Body = Json<api::UserChange>;

    async fn read(call: &Call<'_>, body: Self::Body) -> Result<Self, ApiError> {
        Ok(Self { name: named(call)?, body: body.0 })
    }

    fn needs(&self) -> Needs {
        Needs::operator()
    }

    fn of_job(self, _: &Job) -> Result<Self, ApiError> {
        Err(no_job())
    }
}

fn named(call: &Call<'_>) -> Result<UserName, ApiError> {
    UserName::parse(call.part("name")).map_err(|_| people::nobody(call.part("name")))
}

fn no_job() -> ApiError {
    ApiError::token_refused("A job cannot change users; a person does, on the host.")
}

/// Codes and hashes go over ways only that nobody else can read.
fn check_line<A: Ask>(proven: &Proven<A>) -> Result<(), ApiError> {
    if proven.line.is_private() {
        return Ok(());
    }
    Err(ApiError::forbidden("Users are changed over the unix socket, https or loopback only."))
}

pub(super) async fn list(_: Proven<Operator>, shared: web::Data<Shared>) -> Answer {
    let view = |user: User| api::User {
        name: user.name,
        scopes: user.scopes.iter().map(Scope::to_string).collect(),
        has_password: user.has_password,
        disabled: user.is_disabled,
        created_ms: user.created_ms,
        seen_ms: user.seen_ms,
        sessions: user.sessions,
    };
    let users = shared.store.users().await?.into_iter().map(view).collect();
    Ok(HttpResponse::Ok().json(api::Users { users }))
}

pub(super) async fn add(proven: Proven<Add>, shared: web::Data<Shared>) -> Answer {
    check_line(&proven)?;
    let Add { name, scopes } = &proven.ask;
    let is_new = people::change(&shared, name, Changed::Scopes(scopes), &proven.caller).await? == 1;
    let scopes: Vec<String> = scopes.iter().map(Scope::to_string).collect();
    let done = if is_new { "was added and may do" } else { "was there already and may now do" };
    Ok(HttpResponse::Ok().json(api::Done { message: format!("{name} {done} {}.", scopes.join(", ")) }))
}

/// Makes a code that logs the user in once.
pub(super) async fn code(proven: Proven<One>, shared: web::Data<Shared>) -> Answer {
    check_line(&proven)?;
    let (code, until_ms) = people::new_code(&shared, &proven.ask.0, &proven.caller).await?;
    let address = people::login_address(&shared.config.now());
    Ok(HttpResponse::Ok().json(api::LoginCode { code: code.grouped(), until_ms, address }))
}

pub(super) async fn change(proven: Proven<Change>, shared: web::Data<Shared>) -> Answer {
    check_line(&proven)?;
    let Change { name, body } = &proven.ask;
    let mut done = Vec::new();
    if let Some(hash) = &body.password_hash {
        if !is_hash(hash) {
            return Err(ApiError::bad_request("The password_hash is not an argon2id hash as `tagalong user password` makes it."));
        }
        if people::change(&shared, name, Changed::Password(hash), &proven.caller).await? == 0 {
            return Err(people::nobody(name.as_str()));
        }
        done.push(format!("{name} has a new password, and every session of {name} has ended."));
    }
    if let Some(is_disabled) = body.disabled {
        let what = if is_disabled { Changed::Disabled } else { Changed::Enabled };
        if people::change(&shared, name, what, &proven.caller).await? == 0 {
            return Err(people::nobody(name.as_str()));
        }
        done.push(if is_disabled { format!("{name} is logged out and cannot log in.") } else { format!("{name} can log in again.") });
    }
    if body.end_sessions {
        let ended = people::change(&shared, name, Changed::LoggedOut, &proven.caller).await?;
        done.push(format!("{ended} sessions of {name} have ended."));
    }
    if done.is_empty() {
        return Err(ApiError::bad_request("Nothing is to be changed; set password_hash, disabled or end_sessions."));
    }
    Ok(HttpResponse::Ok().json(api::Done { message: done.join(" ") }))
}

pub(super) async fn remove(proven: Proven<One>, shared: web::Data<Shared>) -> Answer {
    check_line(&proven)?;
    let name = &proven.ask.0;
    if people::change(&shared, name, Changed::Removed, &proven.caller).await? == 0 {
        return Err(people::nobody(name.as_str()));
    }
    Ok(HttpResponse::Ok().json(api::Done { message: format!("{name} was removed, and every session of {name} has ended.") }))
}
