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
use crate::http::error::ApiError;
use crate::model::Scope;
use crate::model::Target;
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
    let frame = Frame {
        place: Place::Elsewhere,
        user: Some(viewer.user().to_string()),
        form_token: viewer.form_token().to_owned(),
        sees_all: viewer.may(&Scope { verb: Verb::Read, target: Target::Everything }),
        ..Frame::nobody()
    };
    let scopes = viewer.session().scopes.iter().map(ToString::to_string).collect();
    Ok(answer(StatusCode::OK, &Listed { frame, user: viewer.user().to_string(), scopes, sessions }))
}

/// A browser as people call it, by what it says of itself; every browser claims to be some others as well.
fn browser(agent: &str) -> String {
    const BROWSERS: [(&str, &str); 6] =
        [("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("CriOS/", "Chrome"), ("Safari/", "Safari")];
    const SYSTEMS: [(&str, &str); 6] =
        [("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"), ("Mac OS X", "macOS"), ("Linux", "Linux")];
    let named = |names: &[(&str, &'static str)]| names.iter().find(|(part, _)| agent.contains(part)).map(|(_, name)| *name);
    match (named(&BROWSERS), named(&SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        _ if agent.is_empty() => "a browser that does not say which".to_owned(),
        _ => agent.to_owned(),
    }
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
    shared.store.end_session(viewer.user(), &viewer.session().id, &viewer.caller()).await?;
    shared.followers.look_again();
    Ok(left())
}

/// Ends a session of the viewer.
pub(in crate::http) async fn end(change: Change<End>, shared: web::Data<Shared>) -> Result<HttpResponse, PageError> {
    let Change { viewer, ask: End(id), .. } = change;
    if !shared.store.end_session(viewer.user(), &id, &viewer.caller()).await? {
        return Err(ApiError::not_found("You have no such session; it may have ended.").into());
    }
    shared.followers.look_again();
    if id == viewer.session().id {
        return Ok(left());
    }
    Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, "/sessions")).insert_header((header::CACHE_CONTROL, "no-store")).finish())
}

#[cfg(test)]
mod tests {
    use super::browser;

    #[test]
    fn a_browser_is_called_as_people_call_it() {
        for (agent, name) in [
            ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/148.0.0.0 Safari/537.36", "Chrome on Linux"),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/148.0 Safari/537.36 Edg/148.0",
                "Edge on Windows",
            ),
            ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on macOS"),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
                "Safari on iPhone",
            ),
            ("curl/8.0", "curl/8.0"),
            ("", "a browser that does not say which"),
        ] {
            assert_eq!(browser(agent), name);
        }
    }
}
