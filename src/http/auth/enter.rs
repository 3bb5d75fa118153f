//! Logging in: by name and password, by a one-time code, or by a forge. Every login begins a session with a token of its own.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::http::header::HeaderValue;
use text::Secret;

use crate::clock;
use crate::http::Shared;
use crate::http::auth::arrival::Arrival;
use crate::http::auth::arrival::LATER;
use crate::http::auth::arrival::NotIn;
use crate::http::auth::cookie::Cookie;
use crate::http::auth::password::Full;
use crate::http::auth::token;
use crate::model::Code;
use crate::model::UserName;
use crate::store::LoginProof;
use crate::store::NewSession;
use crate::store::StoreError;

/// What the store knows a one-time code by.
pub(in crate::http) fn code_digest(code: &Code) -> String {
    token::digest(&format!("login code {}", code.grouped()))
}

impl Arrival {
    /// Logs in who has typed a right code, or a right name and password.
    ///
    /// # Errors
    /// [`NotIn`]: the same one for whatever was wrong, which counts as a failed attempt.
    pub(in crate::http) async fn enter(&self, shared: &Shared) -> Result<HttpResponse, NotIn> {
        if let Some(closed) = self.closed {
            return Err(closed);
        }
        let code = self.field("code").filter(|code| !code.reveal().trim().is_empty());
        let found = match code {
            Some(code) => self.by_code(shared, code).await?.map(|(user, proof)| (user, proof, "code")),
            None => self.by_password(shared).await?.map(|(user, proof)| (user, proof, "password")),
        };
        let (user, proof, how) = found.ok_or_else(|| self.was_wrong(shared))?;
        self.begin(shared, user, proof, how).await
    }

    async fn by_code(&self, shared: &Shared, typed: &Secret) -> Result<Option<(UserName, LoginProof)>, NotIn> {
        let Ok(code) = Code::parse(typed.reveal()) else { return Ok(None) };
        let digest = code_digest(&code);
        let owner = shared.store.owner_of_code(&digest).await.map_err(|error| later(&error))?;
        Ok(owner.map(|owner| (owner, LoginProof::Code(digest))))
    }

    /// A name that is not there is compared like any other, so that the time says nothing.
    async fn by_password(&self, shared: &Shared) -> Result<Option<(UserName, LoginProof)>, NotIn> {
        let typed = self.field("password").cloned().unwrap_or_else(|| Secret::new(String::new()));
        let name = self.field("name").map(|name| name.reveal().trim().to_ascii_lowercase()).unwrap_or_default();
        let name = UserName::parse(&name).ok();
        let lock = match &name {
            Some(name) => shared.store.lock_of(name).await.map_err(|error| later(&error))?,
            None => None,
        };
        let is_disabled = lock.as_ref().is_some_and(|lock| lock.is_disabled);
        let hash = lock.and_then(|lock| lock.hash);
        let is_right = shared.hashing.is_right(typed, hash.clone()).await.map_err(|Full| LATER)?;
        Ok(name.zip(hash.map(LoginProof::Password)).filter(|_| is_right && !is_disabled))
    }

    /// Begins a session of `user` and leads on. The session that the browser had before ends.
    ///
    /// # Errors
    /// When `proof` counts no more by now, or the database does not answer.
    pub(super) async fn begin(&self, shared: &Shared, user: UserName, proof: LoginProof, how: &str) -> Result<HttpResponse, NotIn> {
        let made = token::new_session(&shared.token_key);
        let new = NewSession {
            digest: token::digest(&made),
            id: clock::new_id().to_string(),
            user,
            proof,
            address: self.address.clone(),
            agent: self.agent.clone(),
        };
        if !shared.store.open_session(&new, self.before.as_deref(), how).await.map_err(|error| later(&error))? {
            return Err(self.was_wrong(shared));
        }
        tracing::info!(user = %new.user, session = new.id, address = new.address, how, "logged in");
        let life = shared.config.now().dashboard.longest;
        Ok(leads_to(&self.next, &[Cookie::Session.set(&made, self.is_https, life), Cookie::Login.unset(self.is_https)]))
    }

    /// Leads elsewhere, with the sealed state of a login by a forge that begins.
    pub(super) fn begins(&self, to: &str, sealed: &str, life: Duration) -> HttpResponse {
        leads_to(to, &[Cookie::Login.set(sealed, self.is_https, life)])
    }
}

/// Leads to the login page, and the browser forgets its session.
pub(in crate::http) fn left() -> HttpResponse {
    leads_to("/login", &[Cookie::Session.unset(true), Cookie::Session.unset(false)])
}

fn leads_to(place: &str, cookies: &[String]) -> HttpResponse {
    let mut answer = HttpResponse::SeeOther();
    answer.insert_header((header::LOCATION, place)).insert_header((header::CACHE_CONTROL, "no-store"));
    for cookie in cookies {
        if let Ok(value) = HeaderValue::from_str(cookie) {
            answer.append_header((header::SET_COOKIE, value));
        }
    }
    answer.finish()
}

fn later(error: &StoreError) -> NotIn {
    tracing::error!(%error, "nobody can log in: the database does not answer");
    LATER
}
