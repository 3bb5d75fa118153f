//! How CI shows who it is: a key whose secret the forge stores, or a policy for the tokens that the forge gives its jobs.

use std::path::PathBuf;

use crate::cli::init::args::Args;
use crate::cli::init::args::Auth;
use crate::cli::init::existing::Existing;
use crate::cli::init::forge::Forge;
use crate::cli::init::forge::Kind;
use crate::cli::key::signing_secret;
use crate::model::KeyId;
use crate::model::ServiceName;

/// What is there, or is to be added.
#[derive(Debug)]
pub(super) enum Access {
    /// A key; `secret` is what its file is to contain, where it is new.
    Key { id: String, file: Option<PathBuf>, secret: Option<String> },
    /// A policy; `lines` are its own, where it is new.
    Policy { audience: String, lines: Option<String> },
}

impl Access {
    /// The lines to add to the configuration, where the key's secret is in `file`.
    pub(super) fn lines(&self, service: &ServiceName, file: &str) -> String {
        match self {
            Self::Key { id, secret: Some(_), .. } => {
                format!("\n[[key]]\nid = \"{id}\"\nsecret_file = {}\nscopes = {}\n", quoted(file), scopes(service))
            }
            Self::Policy { lines: Some(lines), .. } => lines.clone(),
            Self::Key { .. } | Self::Policy { .. } => String::new(),
        }
    }
}

/// `text` as a string of TOML.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn scopes(service: &ServiceName) -> String {
    format!("[\"deploy:{service}\", \"rollback:{service}\"]")
}

/// Decides how CI of `forge` shows who it is, with what a person should know about it. What the configuration has is kept.
///
/// # Errors
/// When tokens are asked for and there is none, or what a policy must say is not known.
pub(super) fn decide(
    existing: &Existing,
    service: &ServiceName,
    forge: Option<&Forge>,
    args: &Args,
    url: Option<&str>,
) -> anyhow::Result<(Access, Vec<String>)> {
    let key = existing.key_for(service);
    let policy = existing.policy_for(service);
    if let Some(audience) = policy.filter(|_| !matches!(args.auth, Some(Auth::Secret))) {
        return Ok((Access::Policy { audience, lines: None }, Vec::new()));
    }
    if let Some((id, file)) = key.filter(|_| args.auth != Some(Auth::Oidc)) {
        let has_tokens = url.is_some() && forge.is_some_and(|forge| forge.no_tokens.is_none());
        let other = format!("The key {id} is used as before; with --auth oidc --force, jobs show their OIDC tokens instead.");
        let notes = Some(other).filter(|_| has_tokens && args.auth.is_none()).into_iter().collect();
        return Ok((Access::Key { id, file, secret: None }, notes));
    }
    let why_not = match (args.auth, new_policy(existing, service, forge, args, url)) {
        (Some(Auth::Secret), _) => None,
        (_, Ok((policy, note))) => return Ok((policy, note.into_iter().collect())),
        (Some(Auth::Oidc), Err(why)) => anyhow::bail!("The jobs cannot be known by their OIDC tokens: {why}."),
        (None, Err(why)) => Some(format!("A secret is used and not the OIDC token of the job, because {why}.")),
    };
    let ids: Vec<&str> = existing.config.keys.iter().map(|key| key.id.as_str()).collect();
    let is_free = |id: &str| !ids.contains(&id) && !existing.folder.join(format!("{id}.secret")).exists();
    let id = first_free("ci", &format!("ci-{service}"), is_free);
    let file = existing.folder.join(format!("{id}.secret"));
    Ok((Access::Key { id, file: Some(file), secret: Some(signing_secret()) }, why_not.into_iter().collect()))
}

/// `short`, `long`, or the first of `long-2`, `long-3`, … that is free.
fn first_free(short: &str, long: &str, is_free: impl Fn(&str) -> bool) -> String {
    let numbered = (2_u32..).map(|number| format!("{long}-{number}"));
    let mut names = [short.to_owned(), long.to_owned()].into_iter().chain(numbered);
    names.find(|name| is_free(name)).unwrap_or_else(|| long.to_owned())
}

/// A policy for the jobs of the repository's branch, and what a person should know about it; or why there can be none.
fn new_policy(
    existing: &Existing,
    service: &ServiceName,
    forge: Option<&Forge>,
    args: &Args,
    url: Option<&str>,
) -> Result<(Access, Option<String>), String> {
    let forge = forge.ok_or("the repository is not known: name it with --repository")?;
    if let Some(why) = &forge.no_tokens {
        return Err(why.clone());
    }
    let audience = url.ok_or("the public address of this server is not known: name it with --url")?;
    let ids = match (&args.repository_id, &args.owner_id, &forge.facts) {
        (Some(id), Some(owner), _) => Ok((id.clone(), owner.clone())),
        (_, _, Ok(facts)) => Ok((facts.id.clone(), facts.owner_id.clone())),
        (_, _, Err(why)) => Err(why),
    };
    let (repository, note) = match (ids, forge.kind) {
        (Ok((id, owner)), _) => (format!("repository_id = {}\nrepository_owner_id = {}\n", quoted(&id), quoted(&owner)), None),
        // A name of GitHub can be given up and taken by somebody else.
        (Err(why), Kind::Github) => {
            return Err(format!(
                "the number of the repository is not known ({why}); a private repository shows it to `gh api repos/{} --jq '.id, .owner.id'`, \
                 for --repository-id and --owner-id",
                forge.origin.path()
            ));
        }
        (Err(why), Kind::Forgejo | Kind::Gitea) => (
            format!("repository = {}\n", quoted(&forge.origin.path())),
            Some(format!("The policy knows the repository by its name, because its number is not known ({why}).")),
        ),
    };
    let branch = forge.branch.clone().ok_or("the branch is not known: name it with --branch")?;
    let id = policy_id(existing, service, &branch);
    let claims = format!("{repository}ref = {}\nevent_name = [\"push\", \"workflow_dispatch\"]\n", quoted(&format!("refs/heads/{branch}")));
    let lines = format!(
        "\n[[oidc]]\nid = \"{id}\"\nissuer = {}\naudience = {}\nscopes = {}\n[oidc.claims]               # the jobs of {} on {}\n{claims}",
        quoted(&forge.issuer()),
        quoted(audience),
        scopes(service),
        forge.origin.path(),
        branch.escape_default(),
    );
    Ok((Access::Policy { audience: audience.to_owned(), lines: Some(lines) }, note))
}

fn policy_id(existing: &Existing, service: &ServiceName, branch: &str) -> String {
    let ids: Vec<&str> = existing.config.oidc.iter().map(|policy| policy.id.as_str()).collect();
    let word: String = branch.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let name = format!("{service}-{word}");
    let name = if KeyId::parse(&name).is_ok() { name } else { service.to_string() };
    first_free(&name, &name, |id| !ids.contains(&id))
}
