//! One attempt to authenticate: where it comes from, what it may cost, and its result.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::http::Method;
use futures_util::StreamExt as _;

use crate::config::Config;
use crate::http::Shared;
use crate::http::auth::address::Origin;
use crate::http::connection::Connection;
use crate::http::error::ApiError;
use crate::http::refused::Check;
use crate::http::rooms::Room;
use crate::model::KeyId;

/// How long a body may take.
const BODY_DEADLINE: Duration = Duration::from_secs(8);
/// Up to here a body needs no room of its own; an order is far smaller.
const SMALL_BYTES: usize = 16 << 10;

/// A call of which only the origin is known so far.
pub(super) struct Attempt<'r> {
    pub(super) request: &'r HttpRequest,
    pub(super) shared: &'r Shared,
    pub(super) config: Arc<Config>,
    pub(super) origin: Origin,
    limit_key: String,
}

/// A body, read whole.
#[derive(Debug, Default)]
pub(super) struct ReadBody {
    pub(super) bytes: Vec<u8>,
    /// Held as long as a large body is.
    _room: Option<Room>,
}

impl<'r> Attempt<'r> {
    /// # Errors
    /// 403 for a call over the unix socket that a proxy passed on.
    pub(super) fn of(request: &'r HttpRequest, shared: &'r Shared) -> Result<Self, ApiError> {
        let config = shared.config.now();
        let origin = Origin::of(request, &config.server)?;
        let attempt = Self { limit_key: origin.limit_key(), request, shared, config, origin };
        if let Some(connection) = attempt.connection() {
            connection.is_for(&attempt.limit_key);
        }
        Ok(attempt)
    }

    /// Under which name failed attempts from there are counted.
    pub(super) fn limit_key(&self) -> &str {
        &self.limit_key
    }

    fn connection(&self) -> Option<&'r Rc<Connection>> {
        self.request.conn_data::<Rc<Connection>>()
    }

    /// Whether so many attempts from there have failed that further ones are not checked.
    pub(super) fn is_spent(&self) -> bool {
        let most = self.config.server.failed_attempts_per_min;
        !self.origin.is_operators() && self.shared.store.failed_attempts(&self.limit_key) >= most
    }

    /// From here on what is left to do is ours, so the connection keeps its place.
    ///
    /// # Errors
    /// 503 when the place was given away meanwhile.
    pub(super) fn keep_place(&self) -> Result<(), ApiError> {
        if self.connection().is_some_and(|connection| !connection.serve()) {
            return Err(ApiError::busy("Too many connections are open; try again."));
        }
        Ok(())
    }

    /// It was refused, for the operator to see. `closer` finds out more, which very many calls are not worth.
    pub(super) fn refused<'k>(&self, check: Check, closer: impl FnOnce() -> (Check, Option<&'k KeyId>)) {
        if self.shared.refused.count(check) {
            let (check, key) = closer();
            self.shared.refused.note(check, key, self.origin.address());
        }
    }

    /// Too many attempts from there have failed, so this one is not checked, and not counted as one of them.
    pub(super) fn too_many(&self) -> ApiError {
        self.refused(Check::TooMany, || (Check::TooMany, None));
        ApiError::too_many()
    }

    /// Nothing was shown that could have been right, so nothing was guessed: it is refused, and counts as no failed attempt. Otherwise any
    /// page of another site could use up the attempts of whoever looks at it, and of all behind the same address.
    pub(super) fn showed_nothing(&self, check: Check) -> ApiError {
        if self.is_spent() {
            return self.too_many();
        }
        self.refused(check, || (check, None));
        self.shared.metrics.refused_call();
        ApiError::unauthorized()
    }

    /// Authentication failed, which is counted.
    pub(super) fn fail(&self) {
        self.shared.metrics.refused_call();
        self.shared.store.count_failed(&self.limit_key);
    }

    /// Authentication succeeded, so the connection may carry further calls.
    pub(super) fn hold(&self) {
        if let Some(connection) = self.connection() {
            connection.prove();
        }
    }

    /// Reads the body up to the configured bound, or as far as a small one: what is announced larger is refused unread, what comes
    /// larger is cut off, and what dribbles is ended. Few large bodies are read at a time, since anybody who sends them has proven
    /// nothing yet.
    ///
    /// # Errors
    /// 413, 408, 503; 400 when it breaks off.
    pub(super) async fn body(&self, payload: Payload, is_small: bool) -> Result<ReadBody, ApiError> {
        let most = self.config.server.body_limit_bytes;
        self.body_within(payload, if is_small { most.min(SMALL_BYTES) } else { most }, false).await
    }

    /// As [`Attempt::body`], for what a forge may have signed. Anybody can let a forge call us from the very addresses that its right
    /// calls come from. So one with too many failed attempts still gets room for a large body, but never the last.
    ///
    /// # Errors
    /// The same.
    pub(super) async fn body_of_forge(&self, payload: Payload) -> Result<ReadBody, ApiError> {
        self.body_within(payload, self.config.server.body_limit_bytes, self.is_spent()).await
    }

    async fn body_within(&self, mut payload: Payload, limit_bytes: usize, only_spare: bool) -> Result<ReadBody, ApiError> {
        let announced = self.header("content-length").and_then(|length| length.parse::<usize>().ok());
        if announced.is_some_and(|length| length > limit_bytes) {
            return Err(ApiError::too_large(limit_bytes));
        }
        let mut bytes = Vec::new();
        let mut room: Option<Room> = None;
        let full = || ApiError::busy("Too many large requests are being received; try again.");
        let read = async {
            while let Some(chunk) = or_given_away(payload.next(), room.as_ref()).await.ok_or_else(full)? {
                let chunk = chunk
                    .map_err(|error| ApiError::bad_request(format!("The connection broke before the whole body had arrived: {error}.")))?;
                let length = bytes.len() + chunk.len();
                if length > limit_bytes {
                    return Err(ApiError::too_large(limit_bytes));
                }
                if length > SMALL_BYTES && room.is_none() {
                    let rooms = &self.shared.large_bodies;
                    let free = if only_spare { rooms.take_spare(&self.limit_key) } else { rooms.take(&self.limit_key) };
                    room = Some(free.ok_or_else(full)?);
                    bytes.reserve_exact(limit_bytes - bytes.len());
                }
                bytes.extend_from_slice(&chunk);
            }
            if room.as_ref().is_some_and(|room| !room.keep()) { Err(full()) } else { Ok(()) }
        };
        tokio::time::timeout(BODY_DEADLINE, read).await.map_err(|_| ApiError::too_slow())??;
        Ok(ReadBody { bytes, _room: room })
    }

    /// Whether it is a call that reads: it has no body that could be signed.
    pub(super) fn is_bodiless(&self) -> bool {
        matches!(*self.request.method(), Method::GET | Method::HEAD)
    }

    /// The path, with the query as it was sent.
    pub(super) fn path(&self) -> &'r str {
        self.request.uri().path_and_query().map_or_else(|| self.request.path(), |all| all.as_str())
    }

    /// The header of that name, when it is text.
    pub(super) fn header(&self, name: &str) -> Option<&'r str> {
        self.request.headers().get(name)?.to_str().ok()
    }
}

/// The next part of a body; none when its room was given to somebody else meanwhile.
async fn or_given_away<T>(part: impl Future<Output = T>, room: Option<&Room>) -> Option<T> {
    let Some(room) = room else { return Some(part.await) };
    tokio::select! {
        part = part => Some(part),
        () = room.given_away() => None,
    }
}
