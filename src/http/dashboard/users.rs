//! `/users`: who may log in, what each may do, and where they are logged in. For whoever may do everything.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web;
use askama::Template;
use serde::Deserialize;

use crate::clock;
use crate::config::Config;
use crate::http::Shared;
use crate::http::asks::Operator;
use crate::http::auth::Page;
use crate::http::auth::PageError;
use crate::http::auth::counts_at;
use crate::http::auth::scopes_of_session;
use crate::http::dashboard::browsers::browser;
use crate::http::dashboard::link;
use crate::http::dashboard::page::Frame;
use crate::http::dashboard::page::Place;
use crate::http::dashboard::page::answer;
use crate::http::dashboard::words::Moment;
use crate::http::dashboard::words::many;
use crate::model::Scope;
use crate::model::UserName;
use crate::store::Session;
use crate::store::User;

/// How many users a page shows.
const MOST: usize = 50;
/// How many of the sessions of one are shown.
const MOST_SESSIONS: usize = 5;

#[derive(Template)]
#[template(path = "users.html")]
struct Users {
    frame: Frame,
    summary: String,
    query: String,
    is_filtered: bool,
    has_search: bool,
    first: Option<String>,
    next: Option<String>,
    all: Vec<Shown>,
}

/// Somebody who may log in, or who is logged in.
struct Shown {
    name: UserName,
    is_me: bool,
    /// Whether a forge proves them, so that the configuration says what they may do.
    is_of_forge: bool,
    is_disabled: bool,
    has_password: bool,
    scopes: Vec<String>,
    /// Where that is changed.
    change: String,
    seen: Option<Moment>,
    sessions: Vec<One>,
    more: usize,
}

/// A session.
struct One {
    id: String,
    browser: String,
    address: String,
    used: Moment,
    is_this: bool,
}

/// What the address may say.
#[derive(Debug, Default, Deserialize)]
pub(in crate::http) struct Query {
    /// A part of the name.
    #[serde(default)]
    q: String,
    /// The last user of the page before.
    after: Option<UserName>,
}

pub(in crate::http) async fn show(page: Page<Operator>, shared: web::Data<Shared>) -> Result<HttpResponse, PageError> {
    let query: Query = page.viewer.query()?;
    let config = shared.config.now();
    let users = shared.store.users().await?;
    let mut sessions = open_sessions(&config, shared.store.sessions().await?);
    let mut all: BTreeMap<UserName, Shown> = users.into_iter().map(|user| (user.name.clone(), of_this_server(user))).collect();
    for (name, open) in &sessions {
        all.entry(name.clone()).or_insert_with(|| of_forge(name, &config, open));
    }
    let summary = format!("{} · {}", many(all.len(), "user"), many(sessions.values().map(Vec::len).sum(), "session"));
    let has_search = all.len() > 8;
    let asked = query.q.trim().to_lowercase();
    let is_shown = |name: &UserName| name.as_str().contains(&asked) && query.after.as_ref().is_none_or(|after| name > after);
    let mut shown: Vec<Shown> = all.into_values().filter(|user| is_shown(&user.name)).collect();
    let has_more = shown.len() > MOST;
    shown.truncate(MOST);
    for user in &mut shown {
        user.is_me = user.name == *page.viewer.user();
        let open = sessions.remove(&user.name).unwrap_or_default();
        user.more = open.len().saturating_sub(MOST_SESSIONS);
        user.sessions = open.into_iter().take(MOST_SESSIONS).map(|session| one(session, &page.viewer.session().id)).collect();
    }
    let find = Some(asked.as_str()).filter(|asked| !asked.is_empty());
    let next = shown.last().filter(|_| has_more);
    let users = Users {
        frame: Frame::of(&page.viewer, Place::Users),
        summary,
        is_filtered: find.is_some(),
        has_search,
        first: query.after.is_some().then(|| link::address("/users", &[("q", find)])),
        next: next.map(|last| link::address("/users", &[("after", Some(last.name.as_str())), ("q", find)])),
        all: shown,
        query: query.q.clone(),
    };
    Ok(answer(StatusCode::OK, &users))
}

/// The sessions that count now, by user, the newest first.
fn open_sessions(config: &Arc<Config>, all: Vec<Session>) -> BTreeMap<UserName, Vec<Session>> {
    let now_ms = clock::now_ms();
    let mut by_user: BTreeMap<UserName, Vec<Session>> = BTreeMap::new();
    for session in all.into_iter().filter(|session| counts_at(&config.dashboard, session, now_ms)) {
        by_user.entry(session.user.clone()).or_default().push(session);
    }
    by_user
}

fn of_this_server(user: User) -> Shown {
    let scopes: Vec<String> = user.scopes.iter().map(Scope::to_string).collect();
    Shown {
        change: link::address("/users/new", &[("name", Some(user.name.as_str()))]),
        name: user.name,
        is_me: false,
        is_of_forge: false,
        is_disabled: user.is_disabled,
        has_password: user.has_password,
        scopes,
        seen: user.seen_ms.map(Moment),
        sessions: Vec::new(),
        more: 0,
    }
}

/// Somebody whom a forge has proven, and who has a session.
fn of_forge(name: &UserName, config: &Config, open: &[Session]) -> Shown {
    let scopes = open.first().and_then(|session| scopes_of_session(&config.dashboard, session));
    Shown {
        name: name.clone(),
        is_me: false,
        is_of_forge: true,
        is_disabled: false,
        has_password: false,
        scopes: scopes.iter().flatten().map(Scope::to_string).collect(),
        change: String::new(),
        seen: open.first().map(|session| Moment(session.created_ms)),
        sessions: Vec::new(),
        more: 0,
    }
}

fn one(session: Session, mine: &str) -> One {
    One {
        is_this: session.id == mine,
        browser: browser(&session.agent),
        address: session.address,
        used: Moment(session.seen_ms),
        id: session.id,
    }
}
