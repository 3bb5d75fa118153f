//! Authority as a type: a handler gets the caller and the request from [`Proven`], which nobody can make but the extractor
//! here, and which it makes only after the proof, the scopes and the refs.

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
    /// What it needs, as far as that is known of the route alone; for the contract.
    const VERB: Verb;

    /// What its body is.
    type Body: Body;

    /// What the call asks for.
    ///
    /// # Errors
    /// 400 when it cannot be read, 404 when what it is about is not there.
    async fn read(call: &Call<'_>, body: Self::Body) -> Result<Self, ApiError>;

    /// What its caller must be allowed to do.
    fn needs(&self) -> Needs;

    /// What is asked, as a job may ask it: what its token says is taken from there.
    ///
    /// # Errors
    /// 403 when the call says something else than the token.
    fn of_job(self, _: &Job) -> Result<Self, ApiError> {
        Ok(self)
    }

    /// Who ordered the deployment that is read, where its read token is proof enough.
    fn ordered_by(&self) -> Option<&Caller> {
        None
    }
}

/// An authenticated call, as an [`Ask`] reads it.
pub(in crate::http) struct Call<'r> {
    attempt: &'r Attempt<'r>,
    proof: &'r Proof,
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
    /// 400 when the query is none of a `T`.
    pub(in crate::http) fn query<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        let query = web::Query::<T>::from_query(self.attempt.request.query_string());
        query.map(web::Query::into_inner).map_err(|error| ApiError::bad_request(format!("The query string is not valid: {error}.")))
    }

    pub(in crate::http) fn header(&self, name: &str) -> Option<&'r str> {
        self.attempt.header(name)
    }

    /// Whether the caller may do what needs `scope`; for lists, which show what may be read.
    pub(in crate::http) fn may(&self, scope: &Scope) -> bool {
        self.proof.who.may(scope)
    }
}

/// What the body of a call is.
pub(in crate::http) trait Body: Sized {
    /// # Errors
    /// 400 when it is none.
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

/// None of its own. A signature covers only the body, so a signed call that acts names itself in it, `{"call": "POST /api/v1/…"}`:
/// what was signed for one action cannot be sent to another. One that only reads is signed so without it.
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
    /// What identifies a repetition of the call.
    pub(in crate::http) delivery: Option<Delivery>,
    pub(in crate::http) line: Line,
}

/// What is known of the way of an answer. Nobody else can make one, and so nobody else can make a [`Proven`].
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Line {
    is_private: bool,
    scheme: Scheme,
    /// Where the call came from; none: from this host.
    address: Option<IpAddr>,
}

impl Line {
    /// Whether nobody on the way can read the answer.
    pub(in crate::http) fn is_private(self) -> bool {
        self.is_private
    }

    /// A token that reads what was accepted, where only the caller gets it: over a way that nobody can read. The repeat of a
    /// signed call gets none, for the first may have come unencrypted, and anybody who overheard it may be who repeats it; who can
    /// sign needs none.
    pub(in crate::http) fn read_token(self, accepted: &Accepted, key: &[u8]) -> Option<String> {
        let is_callers_own = self.is_private && !(accepted.repeated && self.scheme == Scheme::Signed);
        is_callers_own.then(|| token::make(key, &accepted.id))
    }
}

/// Whose call it is, for what is found out about it behind the proof.
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

    /// Counts that the call was refused, and keeps it in mind for the operator.
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

    async fn of(request: &HttpRequest, payload: Payload, shared: &Shared) -> Result<Self, ApiError> {
        let attempt = Attempt::of(request, shared)?;
        let proof = Proof::of(&attempt, payload).await?;
        let call = Call { attempt: &attempt, proof: &proof };
        if let Who::Follower(mine) = &proof.who
            && call.part(DEPLOYMENT) != mine.as_str()
        {
            // Before anything is looked up: the answer must not reveal what else exists.
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
        let line = Line { is_private: proof.is_private, scheme: proof.scheme, address: attempt.origin.address() };
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
            // Where the server's own state is missing nobody can be known.
            let shared = request.app_data::<web::Data<Shared>>().ok_or_else(ApiError::unauthorized)?;
            Self::of(&request, payload, shared).await
        })
    }
}
