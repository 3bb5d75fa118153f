//! `/audit`: who did what, with which result, and whether the trail is whole.

use std::sync::PoisonError;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::web;
use askama::Template;
use serde::Deserialize;

use crate::clock;
use crate::http::Shared;
use crate::http::auth::Change;
use crate::http::auth::Page;
use crate::http::auth::PageError;
use crate::http::dashboard::asks::SeeAll;
use crate::http::dashboard::link;
use crate::http::dashboard::page::Frame;
use crate::http::dashboard::page::Place;
use crate::http::dashboard::page::answer;
use crate::http::dashboard::words;
use crate::http::dashboard::words::Moment;
use crate::http::dashboard::words::Tone;
use crate::http::dashboard::words::spaced;
use crate::model::DeploymentId;
use crate::store::AuditEntry;

const MOST: i64 = 100;

/// What came of the last verification of the whole trail.
#[derive(Debug, Clone)]
pub(in crate::http) struct Verified {
    at_ms: i64,
    tone: Tone,
    said: String,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct Audit {
    frame: Frame,
    entries: Vec<Entry>,
    verified: Option<(Moment, Tone, String)>,
    first: Option<String>,
    next: Option<String>,
}

/// An entry of the trail.
struct Entry {
    seq: i64,
    at: Moment,
    caller: String,
    action: String,
    target: String,
    /// The page of the deployment that it is about.
    href: Option<String>,
    detail: String,
    hash: String,
}

impl Entry {
    fn of(one: AuditEntry) -> Self {
        let id = one.detail.split_whitespace().find_map(|word| DeploymentId::parse(word.trim_end_matches([',', ';', '.', ':'])).ok());
        Self {
            seq: one.seq,
            at: Moment(one.at_ms),
            caller: words::caller(&one.caller),
            action: spaced(&one.action),
            target: one.target,
            href: id.map(|id| format!("/deployments/{id}")),
            detail: one.detail,
            hash: words::short(&one.hash).to_owned(),
        }
    }
}

/// What the address may say.
#[derive(Debug, Default, Deserialize)]
pub(in crate::http) struct Query {
    before: Option<i64>,
}

pub(in crate::http) async fn show(page: Page<SeeAll>, shared: web::Data<Shared>) -> Result<HttpResponse, PageError> {
    let query: Query = page.viewer.query()?;
    let found = shared.store.audit_entries(query.before.unwrap_or(i64::MAX), MOST).await?;
    let next = found.last().filter(|last| found.len() as i64 == MOST && last.seq > 1).map(|last| last.seq.to_string());
    let verified = shared.dashboard.verified.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let audit = Audit {
        frame: Frame::of(&page.viewer, Place::Audit),
        entries: found.into_iter().map(Entry::of).collect(),
        verified: verified.map(|verified| (Moment(verified.at_ms), verified.tone, verified.said)),
        first: query.before.is_some().then(|| "/audit".to_owned()),
        next: next.map(|before| link::address("/audit", &[("before", Some(&before))])),
    };
    Ok(answer(StatusCode::OK, &audit))
}

/// Reads the whole trail once and remembers what came of it; the trail itself is only read.
pub(in crate::http) async fn verify(_: Change<SeeAll>, shared: web::Data<Shared>) -> Result<HttpResponse, PageError> {
    let (tone, said) = match shared.store.verify_audit(None).await? {
        Ok((entries, hash)) => {
            (Tone::Good, format!("The trail is whole: {}, the last with the hash {hash}.", words::many_entries(entries)))
        }
        Err(fault) => (Tone::Bad, fault.to_string()),
    };
    let verified = Verified { at_ms: clock::now_ms(), tone, said };
    *shared.dashboard.verified.lock().unwrap_or_else(PoisonError::into_inner) = Some(verified);
    Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, "/audit")).insert_header((header::CACHE_CONTROL, "no-store")).finish())
}
