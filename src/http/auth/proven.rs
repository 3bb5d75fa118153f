//! Authority as a type: a handler gets the caller and the request from [`Proven`]. Only the extractor in this file can make one, after it
//! has checked authentication, scopes and refs.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use actix_web::FromRequest;
use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::web;
use serde::de::DeserializeOwned;

use crate::http::Shared;
use crate::http::auth::address::limit_key;
use crate::http::auth::attempt::Attempt;
use crate::http::auth::need::Needs;
use crate::http::auth::proof::Proof;
use crate::http::auth::scheme::Scheme;
use crate::http::auth::scheme::Shown;
use crate::http::auth::token;
use crate::http::auth::who::READ_TOKEN;
use crate::http::auth::who::Who;
use crate::http::error::ApiError;
use crate::http::refused::Check;
use crate::model::Caller;
use crate::model::KeyId;
use crate::model::Scope;
use crate::model::Verb;
use crate::oidc::Job;
use crate::store::Accepted;
use crate::store::Delivery;

/// The part of a path that names a deployment.
const DEPLOYMENT: &str = "id";

/// The request of a route.
pub(in crate::http) trait Ask: Sized {
    /// What the route needs as far as it is known in advance, for the OpenAPI document.
    const VERB: Verb;

    /// The kind of its body.
    type Body: Body;

    /// Reads the request.
    ///
    /// # Errors
    /// 400 if it cannot be read, 404 if its subject does not exist.
    async fn read(call: &Call<'_>, body: Self::Body) -> Result<Self, ApiError>;

    /// What the caller must be allowed to do.
    fn needs(&self) -> Needs;

    /// The request of a job: fields that its token contains are taken from the token.
    ///
    /// # Errors
    /// 403 if the call contradicts the token.
    fn of_job(self, _: &Job) -> Result<Self, ApiError> {
        Ok(self)
    }

    /// The caller who ordered the deployment that is read, if a read token is sufficient for this route.
    fn ordered_by(&self) -> Option<&Caller> {
        None
    }
}

/// An authenticated call, as an [`Ask`] reads it.
pub(in crate::http) struct Call<'r> {
    pub(super) attempt: &'r Attempt<'r>,
    pub(super) proof: &'r Proof,
}

impl<'r> Call<'r> {
    pub(in crate::http) fn shared(&self) -> &'r Shared {
        self.attempt.shared
    }

    /// The part `{name}` of the path.
    pub(in crate::http) fn part(&self, name: &str) -> &'r str {
        self.attempt.request.match_info().get(name).unwrap_or_default()
    }

    /// # Errors
    /// 400 if the query is not a `T`.
    pub(in crate::http) fn query<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        let query = web::Query::<T>::from_query(self.attempt.request.query_string());
        query.map(web::Query::into_inner).map_err(|error| ApiError::bad_request(format!("The query string is not valid: {error}.")))
    }

    pub(in crate::http) fn header(&self, name: &str) -> Option<&'r str> {
        self.attempt.header(name)
    }

    /// Whether the caller may do what needs `scope`; lists contain only what the caller may read.
    pub(in crate::http) fn may(&self, scope: &Scope) -> bool {
        self.proof.who.may(scope)
    }
}

/// The body of a call.
pub(in crate::http) trait Body: Sized {
    /// # Errors
    /// 400 if the body is not valid.
    fn of(call: &Call<'_>) -> Result<Self, ApiError>;
}

/// JSON.
pub(in crate::http) struct Json<T>(pub(in crate::http) T);

impl<T: DeserializeOwned> Body for Json<T> {
    fn of(call: &Call<'_>) -> Result<Self, ApiError> {
        let body = serde_json::from_slice(&call.proof.body.bytes);
        body.map(Self).map_err(|error| ApiError::bad_request(format!("The body is not valid: {error}.")))
    }
}

/// No body of its own. A signature covers only the body, so a signed call that acts names itself in it, `{"call": "POST /api/v1/…"}`: a
/// signature for one action cannot be used for another. A call that only reads is signed as if it had such a body.
pub(in crate::http) struct NoBody;

impl Body for NoBody {
    fn of(call: &Call<'_>) -> Result<Self, ApiError> {
        let Proof { scheme, body, call: own, .. } = call.proof;
        if *scheme == Scheme::Signed && !call.attempt.is_bodiless() {
            let named: serde_json::Value = serde_json::from_slice(&body.bytes).unwrap_or_default();
            if named["call"].as_str() != Some(own) {
                let why = format!("The signed body must be {{\"call\":\"{own}\"}}, so that the signature is valid for this call only.");
                return Err(ApiError::bad_request(why));
            }
        }
        Ok(Self)
    }
}

/// A request by an authenticated caller who is allowed to make it.
#[derive(Debug)]
pub(in crate::http) struct Proven<A> {
    pub(in crate::http) ask: A,
    pub(in crate::http) caller: Caller,
    /// What identifies a repeated call.
    pub(in crate::http) delivery: Option<Delivery>,
    pub(in crate::http) line: Line,
}

/// How the answer is sent. Only this module can make one, so only this module can make a [`Proven`].
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Line {
    is_private: bool,
    scheme: Scheme,
    /// Where the call came from; none: from this host.
    address: Option<IpAddr>,
    /// The fingerprint of the key's secret that the call was proven with; none: it was proven otherwise.
    secret: Option<[u8; 32]>,
}

impl Line {
    /// The fingerprint of the key's secret that the call was proven with; none: it was proven otherwise.
    pub(super) fn secret(self) -> Option<[u8; 32]> {
        self.secret
    }

    /// Whether nobody on the way can read the answer.
    pub(in crate::http) fn is_private(self) -> bool {
        self.is_private
    }

    /// Whether the call was proven as the caller's own, and not by a token that it was given for one deployment.
    pub(super) fn is_own(self) -> bool {
        self.scheme != Scheme::ReadToken
    }

    /// A token to read what was accepted, if only the caller can see it: over a private connection. The repeat of a signed call gets none,
    /// because the first call may have been unencrypted, and the repeat may come from somebody who has overheard it; a caller who can sign
    /// needs no token.
    pub(in crate::http) fn read_token(self, accepted: &Accepted, key: &[u8]) -> Option<String> {
        let is_callers_own = self.is_private && !(accepted.repeated && self.scheme == Scheme::Signed);
        is_callers_own.then(|| token::make(key, &accepted.id))
    }
}

/// The caller, for refusals that are found after authentication.
pub(super) struct Holder {
    key: Option<KeyId>,
    address: Option<IpAddr>,
}

impl Holder {
    /// It showed something that can be guessed, and that was wrong.
    pub(super) fn failed(&self, shared: &Shared) {
        self.refused(shared, Check::Code);
        shared.metrics.refused_call();
        shared.store.count_failed(&limit_key(self.address, self.key.as_ref()));
    }

    /// Counts the refused call, and shows it to the operator.
    pub(super) fn refused(&self, shared: &Shared, check: Check) {
        if shared.refused.count(check) {
            shared.refused.note(check, self.key.as_ref(), self.address);
        }
    }
}

impl<A: Ask> Proven<A> {
    /// Whose call it is.
    pub(super) fn holder(&self) -> Holder {
        let key = if let Caller::Key(key) = &self.caller { Some(key.clone()) } else { None };
        Holder { key, address: self.line.address }
    }

    /// The call of whoever shows that.
    pub(super) async fn by(request: &HttpRequest, shown: Shown, payload: Payload, shared: &Shared) -> Result<Self, ApiError> {
        let attempt = Attempt::of(request, shared)?;
        let proof = Proof::of(&attempt, shown, payload).await?;
        Self::judged(&attempt, proof).await
    }

    /// The call of whoever has proven that, if they may make it.
    pub(super) async fn judged(attempt: &Attempt<'_>, proof: Proof) -> Result<Self, ApiError> {
        let call = Call { attempt, proof: &proof };
        if let Who::Follower(mine) = &proof.who
            && call.part(DEPLOYMENT) != mine.as_str()
        {
            // This is checked before anything is looked up: the answer must not reveal what else exists.
            return Err(ApiError::forbidden(READ_TOKEN));
        }
        attempt.hold();
        let mut ask = A::read(&call, A::Body::of(&call)?).await?;
        if let Who::Job(caller) = &proof.who {
            let refused = |_: &ApiError| attempt.refused(Check::JobCall, || (Check::JobCall, proof.who.key()));
            ask = ask.of_job(&caller.job).inspect_err(refused)?;
        }
        let caller = match (&proof.who, ask.ordered_by()) {
            (Who::Follower(_), Some(ordered_by)) => ordered_by.clone(),
            (who, _) => who.allowed(&ask.needs()).inspect_err(|_| attempt.refused(Check::Scope, || (Check::Scope, who.key())))?,
        };
        let secret = if let Who::Key(key) = &proof.who { key.proof.fingerprints().first().copied() } else { None };
        let line = Line { is_private: proof.is_private, scheme: proof.scheme, address: attempt.origin.address(), secret };
        Ok(Self { ask, caller, delivery: proof.delivery, line })
    }
}

impl<A: Ask + 'static> FromRequest for Proven<A> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let payload = payload.take();
        Box::pin(async move {
            // Without the server's own state, nobody can be authenticated.
            let shared = request.app_data::<web::Data<Shared>>().ok_or_else(ApiError::unauthorized)?;
            Self::by(&request, Shown::of(&request), payload, shared).await
        })
    }
}
