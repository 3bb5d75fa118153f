//! Users of the dashboard.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::UserName;

/// `POST /api/v1/users`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// The name.
    pub name: UserName,
    /// What the user may do, as keys have it; a user who is there already gets these instead.
    pub scopes: Vec<String>,
}

/// `POST /api/v1/users/{name}`: what is there changes.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserChange {
    /// The hash of a new password: argon2id, as a PHC string. All sessions of the user end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_hash: Option<String>,
    /// Whether the user may not log in for now. If so, all sessions of the user end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Whether all sessions of the user end.
    #[serde(default)]
    pub end_sessions: bool,
}

/// A user.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct User {
    /// The name.
    pub name: UserName,
    /// What the user may do.
    pub scopes: Vec<String>,
    /// Whether a password is set.
    pub has_password: bool,
    /// Whether the user may not log in for now.
    pub disabled: bool,
    /// When the user was added (ms since 1970, UTC).
    pub created_ms: i64,
    /// When the user logged in last (ms since 1970, UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_ms: Option<i64>,
    /// How many sessions the user has.
    pub sessions: i64,
}

/// Every user of this server. Those who log in by a forge are not among them; the configuration names them.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Users {
    /// By name.
    pub users: Vec<User>,
}

/// A code that logs a user in once.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct LoginCode {
    /// The code.
    pub code: String,
    /// Until when it is good (ms since 1970, UTC).
    pub until_ms: i64,
    /// Where it is entered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

impl std::fmt::Debug for LoginCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LoginCode(…, {})", self.until_ms)
    }
}
