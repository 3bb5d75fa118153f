//! The authenticated caller and their permissions.

use crate::config::Key;
use crate::http::auth::job::JobCaller;
use crate::http::auth::need::GitRef;
use crate::http::auth::need::Needs;
use crate::http::auth::session::Session;
use crate::http::error::ApiError;
use crate::model::Caller;
use crate::model::DeploymentId;
use crate::model::KeyId;
use crate::model::Scope;

pub(super) const READ_TOKEN: &str = "A read token can be used only for the deployment that it was issued for.";

/// The authenticated caller. Every further kind of caller (an agent) becomes a variant of this.
#[derive(Debug)]
pub(super) enum Who {
    /// A user of this host, by user id, who may do everything.
    Host(u32),
    /// A key of the configuration.
    Key(Box<Key>),
    /// A job of a forge, by its token.
    Job(Box<JobCaller>),
    /// Somebody who is logged in to the dashboard.
    User(Box<Session>),
    /// A client with the read token of this deployment, which reads it on behalf of the caller who ordered it.
    Follower(DeploymentId),
}

impl Who {
    /// The caller's name in records; a follower has none of its own.
    pub(super) fn caller(&self) -> Option<Caller> {
        match self {
            Self::Host(uid) => Some(Caller::Local(*uid)),
            Self::Key(key) => Some(Caller::Key(key.id.clone())),
            Self::Job(job) => Some(Caller::Oidc(job.policy.id.clone())),
            Self::User(session) => Some(Caller::User(session.user.clone())),
            Self::Follower(_) => None,
        }
    }

    /// The key or the policy of the configuration, where it is one.
    pub(super) fn key(&self) -> Option<&KeyId> {
        match self {
            Self::Key(key) => Some(&key.id),
            Self::Job(job) => Some(&job.policy.id),
            Self::Host(_) | Self::User(_) | Self::Follower(_) => None,
        }
    }

    /// Whether the caller may do what needs `scope`.
    pub(super) fn may(&self, scope: &Scope) -> bool {
        match self {
            Self::Host(_) => true,
            Self::Key(key) => covered(&key.scopes, scope),
            Self::Job(job) => covered(&job.policy.scopes, scope),
            Self::User(session) => covered(&session.scopes, scope),
            Self::Follower(_) => false,
        }
    }

    /// Checks that the caller may do all of it.
    ///
    /// # Errors
    /// 403, naming the caller's own scopes, or the ref that the key is not for.
    pub(super) fn allowed(&self, needs: &Needs) -> Result<Caller, ApiError> {
        let caller = self.caller().ok_or_else(|| ApiError::forbidden(READ_TOKEN))?;
        let missing = needs.scopes.iter().find(|scope| !self.may(scope));
        let (what, id, scopes) = match self {
            Self::Key(key) => ("key", key.id.as_str(), &key.scopes),
            Self::Job(job) => ("policy", job.policy.id.as_str(), &job.policy.scopes),
            Self::User(session) => ("user", session.user.as_str(), &session.scopes),
            Self::Host(_) | Self::Follower(_) => return Ok(caller),
        };
        if let Some(missing) = missing {
            let scopes: Vec<String> = scopes.iter().map(Scope::to_string).collect();
            return Err(ApiError::forbidden(format!(
                "The {what} {id} has only the scopes {}; this call needs {missing}.",
                scopes.join(", ")
            )));
        }
        // The ref of a job is the one in its token, which its policy has accepted.
        if let (Self::Key(key), Some(GitRef(named))) = (self, &needs.acts_for)
            && !is_for(key, named.as_deref())
        {
            return Err(ApiError::forbidden(format!(
                "The key {} is not allowed to act for the ref {}; its refs are set in the configuration.",
                key.id,
                named.as_deref().unwrap_or("none").escape_default()
            )));
        }
        Ok(caller)
    }
}

/// Whether one of these scopes covers `scope`.
pub(super) fn covered(mine: &[Scope], scope: &Scope) -> bool {
    mine.iter().any(|mine| mine.covers(scope))
}

/// Whether `key` may act for `git_ref`. A key with `refs` may do nothing that names no ref.
fn is_for(key: &Key, git_ref: Option<&str>) -> bool {
    key.refs.is_empty() || git_ref.is_some_and(|named| key.refs.iter().any(|pattern| pattern.matches(named)))
}
