//! `/login`: by name and password, by a one-time code, or by a forge.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::http::header::HeaderValue;
use actix_web::web;
use askama::Template;

use crate::config::Config;
use crate::config::ForgeKind;
use crate::http::Shared;
use crate::http::auth::Arrival;
use crate::http::auth::NotIn;
use crate::http::dashboard::Frame;
use crate::http::dashboard::answer;

#[derive(Template)]
#[template(path = "login.html")]
struct Login {
    frame: Frame,
    /// What went wrong.
    said: Option<&'static str>,
    /// Whether anything can be typed.
    is_open: bool,
    next: String,
    /// The forges by which people can log in: their ids and what they are.
    forges: Vec<(String, &'static str)>,
}

pub(in crate::http) async fn show(arrival: Arrival, shared: web::Data<Shared>) -> HttpResponse {
    if arrival.is_logged_in {
        return HttpResponse::SeeOther()
            .insert_header((header::LOCATION, arrival.next.as_str()))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .finish();
    }
    let status = arrival.closed.map_or(StatusCode::OK, |closed| closed.status);
    page(status, &arrival.next, arrival.closed, &shared.config.now())
}

pub(in crate::http) async fn enter(arrival: Arrival, shared: web::Data<Shared>) -> HttpResponse {
    let entered = arrival.enter(&shared).await;
    entered.unwrap_or_else(|why| page(why.status, &arrival.next, Some(why), &shared.config.now()))
}

pub(in crate::http) async fn to_forge(arrival: Arrival, shared: web::Data<Shared>) -> HttpResponse {
    arrival.goes_to_forge(&shared).unwrap_or_else(|why| page(why.status, &arrival.next, Some(why), &shared.config.now()))
}

pub(in crate::http) async fn callback(arrival: Arrival, shared: web::Data<Shared>) -> HttpResponse {
    let entered = arrival.comes_from_forge(&shared).await;
    entered.unwrap_or_else(|why| page(why.status, "/", Some(why), &shared.config.now()))
}

fn page(status: StatusCode, next: &str, said: Option<NotIn>, config: &Config) -> HttpResponse {
    let is_open = said.is_none_or(NotIn::may_try_again);
    let logins = config.dashboard.logins.iter().filter_map(|login| config.forge(&login.forge));
    let kind = |kind: ForgeKind| match kind {
        ForgeKind::GitHub => "GitHub",
        ForgeKind::Forgejo => "Forgejo",
        ForgeKind::Gitea => "Gitea",
    };
    let forges: Vec<_> = logins.clone().map(|forge| (forge.id.to_string(), kind(forge.kind))).collect();
    let origins: Vec<String> = logins.filter_map(|forge| Some(url::Url::parse(&forge.url).ok()?.origin().ascii_serialization())).collect();
    let login = Login { frame: Frame::nobody(), said: said.map(|said| said.why), is_open, next: next.to_owned(), forges };
    let mut page = answer(status, &login);
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        page.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
    }
    // A form of this page leads to a forge, by way of this server.
    let policy = page.headers().get(header::CONTENT_SECURITY_POLICY).and_then(|policy| policy.to_str().ok());
    let wider = policy.map(|policy| policy.replace("form-action 'self'", &format!("form-action 'self' {}", origins.join(" "))));
    if let Some(policy) = wider.and_then(|policy| HeaderValue::from_str(&policy).ok()).filter(|_| !origins.is_empty()) {
        page.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    page
}
