//! Who calls. Authority stands in a handler's hands only as a [`Proof`].

mod address;
mod forwarded;
mod proof;
mod reload;
mod scheme;
pub mod token;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::web::Payload;
use futures_util::StreamExt as _;
use sha2::Digest as _;
use tokio::sync::OwnedSemaphorePermit;

use crate::clock;
use crate::http::Need;
use crate::http::Shared;
use crate::http::auth::proof::Who;
use crate::http::connection::Connection;
use crate::http::error::ApiError;
use crate::http::routes;
use crate::model::Caller;
use crate::model::DeploymentId;
use crate::model::Verb;
use crate::model::webhook_call;
use crate::store::Delivery;

pub(super) use address::is_trusted;
pub(super) use address::subscriber;
pub use proof::Proof;
pub use reload::{Unproven, prove_reload};
pub use scheme::{Shown, sign};

/// How long a body may take.
const BODY_DEADLINE: Duration = Duration::from_secs(8);
/// Up to here a body needs no room of its own; an order is far smaller.
const SMALL_BYTES: usize = 16 << 10;

const IN_THE_CLEAR: &str = "A bearer or read token must not travel in the clear; use https, or sign the call instead. Behind a proxy: \
    trusted_proxies must name it, and it must send what forwarded_headers says.";
const READ_TOKEN: &str = "A read token is for the deployment it came with.";

/// How a connection came in; set when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// The unix socket, opened by this user: the file's mode has let them.
    Socket {
        /// The user's id.
        uid: u32,
    },
    /// TLS of our own.
    Tls,
    /// Plain TCP.
    Plain,
}

/// Checks who calls. The signature is checked over the raw body, before any of it is read as JSON.
///
/// # Errors
/// 401 for every proof that does not hold, with one body; 413 and 408 for bodies that are too large or too slow; 429.
pub async fn prove(request: &HttpRequest, payload: Payload, shared: &Shared) -> Result<Proof, ApiError> {
    let config = shared.config.now();
    let verb = match routes::need_of(request) {
        Need::Verb(verb) => verb,
        Need::Open | Need::ReloadSecret => return Err(ApiError::unauthorized()),
    };
    let origin = address::Origin::of(request, &config.server)?;
    let limit = origin.limit_key();
    let connection = request.conn_data::<Rc<Connection>>();
    if let Some(connection) = connection {
        connection.is_for(&limit);
    }
    allow_attempt(shared, &origin, &limit)?;
    let shown = Shown::of(request);
    if origin.uid().is_none() && shown.is_nothing() {
        return refuse(shared, &limit);
    }
    let (body, room) = read_body(request, payload, config.server.body_limit_bytes, shared).await?;
    // Bodies come at a time, so others of this address may have failed while this one came.
    allow_attempt(shared, &origin, &limit)?;
    place_of(connection)?;
    let Some(mut proof) = proven(request, &shown, &origin, shared, body, verb, room)? else { return refuse(shared, &limit) };
    if let Who::Follower(mine) = &proof.who
        && !is_about(request.path(), mine)
    {
        // Before anything is looked up: it must not tell what else there is.
        return Err(ApiError::forbidden(READ_TOKEN));
    }
    proof.delivery = delivery(&proof, request)?;
    if let Some(connection) = connection {
        connection.prove();
    }
    Ok(proof)
}

/// From here on what is left to do is ours, so the connection keeps its place.
fn place_of(connection: Option<&Rc<Connection>>) -> Result<(), ApiError> {
    if connection.is_some_and(|connection| !connection.serve()) {
        return Err(ApiError::busy("Too many connections come at once; try again."));
    }
    Ok(())
}

fn allow_attempt(shared: &Shared, origin: &address::Origin, limit_key: &str) -> Result<(), ApiError> {
    let is_remote = matches!(origin.via, Via::Plain | Via::Tls);
    let most = shared.config.now().server.failed_attempts_per_min;
    if is_remote && shared.store.failed_attempts(limit_key) >= most {
        return Err(ApiError::too_many());
    }
    Ok(())
}

/// Who shows `shown`; none when it does not hold.
fn proven(
    request: &HttpRequest,
    shown: &Shown,
    origin: &address::Origin,
    shared: &Shared,
    body: Vec<u8>,
    verb: Verb,
    room: Option<OwnedSemaphorePermit>,
) -> Result<Option<Proof>, ApiError> {
    let call = format!("{} {}", request.method(), path_of(request));
    let bodiless = matches!(*request.method(), Method::GET | Method::HEAD);
    let who = if let Some(uid) = origin.uid() {
        Who::Local(uid)
    } else if let Some(id) = shown.read_token().filter(|_| bodiless).and_then(|given| token::check(&shared.token_key, given)) {
        Who::Follower(id)
    } else {
        // What has no body is signed as the call that it is: a signature that was overheard reads that again, and nothing else.
        let named = webhook_call(request.method().as_str(), path_of(request));
        let signed: &[u8] = if bodiless && !shown.is_bearer() { named.as_bytes() } else { &body };
        match shown.key(&shared.config.now().keys, signed, clock::now_ms()) {
            Some(key) => Who::Key(Box::new(key.clone())),
            None => return Ok(None),
        }
    };
    let is_bearer = origin.uid().is_none() && shown.is_bearer();
    if is_bearer && !origin.is_private() {
        return Err(ApiError::forbidden(IN_THE_CLEAR));
    }
    let is_signed = origin.uid().is_none() && !shown.is_bearer();
    if is_signed && bodiless && !body.is_empty() {
        return Err(ApiError::bad_request("A signed call that reads has no body: its signature covers {\"call\":\"GET /api/v1/…\"}."));
    }
    Ok(Some(Proof { who, verb, body, delivery: None, is_signed, call, _room: room }))
}

/// The path, with the query as it was sent.
fn path_of(request: &HttpRequest) -> &str {
    request.uri().path_and_query().map_or_else(|| request.path(), |all| all.as_str())
}

/// Whether `path` is about deployment `id` alone.
fn is_about(path: &str, id: &DeploymentId) -> bool {
    let rest = path.strip_prefix("/api/v1/deployments/").and_then(|rest| rest.strip_prefix(id.as_str()));
    matches!(rest, Some("" | "/log"))
}

fn refuse(shared: &Shared, limit_key: &str) -> Result<Proof, ApiError> {
    shared.metrics.refused_call();
    shared.store.count_failed(limit_key);
    Err(ApiError::unauthorized())
}

fn header(request: &HttpRequest, name: &str) -> Option<String> {
    request.headers().get(name)?.to_str().ok().map(str::to_owned)
}

fn delivery(proof: &Proof, request: &HttpRequest) -> Result<Option<Delivery>, ApiError> {
    let Some(id) = header(request, if proof.is_signed { "webhook-id" } else { "idempotency-key" }) else { return Ok(None) };
    if id.is_empty() || id.len() > 128 || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return Err(ApiError::bad_request("The Idempotency-Key must be up to 128 letters, digits, - and _."));
    }
    let caller = match &proof.who {
        Who::Local(uid) => Caller::Local(*uid),
        Who::Key(key) => Caller::Key(key.id.clone()),
        Who::Follower(_) => return Ok(None),
    };
    // The call is part of what was asked: the same id on another route is another order.
    let mut hash = sha2::Sha256::new();
    hash.update((proof.call.len() as u64).to_be_bytes());
    hash.update(&proof.call);
    hash.update(&proof.body);
    let body_sha256 = hash.finalize().iter().fold(String::new(), |hex, b| hex + &format!("{b:02x}"));
    Ok(Some(Delivery { caller: caller.to_string(), id, body_sha256 }))
}

/// Reads the body up to `limit_bytes`: what is announced larger is refused unread, what comes larger is cut off, and what
/// dribbles is ended. Few large bodies are read at a time, since whoever sends them has proven nothing yet.
async fn read_body(
    request: &HttpRequest,
    mut payload: Payload,
    limit_bytes: usize,
    shared: &Shared,
) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), ApiError> {
    let announced = header(request, "content-length").and_then(|length| length.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit_bytes) {
        return Err(ApiError::too_large(limit_bytes));
    }
    let (mut body, mut room) = (Vec::new(), None);
    let read = async {
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| ApiError::bad_request(format!("The body broke off: {error}.")))?;
            let bytes = body.len() + chunk.len();
            if bytes > limit_bytes {
                return Err(ApiError::too_large(limit_bytes));
            }
            if bytes > SMALL_BYTES && room.is_none() {
                let place = Arc::clone(&shared.large_bodies).try_acquire_owned();
                room = Some(place.map_err(|_| ApiError::busy("Too many large bodies come at once; try again."))?);
                body.reserve_exact(limit_bytes - body.len());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(())
    };
    tokio::time::timeout(BODY_DEADLINE, read).await.map_err(|_| ApiError::too_slow())??;
    Ok((body, room))
}
