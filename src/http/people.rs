//! What is done about users, over the API and on the pages alike.

use crate::clock;
use crate::config::Config;
use crate::http::Shared;
use crate::http::auth::code_digest;
use crate::http::error::ApiError;
use crate::model::Caller;
use crate::model::Code;
use crate::model::Scope;
use crate::model::Target;
use crate::model::UserName;

/// How long a code is good, ms.
const CODE_LIFE_MS: i64 = 15 * 60_000;

/// What a user of this server may be given: at least one scope, and none that names what the configuration does not have.
///
/// # Errors
/// 400 with the one that is not.
pub(in crate::http) fn scopes_of<'t>(config: &Config, texts: impl Iterator<Item = &'t str>) -> Result<Vec<Scope>, ApiError> {
    let scopes: Vec<Scope> = texts.map(Scope::parse).collect::<Result<_, _>>().map_err(|error| ApiError::bad_request(error.to_string()))?;
    let is_missing = |scope: &&Scope| match &scope.target {
        Target::Everything | Target::Services | Target::Datasets => false,
        Target::Service(name) => config.service(name).is_none(),
        Target::Dataset(name) => !config.datasets.contains_key(name),
        Target::Named(service, dataset) => config.service(service).is_none() && !config.datasets.contains_key(dataset),
    };
    if let Some(missing) = scopes.iter().find(is_missing) {
        return Err(ApiError::bad_request(format!("The scope {missing} names nothing that the configuration has.")));
    }
    if scopes.is_empty() {
        return Err(ApiError::bad_request("A user without scopes may not do anything; give at least the scope read."));
    }
    Ok(scopes)
}

/// `name` as that of a user of this server.
///
/// # Errors
/// 400 if it is that of a user of a forge.
pub(in crate::http) fn of_this_server(name: UserName) -> Result<UserName, ApiError> {
    if name.login_at_forge().is_some() {
        return Err(ApiError::bad_request(
            "A name with @ is that of a user of a forge; the tables [[dashboard.login.allow]] of the configuration say who of them may log in.",
        ));
    }
    Ok(name)
}

/// There is no such user.
pub(in crate::http) fn nobody(name: &str) -> ApiError {
    ApiError::not_found(format!("There is no user {}; `tagalong user list` shows them.", name.escape_default()))
}

/// A code that logs the user in once, and until when it is good (ms since 1970, UTC). Codes that the user had before are void.
///
/// # Errors
/// 404 without such a user; when the database does not answer.
pub(in crate::http) async fn new_code(shared: &Shared, name: &UserName, by: &Caller) -> Result<(Code, i64), ApiError> {
    let code = Code::of(clock::random_bytes());
    let until_ms = clock::now_ms() + CODE_LIFE_MS;
    if !shared.store.put_login_code(name, &code_digest(&code), until_ms, by).await? {
        return Err(nobody(name.as_str()));
    }
    Ok((code, until_ms))
}

/// What is changed about a user.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) enum Changed<'a> {
    /// The user is there, and may do this from now on.
    Scopes(&'a [Scope]),
    /// The user has this password, as a hash, and every session of theirs has ended.
    Password(&'a str),
    /// The user cannot log in, and every session of theirs has ended.
    Disabled,
    /// The user can log in again.
    Enabled,
    /// Every session of theirs has ended.
    LoggedOut,
    /// This one has.
    SessionEnded(&'a str),
    /// The user is not there any more, and every session of theirs has ended.
    Removed,
}

/// Does that, and ends what the user follows without a right to it any more. Gives of how many it was done: new users, users or sessions.
///
/// # Errors
/// When the database does not answer.
pub(in crate::http) async fn change(shared: &Shared, name: &UserName, what: Changed<'_>, by: &Caller) -> Result<u64, ApiError> {
    let store = &shared.store;
    let done = match what {
        Changed::Scopes(scopes) => store.put_user(name, scopes, by).await?.into(),
        Changed::Password(hash) => store.set_password(name, hash, by).await?.into(),
        Changed::Disabled => store.disable_user(name, true, by).await?.into(),
        Changed::Enabled => store.disable_user(name, false, by).await?.into(),
        Changed::LoggedOut => store.end_sessions(name, by).await?,
        Changed::SessionEnded(session) => store.end_session(name, session, by).await?.into(),
        Changed::Removed => store.remove_user(name, by).await?.into(),
    };
    shared.followers.look_again();
    Ok(done)
}

/// Where people log in, if the configuration says by which address this server is known.
pub(in crate::http) fn login_address(config: &Config) -> Option<String> {
    config.server.public().map(|public| format!("{public}/login"))
}
