//! `/keys`: who may call, and what they may do. Never a secret.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web;
use askama::Template;

use crate::clock;
use crate::config::Key;
use crate::config::KeyProof;
use crate::http::Shared;
use crate::http::auth::Page;
use crate::http::auth::PageError;
use crate::http::dashboard::asks::SeeAll;
use crate::http::dashboard::page::Frame;
use crate::http::dashboard::page::Place;
use crate::http::dashboard::page::answer;
use crate::http::dashboard::words::Moment;
use crate::http::dashboard::words::Pill;
use crate::http::dashboard::words::Tone;
use crate::model::Scope;

#[derive(Template)]
#[template(path = "keys.html")]
struct Keys {
    frame: Frame,
    all: Vec<Shown>,
    policies: Vec<Policy>,
}

/// A key.
struct Shown {
    id: String,
    kind: &'static str,
    pill: Pill,
    scopes: Vec<String>,
    refs: Vec<String>,
    until: Option<Moment>,
}

/// What jobs of a forge may do.
struct Policy {
    id: String,
    issuer: String,
    scopes: Vec<String>,
    refs: Vec<String>,
}

pub(in crate::http) async fn show(page: Page<SeeAll>, shared: web::Data<Shared>) -> Result<HttpResponse, PageError> {
    let config = shared.config.now();
    let now_ms = clock::now_ms();
    let policy = |one: &crate::config::OidcPolicy| Policy {
        id: one.id.to_string(),
        issuer: one.issuer.to_string(),
        scopes: texts(&one.scopes),
        refs: one.refs.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
    };
    let keys = Keys {
        frame: Frame::of(&page.viewer, Place::Keys),
        all: config.keys.iter().map(|key| key_row(key, now_ms)).collect(),
        policies: config.oidc.iter().map(policy).collect(),
    };
    Ok(answer(StatusCode::OK, &keys))
}

fn texts(scopes: &[Scope]) -> Vec<String> {
    scopes.iter().map(ToString::to_string).collect()
}

fn key_row(key: &Key, now_ms: i64) -> Shown {
    let kind = match &key.proof {
        KeyProof::Bearer(_) => "bearer token",
        KeyProof::Webhook(_) => "signed requests",
        KeyProof::Socket => "unix socket",
    };
    Shown {
        id: key.id.to_string(),
        kind,
        pill: pill(key, now_ms),
        scopes: texts(&key.scopes),
        refs: key.refs.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
        until: key.not_after_ms.map(Moment),
    }
}

fn pill(key: &Key, now_ms: i64) -> Pill {
    if key.not_before_ms.is_some_and(|from_ms| now_ms < from_ms) {
        return Pill::new(Tone::Wait, "not yet");
    }
    if key.not_after_ms.is_some_and(|until_ms| now_ms > until_ms) {
        return Pill::new(Tone::Still, "expired");
    }
    if key.proof.is_rotating() { Pill::new(Tone::Warn, "two secrets count") } else { Pill::new(Tone::Good, "counts") }
}
