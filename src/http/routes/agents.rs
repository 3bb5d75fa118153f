//! `/api/v1/agents` and `/ws/agent`.

use actix_web::HttpResponse;
use actix_web::web;

use crate::api;
use crate::http::Shared;
use crate::http::agent_lines;
use crate::http::asks::SeeHosts;
use crate::http::auth::Ask;
use crate::http::auth::Call;
use crate::http::auth::Dialled;
use crate::http::auth::Enrolling;
use crate::http::auth::Needs;
use crate::http::auth::NoBody;
use crate::http::auth::Proven;
use crate::http::enrolment;
use crate::http::error::ApiError;
use crate::line::Cut;
use crate::line::Remembered;
use crate::line::Showing;
use crate::model::AgentName;
use crate::model::Verb;
use crate::oidc::Job;
use crate::store::Enrolled;
use crate::store::Enrolment;
use crate::store::Readmitted;

type Answer = Result<HttpResponse, ApiError>;

pub(super) async fn list(_: Proven<SeeHosts>, shared: web::Data<Shared>) -> Answer {
    Ok(HttpResponse::Ok().json(enrolment::agents(&shared).await?))
}

/// One agent, by the operator.
pub(super) struct OneAgent(AgentName);

impl Ask for OneAgent {
    const VERB: Verb = Verb::Rollback;
    type Body = NoBody;

    async fn read(call: &Call<'_>, _: NoBody) -> Result<Self, ApiError> {
        AgentName::parse(call.part("name")).map(Self).map_err(|error| ApiError::bad_request(error.to_string()))
    }

    fn needs(&self) -> Needs {
        Needs::operator()
    }

    fn of_job(self, _: &Job) -> Result<Self, ApiError> {
        Err(ApiError::token_refused("A job cannot enrol or revoke an agent; a person does, on the control plane."))
    }
}

/// A code that enrols the agent: over ways only that nobody else can read.
pub(super) async fn code(proven: Proven<OneAgent>, shared: web::Data<Shared>) -> Answer {
    if !proven.line.is_private() {
        return Err(ApiError::forbidden("A code that enrols an agent is given over the unix socket, https or loopback only."));
    }
    let (text, until_ms) = enrolment::new_code(&shared, &proven.ask.0, &proven.caller).await?;
    Ok(HttpResponse::Ok().insert_header(("cache-control", "no-store")).json(api::AgentCode { code: text.reveal().to_owned(), until_ms }))
}

/// The agent's keys count no more, and its line is cut before this is answered.
pub(super) async fn revoke(proven: Proven<OneAgent>, shared: web::Data<Shared>) -> Answer {
    let name = &proven.ask.0;
    enrolment::revoke(&shared, name, &proven.caller).await?;
    Ok(HttpResponse::Ok().json(api::Done { message: format!("The agent {name} is revoked: its keys count no more.") }))
}

/// An agent counts again that was enrolled here before the database was lost, by the key that it had. It still has to prove that key, and
/// one that was revoked does not count again.
pub(super) async fn readmit(proven: Proven<OneAgent>, shared: web::Data<Shared>) -> Answer {
    let name = &proven.ask.0;
    let memory = &shared.lines.memory;
    let lost = memory.lost(&shared.store.agents().await?).map_err(|error| ApiError::conflict("agents_unreadable", error.to_string()))?;
    let Some(Remembered { name, machine, keys, .. }) = lost.into_iter().find(|one| one.name == *name) else {
        let how = format!("`tagalong agent token {name}` prints a code that enrols a host");
        return Err(ApiError::not_found(format!("No agent {name} was lost with the database; {how}.")));
    };
    let known = Readmitted { name, machine, keys };
    if !shared.store.readmit_agent(&known, &proven.caller.to_string()).await? {
        return Err(ApiError::conflict("agent_known", format!("The agent {} is known; nothing was changed.", known.name)));
    }
    let key = enrolment::fingerprints(&known.keys);
    let message = format!("The agent {} counts again with the key {key}; it connects within five minutes.", known.name);
    Ok(HttpResponse::Ok().json(api::Done { message }))
}

/// Enrols a host that shows a code.
pub(super) async fn enrol(enrolling: Enrolling, shared: web::Data<Shared>) -> Answer {
    let body = &enrolling.body;
    let enrolment = Enrolment { code: body.code.clone(), key: body.key.clone(), machine: body.machine.clone() };
    let name = match shared.store.enrol_agent(&enrolment).await? {
        Enrolled::Done(name) => {
            // What was open was opened with a key that counts no more.
            shared.deployer.agents().cut(&name, Cut::Revoked);
            name
        }
        Enrolled::Again(name) => name,
        Enrolled::Unknown => {
            enrolling.was_wrong(&shared);
            return Err(ApiError::unauthorized());
        }
        Enrolled::Expired(name) => {
            let why =
                format!("The code for the agent {name} has expired; `tagalong agent token {name}` on the control plane makes a new one.");
            return Err(ApiError::conflict("agent_code_expired", why));
        }
        Enrolled::Used(name) => {
            let why = format!(
                "The code for the agent {name} was used already; `tagalong agent token {name}` on the control plane makes a new one."
            );
            return Err(ApiError::conflict("agent_code_used", why));
        }
    };
    shared.lines.memory.keep(&shared.store).await;
    let showing = Showing { code: &body.code, key: &body.key, machine: &body.machine, nonce: &body.nonce };
    let keys = &shared.lines.keys;
    let proof = showing.answer(&name, keys);
    Ok(HttpResponse::Ok().json(api::Enrolled { name, control: keys.public().clone(), proof }))
}

/// Upgrades the connection of an agent. What follows is in [`agent_lines`].
pub(super) async fn dial(mut dialled: Dialled, shared: web::Data<Shared>) -> Answer {
    let answer = std::mem::replace(&mut dialled.answer, HttpResponse::Ok().finish());
    tokio::task::spawn_local(agent_lines::attend(shared.into_inner(), dialled));
    Ok(answer)
}
