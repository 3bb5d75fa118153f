//! The handlers that the router accepts. There are several kinds, and the arguments of each say what was authenticated before it runs: no
//! handler sees the request itself, so none can get a caller or a body in another way.

use std::future::Future;

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::dev::Payload;
use actix_web::web;

use crate::http::Shared;
use crate::http::auth::agent::Dialled;
use crate::http::auth::agent::Enrolling;
use crate::http::auth::arrival::Arrival;
use crate::http::auth::delivered::Delivered;
use crate::http::auth::form::Unwelcome;
use crate::http::auth::form::Visit;
use crate::http::auth::need::Need;
use crate::http::auth::proven::Ask;
use crate::http::auth::proven::NoBody;
use crate::http::auth::proven::Proven;
use crate::http::auth::reload::Told;
use crate::http::auth::reload::Unproven;
use crate::http::auth::socket::Opening;
use crate::http::auth::viewer::Change;
use crate::http::auth::viewer::Page;
use crate::http::auth::viewer::PageError;
use crate::http::auth::viewer::Viewer;
use crate::http::error::ApiError;
use crate::http::refused::Check;

/// A handler, and what it needs.
pub(in crate::http) struct Handler {
    need: Need,
    route: Box<dyn Fn() -> actix_web::Route + Send + Sync>,
}

impl Handler {
    pub(in crate::http) fn need(&self) -> Need {
        self.need
    }

    /// Makes a new one for each worker.
    pub(in crate::http) fn route(&self) -> actix_web::Route {
        (self.route)()
    }
}

impl std::fmt::Debug for Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Handler({:?})", self.need)
    }
}

/// For authenticated callers with the needed permission.
pub(in crate::http) fn proven<A, F, Fut>(handler: F) -> Handler
where
    A: Ask + 'static,
    F: Fn(Proven<A>, web::Data<Shared>) -> Fut + Copy + Send + Sync + 'static,
    Fut: Future<Output = Result<HttpResponse, ApiError>> + 'static,
{
    let counted = move |proven: Proven<A>, shared: web::Data<Shared>| async move {
        let holder = proven.holder();
        let done = handler(proven, shared.clone()).await;
        // The store checks these within the transaction that would accept the order.
        if done.as_ref().is_err_and(ApiError::is_id_reused) {
            holder.refused(&shared, Check::IdReused);
        }
        if done.as_ref().is_err_and(ApiError::is_wrong_code) {
            holder.failed(&shared);
        }
        done
    };
    Handler { need: Need::Verb(A::VERB), route: Box::new(move || web::route().to(counted)) }
}

/// For calls from which `prove` makes all that the handler gets.
fn from_call<P, F>(
    need: Need,
    prove: impl AsyncFn(&HttpRequest, Payload, &Shared) -> Result<P, ApiError> + Copy + Send + Sync + 'static,
    handler: F,
) -> Handler
where
    P: 'static,
    F: AsyncFn(P, web::Data<Shared>) -> Result<HttpResponse, ApiError> + Copy + Send + Sync + 'static,
{
    let with_proof = move |request: HttpRequest, payload: web::Payload, shared: web::Data<Shared>| async move {
        let proven = prove(&request, payload.into_inner(), &shared).await?;
        handler(proven, shared).await
    };
    Handler { need, route: Box::new(move || web::route().to(with_proof)) }
}

/// For `WebSocket`s, whose callers prove themselves by the call or by their first frame.
pub(in crate::http) fn opening<A, F>(handler: F) -> Handler
where
    A: Ask<Body = NoBody> + 'static,
    F: AsyncFn(Opening<A>, web::Data<Shared>) -> Result<HttpResponse, ApiError> + Copy + Send + Sync + 'static,
{
    from_call(Need::Verb(A::VERB), Opening::of, handler)
}

/// For anybody.
pub(in crate::http) fn open<F, Fut>(handler: F) -> Handler
where
    F: Fn(web::Data<Shared>) -> Fut + Copy + Send + Sync + 'static,
    Fut: Future<Output = HttpResponse> + 'static,
{
    Handler { need: Need::Open, route: Box::new(move || web::route().to(handler)) }
}

/// For anybody: a file of pages, by the last part of the path.
pub(in crate::http) fn open_file<F, Fut>(handler: F) -> Handler
where
    F: Fn(web::Path<String>, web::Data<Shared>) -> Fut + Copy + Send + Sync + 'static,
    Fut: Future<Output = HttpResponse> + 'static,
{
    Handler { need: Need::File, route: Box::new(move || web::route().to(handler)) }
}

/// For native webhooks of forges.
pub(in crate::http) fn by_forge<F, Fut>(handler: F) -> Handler
where
    F: Fn(Delivered, web::Data<Shared>) -> Fut + Copy + Send + Sync + 'static,
    Fut: Future<Output = Result<HttpResponse, ApiError>> + 'static,
{
    let with_proof = move |request: HttpRequest, payload: web::Payload, shared: web::Data<Shared>| async move {
        let payload: Payload = payload.into_inner();
        let delivered = Delivered::of(&request, payload, &shared).await?;
        let address = delivered.address();
        let done = handler(delivered, shared.clone()).await;
        if done.as_ref().is_err_and(ApiError::is_id_reused) && shared.refused.count(Check::IdReused) {
            shared.refused.note(Check::IdReused, None, address);
        }
        done
    };
    Handler { need: Need::ForgeSignature, route: Box::new(move || web::route().to(with_proof)) }
}

/// For callers with the reload secret of a dataset.
pub(in crate::http) fn by_reload_secret<F, Fut>(handler: F) -> Handler
where
    F: Fn(Result<Told, Unproven>, web::Data<Shared>) -> Fut + Copy + Send + Sync + 'static,
    Fut: Future<Output = HttpResponse> + 'static,
{
    let with_proof = move |request: HttpRequest, payload: web::Payload, shared: web::Data<Shared>| async move {
        let payload: Payload = payload.into_inner();
        handler(Told::of(&request, payload, &shared).await, shared).await
    };
    Handler { need: Need::ReloadSecret, route: Box::new(move || web::route().to(with_proof)) }
}

/// For approvers with the address of their form.
pub(in crate::http) fn by_form<F, Fut>(handler: F) -> Handler
where
    F: Fn(Result<Visit, Unwelcome>, web::Data<Shared>) -> Fut + Copy + Send + Sync + 'static,
    Fut: Future<Output = HttpResponse> + 'static,
{
    let with_proof = move |request: HttpRequest, payload: web::Payload, shared: web::Data<Shared>| async move {
        let payload: Payload = payload.into_inner();
        handler(Visit::of(&request, payload, &shared).await, shared).await
    };
    Handler { need: Need::FormAddress, route: Box::new(move || web::route().to(with_proof)) }
}

/// For pages of users who are logged in.
pub(in crate::http) fn viewed<F, Fut>(handler: F) -> Handler
where
    F: Fn(Viewer, web::Data<Shared>) -> Fut + Copy + Send + Sync + 'static,
    Fut: Future<Output = Result<HttpResponse, PageError>> + 'static,
{
    let with_session = move |request: HttpRequest, shared: web::Data<Shared>| async move {
        let shown = async { handler(Viewer::of(&request, &shared).await?, shared.clone()).await };
        shown.await.unwrap_or_else(|error| error.answer())
    };
    Handler { need: Need::Session(None), route: Box::new(move || web::route().to(with_session)) }
}

/// For pages of users with the needed permission.
pub(in crate::http) fn page<A, F, Fut>(handler: F) -> Handler
where
    A: Ask + 'static,
    F: Fn(Page<A>, web::Data<Shared>) -> Fut + Copy + Send + Sync + 'static,
    Fut: Future<Output = Result<HttpResponse, PageError>> + 'static,
{
    let with_session = move |request: HttpRequest, shared: web::Data<Shared>| async move {
        let shown = async { handler(Page::of(&request, &shared).await?, shared.clone()).await };
        shown.await.unwrap_or_else(|error| error.answer())
    };
    Handler { need: Need::Session(Some(A::VERB)), route: Box::new(move || web::route().to(with_session)) }
}

/// For forms of pages, by users with the needed permission.
pub(in crate::http) fn changed<A, F, Fut>(handler: F) -> Handler
where
    A: Ask + 'static,
    F: Fn(Change<A>, web::Data<Shared>) -> Fut + Copy + Send + Sync + 'static,
    Fut: Future<Output = Result<HttpResponse, PageError>> + 'static,
{
    Handler { need: Need::Session(Some(A::VERB)), ..changed_own(handler) }
}

/// For forms by which users change what is their own.
pub(in crate::http) fn changed_own<A, F, Fut>(handler: F) -> Handler
where
    A: Ask + 'static,
    F: Fn(Change<A>, web::Data<Shared>) -> Fut + Copy + Send + Sync + 'static,
    Fut: Future<Output = Result<HttpResponse, PageError>> + 'static,
{
    let with_session = move |request: HttpRequest, payload: web::Payload, shared: web::Data<Shared>| async move {
        let payload: Payload = payload.into_inner();
        let done = async { handler(Change::of(&request, payload, &shared).await?, shared.clone()).await };
        done.await.unwrap_or_else(|error| error.answer())
    };
    Handler { need: Need::Session(None), route: Box::new(move || web::route().to(with_session)) }
}

/// For pages by which people log in.
pub(in crate::http) fn arrived<F, Fut>(handler: F) -> Handler
where
    F: Fn(Arrival, web::Data<Shared>) -> Fut + Copy + Send + Sync + 'static,
    Fut: Future<Output = HttpResponse> + 'static,
{
    let unproven = move |request: HttpRequest, payload: web::Payload, shared: web::Data<Shared>| async move {
        let payload: Payload = payload.into_inner();
        match Arrival::of(&request, payload, &shared).await {
            Ok(arrival) => handler(arrival, shared).await,
            Err(error) => error.answer(),
        }
    };
    Handler { need: Need::Login, route: Box::new(move || web::route().to(unproven)) }
}

/// For hosts with a code that enrols an agent.
pub(in crate::http) fn by_code<F>(handler: F) -> Handler
where
    F: AsyncFn(Enrolling, web::Data<Shared>) -> Result<HttpResponse, ApiError> + Copy + Send + Sync + 'static,
{
    from_call(Need::EnrolmentCode, Enrolling::of, handler)
}

/// For agents with a key that was enrolled.
pub(in crate::http) fn by_agent_key<F>(handler: F) -> Handler
where
    F: AsyncFn(Dialled, web::Data<Shared>) -> Result<HttpResponse, ApiError> + Copy + Send + Sync + 'static,
{
    from_call(Need::AgentKey, Dialled::of, handler)
}
