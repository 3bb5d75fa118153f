//! Where something has happened, and whose doing it was.

use crate::model::is_actor;
use crate::webhooks::fields::Fields;
use crate::webhooks::notice::PayloadError;

/// The repository in `body` at `path`, by name and id; none: it is not there, or has no name.
pub(super) fn repository(body: Fields<'_>, path: &str) -> Result<Option<(String, Option<i64>)>, PayloadError> {
    let Some(repository) = body.object(path)? else { return Ok(None) };
    let name = repository.text("full_name")?.map(str::to_owned);
    let id = repository.number("id")?;
    Ok(name.map(|name| (name, id)))
}

/// Whoever sent what the webhook tells of.
pub(super) fn sender(body: Fields<'_>) -> Result<Option<String>, PayloadError> {
    login(body, &["sender"])
}

/// The account at the first of the `paths` that has one. GitHub calls it `login`, Forgejo and Gitea also `username`.
pub(super) fn login(body: Fields<'_>, paths: &[&str]) -> Result<Option<String>, PayloadError> {
    for path in paths {
        if let Some(account) = body.object(path)?
            && let Some(name) = account.first_text(&["login", "username"])?
        {
            return named(path, name).map(Some);
        }
    }
    Ok(None)
}

/// The account `name` at `path`.
///
/// # Errors
/// When it cannot be the name of an account: a guard would compare it, and people would read it.
pub(super) fn named(path: &str, name: &str) -> Result<String, PayloadError> {
    if !is_actor(name) {
        return Err(PayloadError(format!("In the payload, {path} must be an account of the forge.")));
    }
    Ok(name.to_owned())
}
