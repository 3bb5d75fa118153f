//! The session of somebody who is logged in, by the cookie of the browser.

use crate::clock;
use crate::config::Config;
use crate::config::Dashboard;
use crate::http::Shared;
use crate::http::auth::attempt::Attempt;
use crate::http::auth::cookie::Cookie;
use crate::http::auth::token;
use crate::model::Scope;
use crate::model::UserName;
use crate::store;
use crate::store::SessionRight;
use crate::store::StoreError;

/// A session's last use is written down at most so often.
const NOTED_EVERY_MS: i64 = 60_000;

/// Somebody who is logged in.
#[derive(Clone)]
pub(in crate::http) struct Session {
    /// By which people name it.
    pub(in crate::http) id: String,
    /// Who it is.
    pub(in crate::http) user: UserName,
    /// What the user may do now.
    pub(in crate::http) scopes: Vec<Scope>,
    /// The digest of its token, by which the store knows it.
    digest: String,
    /// What every form of a page carries, and only pages of this session know.
    form_token: String,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({})", self.id)
    }
}

impl Session {
    /// The session of the cookie that comes with a call, if it counts.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn of(attempt: &Attempt<'_>) -> Result<Option<Self>, StoreError> {
        let shared = attempt.shared;
        if !attempt.origin.is_private() || !attempt.config.dashboard.is_enabled {
            return Ok(None);
        }
        let given = Cookie::Session.of(attempt.request, attempt.origin.is_https());
        // What we have not made ourselves is not looked up.
        let Some(given) = given.filter(|given| token::is_session(&shared.token_key, given)) else { return Ok(None) };
        let digest = token::digest(given);
        let Some((found, scopes)) = current(shared, &attempt.config, &digest).await? else { return Ok(None) };
        let now_ms = clock::now_ms();
        if now_ms - found.seen_ms >= NOTED_EVERY_MS
            && let Err(error) = shared.store.saw_session(&digest, now_ms).await
        {
            tracing::warn!(%error, "that a session is used could not be noted");
        }
        Ok(Some(Self { id: found.id, user: found.user, scopes, digest, form_token: token::form(given) }))
    }

    /// What every form carries.
    pub(super) fn form_token(&self) -> &str {
        &self.form_token
    }

    /// What the user may do now; none: the session has ended, or the user may not log in any more.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(in crate::http) async fn scopes_now(&self, shared: &Shared) -> Result<Option<Vec<Scope>>, StoreError> {
        let config = shared.config.now();
        Ok(current(shared, &config, &self.digest).await?.map(|(_, scopes)| scopes))
    }
}

/// The session with this digest and what its user may do, if it counts now.
async fn current(shared: &Shared, config: &Config, digest: &str) -> Result<Option<(store::Session, Vec<Scope>)>, StoreError> {
    let found = shared.store.session(digest).await?.filter(|found| counts_at(&config.dashboard, found, clock::now_ms()));
    Ok(found.and_then(|found| {
        let scopes = scopes_of_session(&config.dashboard, &found)?;
        Some((found, scopes))
    }))
}

/// Whether a session counts at `now_ms`.
pub(in crate::http) fn counts_at(dashboard: &Dashboard, session: &store::Session, now_ms: i64) -> bool {
    let ms = |span: std::time::Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    dashboard.is_enabled && now_ms - session.created_ms < ms(dashboard.longest) && now_ms - session.seen_ms < ms(dashboard.idle)
}

/// What the user of a session may do as the configuration is now; none: the user may not be logged in.
pub(in crate::http) fn scopes_of_session(dashboard: &Dashboard, session: &store::Session) -> Option<Vec<Scope>> {
    match &session.right {
        SessionRight::Scopes(scopes) => Some(scopes.clone()),
        SessionRight::MemberOf(member_of) => {
            let forge = session.user.as_str().split_once('@').map(|(_, forge)| forge)?;
            Some(dashboard.login(forge)?.scopes(member_of)).filter(|scopes| !scopes.is_empty())
        }
        SessionRight::None => None,
    }
}
