//! The proof of a WebSocket: what the call that opens it shows, as any call does, or the session of the page that opens it, or else its first
//! frame, since scripts cannot add headers to such a call. What can be refused is refused before the upgrade.

use actix_http::ws::handshake;
use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::dev::Payload;
use actix_web::http::header::ORIGIN;

use crate::http::Shared;
use crate::http::auth::attempt::Attempt;
use crate::http::auth::cookie::Cookie;
use crate::http::auth::proof::IN_THE_CLEAR;
use crate::http::auth::proof::Proof;
use crate::http::auth::proven::Ask;
use crate::http::auth::proven::NoBody;
use crate::http::auth::proven::Proven;
use crate::http::auth::same_origin::is_own_origin;
use crate::http::auth::scheme::Shown;
use crate::http::auth::session::Session;
use crate::http::auth::viewer::PageError;
use crate::http::auth::viewer::is_there;
use crate::http::error::ApiError;
use crate::http::refused::Check;

const ELSEWHERE: &str = "A WebSocket can be opened only by pages of this server itself, and by programs, which send no Origin.";
const NO_UPGRADE: &str = "This address speaks WebSocket: open it with ws:// or wss://, version 13, or use the routes below /api/v1.";

/// What the first frame contains.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct First {
    token: String,
}

/// A WebSocket that is to be opened.
pub(in crate::http) struct Opening<A> {
    pub(in crate::http) entrant: Entrant<A>,
    /// The session of a page, which may end before the WebSocket does.
    pub(in crate::http) session: Option<Session>,
    /// What the client sends.
    pub(in crate::http) payload: Payload,
    /// The answer that opens it, without what is sent then.
    pub(in crate::http) answer: HttpResponse,
}

/// Who opens a WebSocket.
pub(in crate::http) enum Entrant<A> {
    /// Somebody who may.
    Proven(Box<Proven<A>>),
    /// Somebody whose first frame has to prove it. Until then its connection has only the place of a stranger.
    Unnamed(Unnamed),
}

/// A WebSocket whose first frame is waited for.
pub(in crate::http) struct Unnamed {
    request: HttpRequest,
}

impl<A: Ask<Body = NoBody>> Opening<A> {
    /// # Errors
    /// As for every call; 403 for a page of another origin, and 426 for a call that opens no WebSocket.
    pub(super) async fn of(request: &HttpRequest, payload: Payload, shared: &Shared) -> Result<Self, ApiError> {
        let attempt = Attempt::of(request, shared)?;
        if is_from_elsewhere(&attempt) {
            attempt.refused(Check::OtherSite, || (Check::OtherSite, None));
            return Err(ApiError::forbidden(ELSEWHERE));
        }
        let answer = handshake(request.head()).map(|mut answer| HttpResponse::from(answer.finish()).map_into_boxed_body());
        let shown = Shown::of(request);
        let shows_nothing = matches!(shown, Shown::Nothing) && attempt.origin.uid().is_none();
        let session = if shows_nothing { session(&attempt).await? } else { None };
        let entrant = match &session {
            Some(session) => {
                attempt.keep_place()?;
                Entrant::Proven(Box::new(Proven::judged(&attempt, Proof::of_session(&attempt, session.clone())).await?))
            }
            None if shows_nothing && answer.is_ok() => Entrant::Unnamed(Unnamed::of(&attempt)?),
            None => Entrant::Proven(Box::new(Proven::by(request, shown, Payload::None, shared).await?)),
        };
        let answer = answer.map_err(|_| ApiError::upgrade_required(NO_UPGRADE))?;
        Ok(Self { entrant, session, payload, answer })
    }
}

/// The session whose page opens it; none if there is no cookie of one.
///
/// # Errors
/// 401 if it has ended, 403 if no page of ours opens it, 404 without a dashboard.
async fn session(attempt: &Attempt<'_>) -> Result<Option<Session>, ApiError> {
    if Cookie::Session.of(attempt.request, attempt.origin.is_https()).is_none() {
        return Ok(None);
    }
    is_there(attempt).map_err(|error| match error {
        PageError::Why(error) => error,
        PageError::LogIn(_) | PageError::OtherName => ApiError::forbidden(ELSEWHERE),
    })?;
    // Browsers always say which page opens a WebSocket.
    if !is_own_origin(attempt) {
        attempt.refused(Check::OtherSite, || (Check::OtherSite, None));
        return Err(ApiError::forbidden(ELSEWHERE));
    }
    Session::of(attempt).await?.map(Some).ok_or_else(ApiError::unauthorized)
}

impl Unnamed {
    fn of(attempt: &Attempt<'_>) -> Result<Self, ApiError> {
        if attempt.is_spent() {
            return Err(attempt.too_many());
        }
        if !attempt.origin.is_private() {
            // What the first frame could show must not be sent over this connection.
            attempt.refused(Check::InTheClear, || (Check::InTheClear, None));
            return Err(ApiError::forbidden(IN_THE_CLEAR));
        }
        Ok(Self { request: attempt.request.clone() })
    }

    /// The first frame, `{"token": "…"}`, as if the call had shown that token.
    ///
    /// # Errors
    /// As for every call; 400 for another frame.
    pub(in crate::http) async fn prove<A: Ask<Body = NoBody>>(&self, frame: &str, shared: &Shared) -> Result<Proven<A>, ApiError> {
        let first = serde_json::from_str(frame);
        let First { token } =
            first.map_err(|_| ApiError::bad_request("The first message must be {\"token\": \"…\"}, with a token as the API takes it."))?;
        Proven::by(&self.request, Shown::Bearer(token), Payload::None, shared).await
    }
}

/// Whether a browser says that a page of another origin opens it.
fn is_from_elsewhere(attempt: &Attempt<'_>) -> bool {
    attempt.header(ORIGIN.as_str()).is_some() && !is_own_origin(attempt)
}
