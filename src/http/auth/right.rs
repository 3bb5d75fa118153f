//! What lets a client follow a journal for as long as it takes, and ends with its key, policy or session.

use actix_web::web;
use tokio::sync::watch;
use tokio::time::Duration;
use tokio::time::Instant;

use crate::clock;
use crate::config::Config;
use crate::http::Shared;
use crate::http::auth::proven::Proven;
use crate::http::auth::session::Session;
use crate::http::auth::who::covered;
use crate::http::error::ApiError;
use crate::model::Caller;
use crate::model::KeyId;
use crate::model::Scope;
use crate::model::ServiceName;
use crate::model::Verb;

/// How often it is looked without any sign that something has changed: time passes, and another server of the same database may have
/// ended a session.
const LOOK: Duration = Duration::from_mins(1);

/// What was shown to read a journal.
#[derive(Debug)]
enum Shown {
    /// A key of the configuration, and the fingerprint of its secret; none: it has none.
    Key(KeyId, Option<[u8; 32]>),
    /// A policy of the configuration, by the token of a job.
    Policy(KeyId),
    /// A session of the dashboard.
    Session(Box<Session>),
    /// What nobody ends: a read token, which has its own time, or this host's own users.
    Lasting,
}

/// The right to go on reading journals of one service.
#[derive(Debug)]
pub(in crate::http) struct Right {
    shown: Shown,
    scope: Scope,
    changes: watch::Receiver<u64>,
    /// The change after which it was looked last, and when the next look is due.
    looked: u64,
    look_at: Instant,
}

impl<A> Proven<A> {
    /// The right to go on reading journals of `service`, by what this call has shown.
    pub(in crate::http) fn right(&self, service: &ServiceName, session: Option<Session>, shared: &Shared) -> Right {
        let shown = match (session, &self.caller) {
            (Some(session), _) => Shown::Session(Box::new(session)),
            (None, Caller::Key(key)) if self.line.is_own() => Shown::Key(key.clone(), self.line.secret()),
            (None, Caller::Oidc(policy)) if self.line.is_own() => Shown::Policy(policy.clone()),
            (None, _) => Shown::Lasting,
        };
        Right::new(shown, service, shared)
    }
}

impl Right {
    fn new(shown: Shown, service: &ServiceName, shared: &Shared) -> Self {
        let changes = shared.followers.changes();
        let looked = *changes.borrow();
        Self { shown, scope: Scope::on(Verb::Read, service), changes, looked, look_at: Instant::now() + LOOK }
    }

    /// One that lasts as long as its answer, which is made of what is stored by now.
    pub(in crate::http) fn of_one_answer(service: &ServiceName, shared: &Shared) -> Self {
        Self::new(Shown::Lasting, service, shared)
    }

    /// Returns, with why, when it has ended. Nothing is lost if this is dropped before.
    pub(in crate::http) async fn ends(&mut self, shared: &web::Data<Shared>) -> ApiError {
        loop {
            let now = *self.changes.borrow();
            if now == self.looked && Instant::now() < self.look_at {
                tokio::select! {
                    // The sender lives as long as the server.
                    _ = self.changes.wait_for(|change| *change != now) => {}
                    () = tokio::time::sleep_until(self.look_at) => {}
                }
                continue;
            }
            if let Some(why) = self.why_ended(shared).await {
                return why;
            }
            self.looked = now;
            self.look_at = Instant::now() + LOOK;
        }
    }

    async fn why_ended(&self, shared: &Shared) -> Option<ApiError> {
        let covers = |scopes: &[Scope]| covered(scopes, &self.scope);
        let config = shared.config.now();
        match &self.shown {
            Shown::Lasting => None,
            Shown::Key(id, secret) => (!key_scopes(&config, id, *secret).is_some_and(covers))
                .then(|| ApiError::ended(format!("The key {id} does not count for this any more; the configuration was changed."))),
            Shown::Policy(id) => {
                let policy = config.oidc.iter().find(|policy| policy.id == *id);
                let counts = policy.is_some_and(|policy| covers(&policy.scopes));
                (!counts)
                    .then(|| ApiError::ended(format!("The policy {id} does not count for this any more; the configuration was changed.")))
            }
            // As far as the database answers.
            Shown::Session(session) => match session.scopes_now(shared).await {
                Ok(Some(scopes)) if covers(&scopes) => None,
                Ok(_) => Some(ApiError::ended("The session has ended; log in again.")),
                Err(_) => None,
            },
        }
    }
}

/// What a key may do that counts now, by that one of its secrets.
fn key_scopes<'c>(config: &'c Config, id: &KeyId, secret: Option<[u8; 32]>) -> Option<&'c [Scope]> {
    let of_sockets = config.sockets.iter().map(|socket| &socket.key);
    let key = config.keys.iter().chain(of_sockets).find(|key| key.id == *id)?;
    let is_its = secret.is_none_or(|secret| key.proof.fingerprints().contains(&secret));
    (is_its && key.counts_at(clock::now_ms())).then_some(key.scopes.as_slice())
}
