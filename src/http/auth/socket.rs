//! The proof of a WebSocket: what the call that opens it shows, as any call does, or else its first frame, since a page cannot add headers
//! to such a call. What can be refused is refused before the upgrade.

use actix_http::ws::handshake;
use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::dev::Payload;
use actix_web::http::header::HOST;
use actix_web::http::header::ORIGIN;

use crate::http::Shared;
use crate::http::auth::attempt::Attempt;
use crate::http::auth::proof::IN_THE_CLEAR;
use crate::http::auth::proven::Ask;
use crate::http::auth::proven::NoBody;
use crate::http::auth::proven::Proven;
use crate::http::auth::scheme::Shown;
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
            attempt.refused(Check::Origin, || (Check::Origin, None));
            return Err(ApiError::forbidden(ELSEWHERE));
        }
        let answer = handshake(request.head()).map(|mut answer| HttpResponse::from(answer.finish()).map_into_boxed_body());
        let shown = Shown::of(request);
        let may_show_later = matches!(shown, Shown::Nothing) && attempt.origin.uid().is_none();
        let entrant = if may_show_later && answer.is_ok() {
            Entrant::Unnamed(Unnamed::of(&attempt)?)
        } else {
            Entrant::Proven(Box::new(Proven::by(request, shown, Payload::None, shared).await?))
        };
        let answer = answer.map_err(|_| ApiError::upgrade_required(NO_UPGRADE))?;
        Ok(Self { entrant, payload, answer })
    }
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
    let is_other_site = attempt.header("sec-fetch-site").is_some_and(|site| site != "same-origin");
    let own = attempt.header(HOST.as_str()).unwrap_or_default();
    let is_own = |origin: &str| origin.split_once("://").is_some_and(|(_, origin)| origin.eq_ignore_ascii_case(own));
    let origins = attempt.request.headers().get_all(ORIGIN);
    is_other_site || origins.into_iter().any(|origin| !origin.to_str().is_ok_and(is_own))
}
