//! Authentication, which is checked first and once, from the headers of a call and the bytes of its body. The body is not parsed before it
//! succeeds.

use std::borrow::Cow;

use actix_web::dev::Payload;
use sha2::Digest as _;

use crate::clock;
use crate::config::Key;
use crate::http::auth::attempt::Attempt;
use crate::http::auth::attempt::ReadBody;
use crate::http::auth::job::JobCaller;
use crate::http::auth::same_origin::is_had_by_another_site;
use crate::http::auth::scheme::Match;
use crate::http::auth::scheme::Scheme;
use crate::http::auth::scheme::Shown;
use crate::http::auth::session::Session;
use crate::http::auth::token;
use crate::http::auth::who::Who;
use crate::http::error::ApiError;
use crate::http::refused::Check;
use crate::model::webhook_call;
use crate::store::Delivery;

pub(super) const IN_THE_CLEAR: &str = "A bearer or read token must not be sent unencrypted; use https, or sign the call instead. On this host, call \
127.0.0.1 or localhost. Behind a proxy, list the proxy in trusted_proxies and let it send the headers that forwarded_headers names.";

/// An authenticated call. Its permissions are not checked yet.
#[derive(Debug)]
pub(super) struct Proof {
    pub(super) who: Who,
    pub(super) scheme: Scheme,
    /// Whether nobody on the way can read the answer.
    pub(super) is_private: bool,
    /// What identifies a repetition of the call.
    pub(super) delivery: Option<Delivery>,
    pub(super) body: ReadBody,
    /// Method and path with its query.
    pub(super) call: String,
}

impl Proof {
    /// Authenticates a call by what it shows.
    ///
    /// From an address with too many failed attempts, only signatures and tokens of jobs with small bodies are still checked: their secrets
    /// cannot be guessed, no matter how often somebody tries, and a caller with the right one must not be locked out by somebody behind the
    /// same address.
    ///
    /// # Errors
    /// 401 for every failed authentication, with one body; 403 for tokens of jobs that no policy accepts; 413 and 408 for bodies that
    /// are too large or too slow; 429.
    pub(super) async fn of(attempt: &Attempt<'_>, shown: Shown, payload: Payload) -> Result<Self, ApiError> {
        // Over a unix socket, a call without authentication data of its own cannot guess anything.
        let is_by_socket = attempt.origin.uid().is_some() && matches!(shown, Shown::Nothing);
        let job_token = shown.job_token().filter(|_| !attempt.config.oidc.is_empty());
        let is_spent = || !is_by_socket && attempt.is_spent();
        let is_hopeless = || !shown.is_signed() && job_token.is_none() && is_spent();
        if is_hopeless() {
            return Err(attempt.too_many());
        }
        if (attempt.origin.uid().is_none() && shown.is_nothing()) || is_had_by_another_site(attempt) {
            return Err(attempt.showed_nothing(shown.fails(clock::now_ms())));
        }
        let is_spent = is_spent();
        let body = attempt.body(payload, is_spent).await.map_err(|error| {
            attempt.refused(Check::Body, || (Check::Body, None));
            if is_spent { ApiError::too_many() } else { error }
        })?;
        // While the body arrived, other calls of this address may have failed.
        if is_hopeless() {
            return Err(attempt.too_many());
        }
        attempt.keep_place()?;
        let (scheme, who) = match (named(attempt, &shown, &body.bytes), job_token) {
            (Some(named), _) => named,
            (None, Some(token)) => (Scheme::Job, Who::Job(Box::new(JobCaller::of(attempt, token).await?))),
            (None, None) => return Err(refused(attempt, &shown, &body.bytes)),
        };
        let is_private = attempt.origin.is_private();
        if scheme.is_bearer() && !is_private {
            attempt.refused(Check::InTheClear, || (Check::InTheClear, who.key()));
            if let Who::Job(job) = &who {
                // So nobody who has overheard the token can use it.
                attempt.shared.store.remember(&used_by(job, String::new())).await?;
            }
            return Err(ApiError::forbidden(IN_THE_CLEAR));
        }
        if scheme == Scheme::Signed && attempt.is_bodiless() && !body.bytes.is_empty() {
            return Err(ApiError::bad_request(
                "A signed call that reads must have no body: its signature covers {\"call\":\"GET /api/v1/…\"}.",
            ));
        }
        let call = call(attempt);
        let delivery = delivery(attempt, &who, scheme, &call, &body.bytes)?;
        Ok(Self { who, scheme, is_private, delivery, body, call })
    }

    /// The call of a session that counts; one that reads.
    pub(super) fn of_session(attempt: &Attempt<'_>, session: Session) -> Self {
        let who = Who::User(Box::new(session));
        Self { who, scheme: Scheme::Session, is_private: true, delivery: None, body: ReadBody::default(), call: call(attempt) }
    }
}

/// Method and path with its query.
fn call(attempt: &Attempt<'_>) -> String {
    format!("{} {}", attempt.request.method(), attempt.path())
}

/// Authentication failed. If the address has used up its attempts, the answer says so, and the attempt is not counted.
fn refused(attempt: &Attempt<'_>, shown: &Shown, body: &[u8]) -> ApiError {
    if attempt.is_spent() {
        return attempt.too_many();
    }
    let now_ms = clock::now_ms();
    attempt.refused(shown.fails(now_ms), || match shown.fails(now_ms) {
        check @ (Check::NoProof | Check::Malformed | Check::ReadToken) => (check, None),
        _ => shown.fails_closer(&attempt.config.keys, signed(attempt, shown, body).as_ref(), now_ms),
    });
    attempt.fail();
    ApiError::unauthorized()
}

/// What a signature covers. A call without a body is signed by its method and path, so somebody who has overheard the signature can only
/// repeat the very same read.
fn signed<'b>(attempt: &Attempt<'_>, shown: &Shown, body: &'b [u8]) -> Cow<'b, [u8]> {
    if attempt.is_bodiless() && shown.is_signed() {
        return webhook_call(attempt.request.method().as_str(), attempt.path()).into_bytes().into();
    }
    body.into()
}

/// The caller and the scheme; none when authentication fails.
fn named(attempt: &Attempt<'_>, shown: &Shown, body: &[u8]) -> Option<(Scheme, Who)> {
    match (attempt.origin.uid(), attempt.origin.scoped()) {
        (Some(uid), None) => return Some((Scheme::Socket, Who::Host(uid))),
        // Authentication data in the call take precedence over the socket.
        (Some(_), Some(id)) if matches!(shown, Shown::Nothing) => {
            let socket = attempt.config.sockets.iter().find(|socket| socket.key.id == *id)?;
            return Some((Scheme::Socket, Who::Key(Box::new(socket.key.clone()))));
        }
        _ => {}
    }
    let is_bodiless = attempt.is_bodiless();
    if let Some(id) = shown.read_token().filter(|_| is_bodiless).and_then(|given| token::check(&attempt.shared.token_key, given)) {
        return Some((Scheme::ReadToken, Who::Follower(id)));
    }
    let scheme = shown.scheme()?;
    let Match { key, by_newest } = shown.key(&attempt.config.keys, &signed(attempt, shown, body), clock::now_ms())?;
    if by_newest {
        attempt.shared.rotations.key_used(&attempt.shared.store, key);
    }
    // What it may follow ends with the very secret that it showed.
    Some((scheme, Who::Key(Box::new(Key { proof: key.proof.only(by_newest), ..key.clone() }))))
}

/// What identifies a repeated call. The token of a job is good for one call that acts, whatever id the call has, so the token itself is the
/// id, and it is the same for every policy.
fn delivery(attempt: &Attempt<'_>, who: &Who, scheme: Scheme, call: &str, body: &[u8]) -> Result<Option<Delivery>, ApiError> {
    if let Who::Job(job) = who
        && !attempt.is_bodiless()
    {
        return Ok(Some(used_by(job, call_sha256(call, body))));
    }
    let header = if scheme == Scheme::Signed { "webhook-id" } else { "idempotency-key" };
    let (Some(id), Some(caller)) = (attempt.header(header), who.caller()) else { return Ok(None) };
    if id.is_empty() || id.len() > 128 || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return Err(ApiError::bad_request("The Idempotency-Key must be up to 128 letters, digits, - and _."));
    }
    Ok(Some(Delivery { caller: caller.to_string(), id: id.to_owned(), body_sha256: call_sha256(call, body) }))
}

/// The token of a job, used for a call.
fn used_by(job: &JobCaller, call_sha256: String) -> Delivery {
    Delivery { caller: "oidc".to_owned(), id: job.token_id.clone(), body_sha256: call_sha256 }
}

/// The route is part of what was ordered: the same id on another route is a different order.
fn call_sha256(call: &str, body: &[u8]) -> String {
    let mut hash = sha2::Sha256::new();
    hash.update((call.len() as u64).to_be_bytes());
    hash.update(call);
    hash.update(body);
    text::hex(&hash.finalize())
}
