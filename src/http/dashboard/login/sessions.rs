//! `/sessions`: where somebody is logged in, and an end to it. `/logout`.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::web;
use askama::Template;

use crate::clock;
use crate::http::Shared;
use crate::http::auth::Ask;
use crate::http::auth::Call;
use crate::http::auth::Change;
use crate::http::auth::Needs;
use crate::http::auth::NoBody;
use crate::http::auth::PageError;
use crate::http::auth::Viewer;
use crate::http::auth::counts_at;
use crate::http::auth::left;
use crate::http::dashboard::Frame;
use crate::http::dashboard::Place;
use crate::http::dashboard::answer;
use crate::http::dashboard::browsers::browser;
use crate::http::error::ApiError;
use crate::http::people;
use crate::http::people::Changed;
use crate::model::Verb;

#[derive(Template)]
#[template(path = "sessions.html")]
struct Listed {
    frame: Frame,
    user: String,
    scopes: Vec<String>,
    sessions: Vec<One>,
}

/// A session as the page shows it.
struct One {
    id: String,
    agent: String,
    address: String,
    began: String,
    used: String,
    is_this: bool,
}

/// Where the viewer is logged in.
pub(in crate::http) async fn list(viewer: Viewer, shared: web::Data<Shared>) -> Result<HttpResponse, PageError> {
    let config = shared.config.now();
    let now_ms = clock::now_ms();
    let found = shared.store.sessions_of(viewer.user()).await?;
    let one = |session: crate::store::Session| One {
        is_this: session.id == viewer.session().id,
        agent: browser(&session.agent),
        address: session.address,
        began: clock::utc(session.created_ms),
        used: clock::utc(session.seen_ms),
        id: session.id,
    };
    let sessions = found.into_iter().filter(|session| counts_at(&config.dashboard, session, now_ms)).map(one).collect();
    let frame = Frame::of(&viewer, Place::Elsewhere);
    let scopes = viewer.session().scopes.iter().map(ToString::to_string).collect();
    Ok(answer(StatusCode::OK, &Listed { frame, user: viewer.user().to_string(), scopes, sessions }))
}

/// Something of the viewer's own, which needs no permission.
#[derive(Debug)]
pub(in crate::http) struct Own;

impl Ask for Own {
    const VERB: Verb = Verb::Read;
    type Body = NoBody;

    async fn read(_: &Call<'_>, _: NoBody) -> Result<Self, ApiError> {
        Ok(Self)
    }

    fn needs(&self) -> Needs {
        Needs::only_proof()
    }
}

/// One of the viewer's own sessions, by its id.
#[derive(Debug)]
pub(in crate::http) struct End(String);

impl Ask for End {
    const VERB: Verb = Verb::Read;
    type Body = NoBody;

    async fn read(call: &Call<'_>, _: NoBody) -> Result<Self, ApiError> {
        Ok(Self(call.part("id").to_owned()))
    }

    fn needs(&self) -> Needs {
        Needs::only_proof()
    }
}

/// Ends the session of this browser.
pub(in crate::http) async fn leave(change: Change<Own>, shared: web::Data<Shared>) -> Result<HttpResponse, PageError> {
    let viewer = change.viewer;
    people::change(&shared, viewer.user(), Changed::SessionEnded(&viewer.session().id), &viewer.caller()).await?;
    Ok(left())
}

/// Ends a session of the viewer.
pub(in crate::http) async fn end(change: Change<End>, shared: web::Data<Shared>) -> Result<HttpResponse, PageError> {
    let Change { viewer, ask: End(id), .. } = change;
    if people::change(&shared, viewer.user(), Changed::SessionEnded(&id), &viewer.caller()).await? == 0 {
        return Err(ApiError::not_found("You have no such session; it may have ended.").into());
    }
    if id == viewer.session().id {
        return Ok(left());
    }
    Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, "/sessions")).insert_header((header::CACHE_CONTROL, "no-store")).finish())
}
