//! Authority on the pages of the dashboard. A handler of a page gets a [`Viewer`] or a [`Page`], and one that changes something a
//! [`Change`]; only this file can make them, after it has checked the session, and for a change that a form of this very session sent it.
//! What a user may do is judged as for every other caller, by the [`Ask`] of the route.

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::ResponseError as _;
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::web;
use serde::de::DeserializeOwned;
use sha2::Digest as _;
use sha2::Sha256;

use crate::clock;
use crate::http::Shared;
use crate::http::auth::attempt::Attempt;
use crate::http::auth::attempt::ReadBody;
use crate::http::auth::need::Needs;
use crate::http::auth::proof::Proof;
use crate::http::auth::proven::Ask;
use crate::http::auth::proven::Body;
use crate::http::auth::proven::Call;
use crate::http::auth::same_origin::is_from_here;
use crate::http::auth::same_origin::is_own_name;
use crate::http::auth::scheme::Scheme;
use crate::http::auth::session::Session;
use crate::http::auth::token;
use crate::http::auth::who::Who;
use crate::http::auth::who::covered;
use crate::http::dashboard::message;
use crate::http::error::ApiError;
use crate::http::refused::Check;
use crate::model::Caller;
use crate::model::Scope;
use crate::model::ServiceName;
use crate::model::UserName;
use crate::model::Verb;
use crate::store::Delivery;

/// The name of the field that carries the form token.
const FORM_TOKEN: &str = "form_token";
/// The name of the field by which a form that is sent twice does one thing.
const ONCE: &str = "once";

/// Why a page is not shown.
#[derive(Debug)]
pub(in crate::http) enum PageError {
    /// Nobody is logged in: the browser goes to the login page, and from there to this address of ours.
    LogIn(Option<String>),
    /// One sentence says why.
    Why(ApiError),
    /// The browser called us by a name that is not ours.
    OtherName,
}

impl<E: Into<ApiError>> From<E> for PageError {
    fn from(error: E) -> Self {
        Self::Why(error.into())
    }
}

impl PageError {
    /// As an answer.
    pub(in crate::http) fn answer(&self) -> HttpResponse {
        match self {
            Self::LogIn(next) => {
                let next = next.as_deref().filter(|next| *next != "/").map(|next| {
                    let next: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
                    format!("?next={next}")
                });
                HttpResponse::SeeOther()
                    .insert_header((header::LOCATION, format!("/login{}", next.unwrap_or_default())))
                    .insert_header((header::CACHE_CONTROL, "no-store"))
                    .finish()
            }
            Self::Why(error) => message(error.status_code(), &error.to_string()),
            Self::OtherName => message(
                StatusCode::MISDIRECTED_REQUEST,
                "This server is not known by the name in the address bar; open it by the name in server.public_url, and let a proxy in \
                 front of it pass on the header Host.",
            ),
        }
    }
}

/// Somebody who is logged in and looks at a page.
#[derive(Debug)]
pub(in crate::http) struct Viewer {
    session: Box<Session>,
    request: HttpRequest,
    limit_key: String,
}

impl Viewer {
    /// Who looks at the page of a request.
    ///
    /// # Errors
    /// [`PageError`], when nobody is logged in, or the dashboard is not there under this name.
    pub(super) async fn of(request: &HttpRequest, shared: &Shared) -> Result<Self, PageError> {
        let attempt = Attempt::of(request, shared)?;
        Self::by(&attempt).await
    }

    async fn by(attempt: &Attempt<'_>) -> Result<Self, PageError> {
        is_there(attempt)?;
        let Some(session) = Session::of(attempt).await? else {
            let next = attempt.is_bodiless().then(|| attempt.path().to_owned());
            return Err(PageError::LogIn(next));
        };
        attempt.hold();
        Ok(Self { session: Box::new(session), request: attempt.request.clone(), limit_key: attempt.limit_key().to_owned() })
    }

    /// Who it is.
    pub(in crate::http) fn user(&self) -> &UserName {
        &self.session.user
    }

    /// The session.
    pub(in crate::http) fn session(&self) -> &Session {
        &self.session
    }

    /// Who orders, in records.
    pub(in crate::http) fn caller(&self) -> Caller {
        Caller::User(self.session.user.clone())
    }

    /// Whether the user may do what needs `scope`; what a user may not do is not shown.
    pub(in crate::http) fn may(&self, scope: &Scope) -> bool {
        covered(&self.session.scopes, scope)
    }

    /// Whether the user may do all that `needs` says.
    pub(in crate::http) fn may_all(&self, needs: &Needs) -> bool {
        needs.scopes.iter().all(|scope| self.may(scope))
    }

    /// Whether the user may do `verb` to `service`.
    pub(in crate::http) fn may_on(&self, verb: Verb, service: &ServiceName) -> bool {
        self.may(&Scope::on(verb, service))
    }

    /// What every form of the page carries in a field `form_token`.
    pub(in crate::http) fn form_token(&self) -> &str {
        self.session.form_token()
    }

    /// # Errors
    /// 400 if the query is not a `T`.
    pub(in crate::http) fn query<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        let query = web::Query::<T>::from_query(self.request.query_string());
        query.map(web::Query::into_inner).map_err(|error| ApiError::bad_request(format!("The query string is not valid: {error}.")))
    }

    /// A code that was typed is wrong, which counts as a failed attempt of the address.
    pub(in crate::http) fn guessed_wrong(&self, shared: &Shared) {
        shared.metrics.refused_call();
        shared.store.count_failed(&self.limit_key);
    }
}

/// A page about something: the viewer may do what its [`Ask`] needs.
#[derive(Debug)]
pub(in crate::http) struct Page<A> {
    pub(in crate::http) viewer: Viewer,
    pub(in crate::http) ask: A,
}

impl<A: Ask> Page<A> {
    pub(super) async fn of(request: &HttpRequest, shared: &Shared) -> Result<Self, PageError> {
        let attempt = Attempt::of(request, shared)?;
        let viewer = Viewer::by(&attempt).await?;
        let body = attempt.body(Payload::None, true).await?;
        let ask = asked(&attempt, &viewer, body).await?;
        Ok(Self { viewer, ask })
    }
}

/// A change that a form of this very session sent, by a user who may make it.
#[derive(Debug)]
pub(in crate::http) struct Change<A> {
    pub(in crate::http) viewer: Viewer,
    pub(in crate::http) ask: A,
    /// What identifies a form that was sent twice, if it had a field `once`.
    pub(in crate::http) delivery: Option<Delivery>,
}

impl<A: Ask> Change<A> {
    pub(super) async fn of(request: &HttpRequest, payload: Payload, shared: &Shared) -> Result<Self, PageError> {
        let attempt = Attempt::of(request, shared)?;
        is_there(&attempt)?;
        if !is_from_here(&attempt) {
            return Err(other_site(&attempt));
        }
        let viewer = Viewer::by(&attempt).await?;
        attempt.keep_place()?;
        let body = attempt.body(payload, true).await?;
        let field =
            |wanted: &str| url::form_urlencoded::parse(&body.bytes).find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned());
        if !field(FORM_TOKEN).is_some_and(|given| token::is_same(&given, viewer.form_token())) {
            return Err(other_site(&attempt));
        }
        let delivery = field(ONCE).filter(|id| is_id(id)).map(|id| {
            let call = format!("{} {}", attempt.request.method(), attempt.path());
            let body_sha256 = text::hex(&Sha256::new().chain_update(call).chain_update(&body.bytes).finalize());
            Delivery { caller: viewer.caller().to_string(), id, body_sha256 }
        });
        let ask = asked(&attempt, &viewer, body).await?;
        Ok(Self { viewer, ask, delivery })
    }
}

/// A value for the field `once`.
pub(in crate::http) fn once() -> String {
    format!("form_{}", clock::new_id())
}

fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The fields of a form, in the place of a body.
pub(in crate::http) struct Fields<T>(pub(in crate::http) T);

impl<T: DeserializeOwned> Body for Fields<T> {
    fn of(call: &Call<'_>) -> Result<Self, ApiError> {
        let wrong = |why: &dyn std::fmt::Display| ApiError::bad_request(format!("What was sent is not this form: {why}."));
        let text = std::str::from_utf8(&call.proof.body.bytes).map_err(|error| wrong(&error))?;
        web::Query::<T>::from_query(text).map(|fields| Self(fields.into_inner())).map_err(|error| wrong(&error))
    }
}

/// What the viewer asks for, if they may.
async fn asked<A: Ask>(attempt: &Attempt<'_>, viewer: &Viewer, body: ReadBody) -> Result<A, PageError> {
    let call = format!("{} {}", attempt.request.method(), attempt.path());
    let who = Who::User(viewer.session.clone());
    let proof = Proof { who, scheme: Scheme::Session, is_private: true, delivery: None, body, call };
    let call = Call { attempt, proof: &proof };
    let ask = A::read(&call, A::Body::of(&call)?).await?;
    proof.who.allowed(&ask.needs()).inspect_err(|_| attempt.refused(Check::Scope, || (Check::Scope, None)))?;
    Ok(ask)
}

/// Whether there is a dashboard, under the name by which it is called.
///
/// # Errors
/// 404 without a dashboard; 421 under a name that is not ours.
pub(super) fn is_there(attempt: &Attempt<'_>) -> Result<(), PageError> {
    if !attempt.config.dashboard.is_enabled {
        return Err(ApiError::not_found("The dashboard is switched off; dashboard.enabled in the configuration switches it on.").into());
    }
    if !is_own_name(attempt.request, &attempt.config.server) {
        attempt.refused(Check::OtherName, || (Check::OtherName, None));
        return Err(PageError::OtherName);
    }
    Ok(())
}

fn other_site(attempt: &Attempt<'_>) -> PageError {
    attempt.refused(Check::OtherSite, || (Check::OtherSite, None));
    ApiError::forbidden(
        "This form was not sent by a page of your session, so nothing was done; open the page again and send it from there.",
    )
    .into()
}
