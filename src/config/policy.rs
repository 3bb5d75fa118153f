//! What is asked of the stacks of services: reads the table, key by key.

use ::policy::Level;
use ::policy::Policy;
use ::policy::RuleName;

use crate::config::reader::Section;
use crate::model::Repository;

/// Reads `[policy]`, or `[service.x.policy]` over what `[policy]` says: a list takes the place of the one there, and a rule's level too.
pub(super) fn read_policy(from: Option<Section>, base: &Policy) -> Policy {
    let mut policy = base.clone();
    let Some(mut from) = from else { return policy };
    for (name, level) in from.texts_by_name("rules") {
        match read_rule(&name, &level) {
            Ok((rule, level)) => {
                policy.levels.insert(rule, level);
            }
            Err(why) => from.problem("rules", why),
        }
    }
    if from.has("folders") {
        policy.folders = from.list("folders", folder);
    }
    if from.has("repositories") {
        policy.repositories = from.list("repositories", repository);
    }
    if from.has("labels") {
        policy.labels = from.list("labels", name);
    }
    if from.has("ports") {
        policy.ports = from.list("ports", port);
    }
    if from.has("capabilities") {
        policy.capabilities = from.list("capabilities", name);
    }
    from.finish();
    policy
}

fn read_rule(name: &str, level: &str) -> Result<(RuleName, Level), String> {
    let rule = RuleName::parse(name)?;
    let level = Level::ALL.into_iter().find(|known| known.as_str() == level);
    Ok((rule, level.ok_or_else(|| format!("{name} must be off, note, warn or refuse."))?))
}

fn folder(text: &str) -> Result<String, String> {
    let is_whole = text.starts_with('/') && !text.split('/').any(|part| part == "..");
    if is_whole {
        Ok(text.to_owned())
    } else {
        Err(format!("\"{}\" is not a whole path; write one like /srv/shared.", text.escape_default()))
    }
}

/// A repository, or what all of somebody's begin with.
fn repository(text: &str) -> Result<String, String> {
    let hint =
        || format!("\"{}\" is neither a repository nor the beginning of some; write ghcr.io/acme or postgres.", text.escape_default());
    let name = text.trim_end_matches('/');
    // A registry alone is the beginning of all that it has.
    let is_registry = !name.contains('/') && name.contains(['.', ':']) && !name.contains(char::is_whitespace);
    if is_registry || Repository::parse(name).is_ok() { Ok(name.to_owned()) } else { Err(hint()) }
}

fn name(text: &str) -> Result<String, String> {
    let is_ok = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    if is_ok { Ok(text.to_owned()) } else { Err(format!("\"{}\" is not a name.", text.escape_default())) }
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("\"{}\" is not a port; write \"443\".", text.escape_default()))
}
