//! Who calls. Authority stands in a handler's hands only as a [`Proof`]: it comes after the proof holds, and gives the body and
//! the caller only after the scope does.

mod address;
mod forwarded;
mod reload;
mod scheme;
pub mod token;

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::web::Payload;
use futures_util::StreamExt as _;
use sha2::Digest as _;
use tokio::sync::OwnedSemaphorePermit;

use crate::api;
use crate::clock;
use crate::config::Key;
use crate::http::Need;
use crate::http::Shared;
use crate::http::error::ApiError;
use crate::http::routes;
use crate::model::Caller;
use crate::model::DatasetName;
use crate::model::DeploymentId;
use crate::model::OrderKind;
use crate::model::Scope;
use crate::model::ServiceName;
use crate::model::Verb;
use crate::store::Delivery;

pub(super) use address::is_trusted;
pub(super) use address::subscriber;
pub use reload::{Unproven, prove_reload};
pub use scheme::{Shown, sign};

/// How long a body may take.
const BODY_DEADLINE: Duration = Duration::from_secs(8);
/// Up to here a body needs no room of its own; an order is far smaller.
const SMALL_BYTES: usize = 16 << 10;

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

/// A call whose proof holds.
#[derive(Debug)]
pub struct Proof {
    who: Who,
    verb: Verb,
    body: Vec<u8>,
    delivery: Option<Delivery>,
    is_signed: bool,
    call: String,
    /// Held as long as a large body is.
    _room: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
enum Who {
    /// Somebody on the host: everything is allowed.
    Local(u32),
    Key(Box<Key>),
    /// A follower with a read token of one deployment.
    Follower(DeploymentId),
}

impl Proof {
    /// The caller, when their scope covers this route's verb on `service`.
    ///
    /// # Errors
    /// 403, naming the caller's own scopes.
    pub fn allow(&self, service: Option<&ServiceName>) -> Result<Caller, ApiError> {
        self.allow_verb(self.verb, service)
    }

    /// Whether the caller may force an order of `service`. To pass a hold or land an older release is to overrule whoever
    /// rolled back, so it needs what a rollback needs.
    ///
    /// # Errors
    /// 403, naming the caller's own scopes.
    pub fn allow_force(&self, service: &ServiceName) -> Result<(), ApiError> {
        self.allow_verb(Verb::Rollback, Some(service)).map(|_| ())
    }

    fn allow_verb(&self, verb: Verb, service: Option<&ServiceName>) -> Result<Caller, ApiError> {
        match &self.who {
            Who::Local(uid) => Ok(Caller::Local(*uid)),
            Who::Key(key) if key.scopes.iter().any(|scope| scope.covers(verb, service)) => Ok(Caller::Key(key.id.clone())),
            Who::Key(key) => {
                let scopes: Vec<String> = key.scopes.iter().map(Scope::to_string).collect();
                let target = service.map_or(String::new(), |service| format!(":{service}"));
                Err(ApiError::forbidden(format!("The key {} may {}; this needs {}{target}.", key.id, scopes.join(", "), verb.as_str())))
            }
            Who::Follower(_) => Err(ApiError::forbidden("A read token is for the deployment it came with.")),
        }
    }

    /// Whether the caller may read deployment `id` of `service`.
    ///
    /// # Errors
    /// 403.
    pub fn allow_deployment(&self, id: &DeploymentId, service: &ServiceName) -> Result<(), ApiError> {
        match &self.who {
            Who::Follower(mine) if mine == id => Ok(()),
            _ => self.allow(Some(service)).map(|_| ()),
        }
    }

    /// Which services the caller may read.
    #[must_use]
    pub fn may_read(&self, service: &ServiceName) -> bool {
        self.allow(Some(service)).is_ok()
    }

    /// The caller, when their scope covers this route's verb on a dataset.
    ///
    /// # Errors
    /// 403, naming the caller's own scopes.
    pub fn allow_dataset(&self, dataset: &DatasetName) -> Result<Caller, ApiError> {
        // Services and datasets share the words of scopes.
        self.allow(ServiceName::parse(dataset.as_str()).ok().as_ref())
    }

    /// Whether the caller may read a dataset.
    #[must_use]
    pub fn may_read_dataset(&self, dataset: &DatasetName) -> bool {
        self.allow_dataset(dataset).is_ok()
    }

    /// The body as what is asked of a dataset, and its caller.
    ///
    /// # Errors
    /// 400 when the body does not read, 403 when the scope does not cover the dataset or the key's refs not the branch.
    pub fn reload(&self) -> Result<(api::NewReload, Caller), ApiError> {
        let ask: api::NewReload =
            serde_json::from_slice(&self.body).map_err(|error| ApiError::bad_request(format!("The body does not read: {error}.")))?;
        let caller = self.allow_dataset(&ask.dataset)?;
        let full = |branch: &String| if branch.starts_with("refs/") { branch.clone() } else { format!("refs/heads/{branch}") };
        let git_ref = ask.branch.as_ref().map(full);
        self.allow_ref(git_ref.as_deref())?;
        Ok((ask, caller))
    }

    /// The body as an order, its caller and its delivery, when the scope covers the service that `service_of` names.
    ///
    /// # Errors
    /// 400 when the body does not read, 403 when the scope does not cover it or the key's refs do not.
    pub fn order<T: serde::de::DeserializeOwned>(
        &self,
        service_of: impl Fn(&T) -> &ServiceName,
        ref_of: impl Fn(&T) -> Option<&str>,
    ) -> Result<(T, Caller, Option<Delivery>), ApiError> {
        let body: T =
            serde_json::from_slice(&self.body).map_err(|error| ApiError::bad_request(format!("The body does not read: {error}.")))?;
        let caller = self.allow(Some(service_of(&body)))?;
        self.allow_ref(ref_of(&body))?;
        Ok((body, caller, self.delivery.clone()))
    }

    fn allow_ref(&self, named: Option<&str>) -> Result<(), ApiError> {
        if let Who::Key(key) = &self.who
            && !key.refs.is_empty()
            && !named.is_some_and(|named| key.refs.iter().any(|pattern| pattern.matches(named)))
        {
            return Err(ApiError::forbidden(format!(
                "The key {} may not act for the ref {}; its refs are set in the configuration.",
                key.id,
                named.unwrap_or("none").escape_default()
            )));
        }
        Ok(())
    }

    /// The caller of an action that orders `kind` once more, for the ref that was named then: it needs what that order needs.
    ///
    /// # Errors
    /// As [`Proof::action`], and 403 when the key's refs do not cover the order's.
    pub fn order_again(
        mut self,
        service: &ServiceName,
        kind: OrderKind,
        force: bool,
        git_ref: Option<&str>,
    ) -> Result<(Caller, Option<Delivery>), ApiError> {
        self.verb = match kind {
            OrderKind::Deploy => Verb::Deploy,
            OrderKind::Rollback | OrderKind::Adopt => Verb::Rollback,
        };
        self.allow(Some(service))?;
        if force {
            self.allow_force(service)?;
        }
        self.allow_ref(git_ref)?;
        self.action(service)
    }

    /// The caller of an action that has no body of its own. A signature covers only the body, so a signed action names itself
    /// in it, `{"call": "POST /api/v1/…"}`: what was signed for one action cannot be sent to another.
    ///
    /// # Errors
    /// 400 when a signed body does not name this call, 403 when the scope does not cover it.
    pub fn action(self, service: &ServiceName) -> Result<(Caller, Option<Delivery>), ApiError> {
        let caller = self.allow(Some(service))?;
        if self.is_signed {
            let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
            if body["call"].as_str() != Some(&self.call) {
                return Err(ApiError::bad_request(format!(
                    "The signed body must be {{\"call\":\"{}\"}}, so that it is good for this call only.",
                    self.call
                )));
            }
        }
        Ok((caller, self.delivery))
    }
}

/// Checks who calls. The signature is checked over the raw body, before any of it is read as JSON.
///
/// # Errors
/// 401 for every proof that does not hold, with one body; 413 and 408 for bodies that are too large or too slow; 429.
pub async fn prove(request: &HttpRequest, payload: Payload, shared: &Shared) -> Result<Proof, ApiError> {
    let config = shared.deployer.config();
    let verb = match routes::need_of(request) {
        Need::Verb(verb) => verb,
        Need::Open | Need::ReloadSecret => return Err(ApiError::unauthorized()),
    };
    let origin = address::Origin::of(request, &config.server)?;
    let limit = origin.limit_key();
    if matches!(origin.via, Via::Plain | Via::Tls)
        && shared.deployer.store().failed_attempts(&limit).await? >= config.server.failed_attempts_per_min
    {
        return Err(ApiError::too_many());
    }
    let shown = Shown::of(request);
    if origin.uid().is_none() && shown.is_nothing() {
        return refuse(shared, &limit).await;
    }
    let (body, room) = read_body(request, payload, config.server.body_limit_bytes, shared).await?;
    let call = format!("{} {}", request.method(), request.path());
    let mut proof = Proof { who: Who::Local(0), verb, body, delivery: None, is_signed: false, call, _room: room };
    let delivery_id = if let Some(uid) = origin.uid() {
        proof.who = Who::Local(uid);
        header(request, "idempotency-key")
    } else if let Some(id) =
        shown.read_token().filter(|_| request.method() == Method::GET).and_then(|given| token::check(&shared.token_key, given))
    {
        proof.who = Who::Follower(id);
        None
    } else {
        let Some(key) = shown.key(&config.keys, &proof.body, clock::now_ms()) else { return refuse(shared, &limit).await };
        if shown.is_bearer() && !origin.is_private() {
            return Err(ApiError::forbidden("A bearer token must not travel in the clear; use https, or sign the call instead."));
        }
        proof.who = Who::Key(Box::new(key.clone()));
        proof.is_signed = !shown.is_bearer();
        if proof.is_signed { header(request, "webhook-id") } else { header(request, "idempotency-key") }
    };
    proof.delivery = delivery(&proof, delivery_id)?;
    Ok(proof)
}

async fn refuse(shared: &Shared, limit_key: &str) -> Result<Proof, ApiError> {
    shared.deployer.metrics().refused_call();
    shared.deployer.store().count_failed(limit_key).await?;
    Err(ApiError::unauthorized())
}

fn header(request: &HttpRequest, name: &str) -> Option<String> {
    request.headers().get(name)?.to_str().ok().map(str::to_owned)
}

fn delivery(proof: &Proof, id: Option<String>) -> Result<Option<Delivery>, ApiError> {
    let Some(id) = id else { return Ok(None) };
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
