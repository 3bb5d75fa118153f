//! Maps errors to statuses: the only place that does it.

use actix_web::HttpResponse;
use actix_web::HttpResponseBuilder;
use actix_web::ResponseError;
use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use actix_web::http::header::UPGRADE;
use actix_web::http::header::WWW_AUTHENTICATE;

use crate::api;
use crate::executor::AskError;
use crate::model::AgentName;
use crate::model::Guard;
use crate::model::Refusal;
use crate::orders::OrderError;
use crate::orders::Unapproved;
use crate::reload::ReloadError;
use crate::store::StoreError;
use crate::watch::NotLooked;

const ID_REUSED: &str = "id_reused";
const WRONG_CODE: &str = "wrong_code";

/// An answer that is no success (RFC 9457).
#[derive(Debug, Clone)]
pub(super) struct ApiError {
    status: StatusCode,
    code: &'static str,
    detail: String,
    retry_after_s: Option<u32>,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), retry_after_s: None }
    }

    /// The one answer to every failed authentication: it does not say what was wrong.
    #[must_use]
    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Authentication failed: check the secret and the clock.")
    }

    /// What was shown when a stream was opened counts no more.
    pub(super) fn ended(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    /// Authenticated, but not allowed.
    pub(super) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// It has the key of an agent, and is another machine.
    pub(super) fn agent_clone(name: &AgentName) -> Self {
        let why = format!(
            "The agent {name} was enrolled on another machine than this one, so its keys were copied: enrol this host with a name of its own, or, \
             if it takes the other's place, anew with a code of `tagalong agent token {name}`."
        );
        Self::new(StatusCode::FORBIDDEN, "agent_clone", why)
    }

    /// An agent would have the name of a host that is dialled.
    pub(super) fn agent_is_a_host(name: &AgentName) -> Self {
        let why = format!(
            "[host.{name}] is dialled by this server, so no agent can have the name {name}; choose another name, or remove [host.{name}]."
        );
        Self::conflict("agent_is_a_host", why)
    }

    /// A host would be revoked whose line would be open again at once.
    pub(super) fn host_is_dialled(name: &AgentName) -> Self {
        let why = format!(
            "[host.{name}] is dialled by this server, so its line would be open again at once; remove [host.{name}], or set dial = false in it, have \
             the configuration read again, and revoke {name} then."
        );
        Self::conflict("agent_is_a_host", why)
    }

    /// A service of several hosts accepts orders again, but for these, each with why its own hold has not ended.
    pub(super) fn still_held(silent: &[String]) -> Self {
        let hosts = silent.join("; ");
        let why = format!("It may still be held on a host that did not end its own hold: {hosts}; resume it again when that host is back.");
        Self::conflict("still_held", why)
    }

    /// The token of a job is genuine, but no policy accepts it, or not for this call.
    pub(super) fn token_refused(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "token_refused", detail)
    }

    /// The body is not valid.
    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    /// It does not exist.
    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// The current state does not allow it.
    pub(super) fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// The address speaks WebSocket, and the call does not.
    pub(super) fn upgrade_required(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", detail)
    }

    /// The delivery id came before, with a different body.
    pub(super) fn id_reused(detail: impl Into<String>) -> Self {
        Self::conflict(ID_REUSED, detail)
    }

    /// The stable word for programs.
    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    /// The code and the words with which a WebSocket is closed instead of this answer: 4000 and the status.
    pub(super) fn close(&self) -> (u16, &str) {
        (4000 + self.status.as_u16(), &self.detail)
    }

    /// Whether it is [`ApiError::id_reused`].
    pub(super) fn is_id_reused(&self) -> bool {
        self.code == ID_REUSED
    }

    /// Whether the code of an approval was wrong.
    pub(super) fn is_wrong_code(&self) -> bool {
        self.code == WRONG_CODE
    }

    /// The body is larger than `limit_bytes`.
    #[must_use]
    pub(super) fn too_large(limit_bytes: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", format!("The body is larger than {limit_bytes} bytes (body_limit_kib)."))
    }

    /// The body did not arrive in time.
    #[must_use]
    pub(super) fn too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "too_slow", "The body did not arrive within 8 seconds.")
    }

    /// Too many failed attempts from one address.
    #[must_use]
    pub(super) fn too_many() -> Self {
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many", "Too many failed attempts from this address; wait a minute.");
        Self { retry_after_s: Some(60), ..error }
    }

    /// The data that is served is not as new as it should be, because something behind this server failed.
    pub(super) fn behind(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, code, detail)
    }

    /// The same answer as the users of `/api/_internal/reload-data` know answers.
    #[must_use]
    pub(super) fn in_envelope(&self, trace: &str) -> HttpResponse {
        let error = serde_json::json!({ "code": self.code, "message": self.detail });
        self.headers().json(serde_json::json!({ "success": false, "error": error, "traceId": trace }))
    }

    /// Status and headers.
    fn headers(&self) -> HttpResponseBuilder {
        let mut response = HttpResponse::build(self.status);
        if let Some(seconds) = self.retry_after_s {
            response.insert_header((RETRY_AFTER, seconds.to_string()));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert_header((WWW_AUTHENTICATE, "Bearer"));
        }
        if self.status == StatusCode::UPGRADE_REQUIRED {
            response.insert_header((UPGRADE, "websocket"));
        }
        if matches!(self.status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT) {
            // What is left of the body is not read.
            response.force_close();
        }
        response
    }

    /// The server has no capacity at the moment.
    pub(super) fn busy(detail: impl Into<String>) -> Self {
        Self { retry_after_s: Some(10), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail) }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the database did not answer");
        if error.is_unreadable() {
            // Trying again changes nothing; the text names column and row.
            return Self::new(StatusCode::INTERNAL_SERVER_ERROR, "unreadable", error.to_string());
        }
        Self::busy(if error.is_disk_full() {
            "The disk of the database is full; free some space and try again."
        } else {
            "The database does not answer; try again, and check the server's log."
        })
    }
}

impl From<OrderError> for ApiError {
    fn from(error: OrderError) -> Self {
        match error {
            OrderError::Refused(refusal) => refusal.into(),
            OrderError::Store(error) => error.into(),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        if let Some(guard) = refusal.guard() {
            return Self::new(StatusCode::UNPROCESSABLE_ENTITY, guard.as_str(), detail);
        }
        match refusal {
            Refusal::UnknownService(_) => Self::new(StatusCode::NOT_FOUND, "unknown_service", detail),
            Refusal::UnknownHost { .. } => Self::conflict("unknown_host", detail),
            Refusal::NotEnded(_) => Self::conflict("not_ended", detail),
            Refusal::IdReused => Self::id_reused(detail),
            _ => Self::busy(detail),
        }
    }
}

impl From<Unapproved> for ApiError {
    fn from(unapproved: Unapproved) -> Self {
        let detail = unapproved.to_string();
        match unapproved {
            Unapproved::NoOrder => Self::not_found(detail),
            Unapproved::NotWaiting(_) => Self::conflict("not_waiting", detail),
            Unapproved::NotYours(_) => Self::forbidden(detail),
            Unapproved::NotNow(_) => Self::busy(detail),
            Unapproved::Wrong { .. } => Self::new(StatusCode::FORBIDDEN, WRONG_CODE, detail),
            Unapproved::Ended { .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, Guard::Approval.as_str(), detail),
            Unapproved::Store(error) => {
                tracing::error!(%error, "an approval could not be recorded");
                Self::busy("The approval could not be recorded, because the database does not answer; try again later.")
            }
        }
    }
}

impl From<NotLooked> for ApiError {
    fn from(why: NotLooked) -> Self {
        let detail = why.to_string();
        match why {
            NotLooked::NoPage(_) => Self::conflict("no_page", detail),
            NotLooked::Elsewhere(AskError::Refused(..)) => Self::conflict("not_looked", detail),
            NotLooked::Busy | NotLooked::Elsewhere(_) => Self::busy(detail),
            NotLooked::Store(error) => error.into(),
        }
    }
}

impl From<ReloadError> for ApiError {
    fn from(error: ReloadError) -> Self {
        let detail = error.to_string();
        match error {
            ReloadError::Unknown(_) => Self::new(StatusCode::NOT_FOUND, "unknown_dataset", detail),
            ReloadError::NoName(..) => Self::bad_request(detail),
            ReloadError::Stopping(_) => Self::busy(detail),
            ReloadError::Store(error) => error.into(),
        }
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let problem = api::Problem {
            kind: "about:blank".into(),
            title: self.status.canonical_reason().unwrap_or_default().into(),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            code: self.code.into(),
        };
        self.headers().content_type("application/problem+json").body(serde_json::to_string(&problem).unwrap_or_default())
    }
}
