//! The forge that CI runs on: which one it is, what it says about the repository, and where its pages are.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use url::Url;

use crate::answer::whole;
use crate::cli::init::origin::Origin;
use crate::config::ForgeKind;
use crate::model::is_in_the_clear;

/// How long one answer may take, and how long it may be.
const ANSWER: Duration = Duration::from_secs(10);
const MOST_BYTES: usize = 1 << 20;
/// The first Forgejo whose jobs get a token.
const FORGEJO_WITH_TOKENS: u64 = 15;

/// Which forge it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// github.com or a GitHub Enterprise Server
    Github,
    /// Forgejo, for example Codeberg
    Forgejo,
    /// Gitea
    Gitea,
}

impl Kind {
    /// Where the API of such a forge is.
    fn api_of(self, forge: &str) -> Result<String, String> {
        let url = Url::parse(forge).map_err(|_| format!("{forge} is not an address"))?;
        let kind = match self {
            Self::Github => ForgeKind::GitHub,
            Self::Forgejo => ForgeKind::Forgejo,
            Self::Gitea => ForgeKind::Gitea,
        };
        Ok(kind.api_of(&url))
    }

    /// The folder of a repository that belongs to the forge.
    pub(super) fn folder(self) -> &'static str {
        match self {
            Self::Github => ".github",
            Self::Forgejo => ".forgejo",
            Self::Gitea => ".gitea",
        }
    }

    /// As the configuration has it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Forgejo => "forgejo",
            Self::Gitea => "gitea",
        }
    }

    /// The label of the runners that most have.
    pub(super) fn runner(self) -> &'static str {
        match self {
            Self::Github | Self::Gitea => "ubuntu-latest",
            Self::Forgejo => "docker",
        }
    }
}

/// A repository at a forge that is known.
#[derive(Debug, Clone)]
pub(super) struct Forge {
    pub(super) kind: Kind,
    pub(super) origin: Origin,
    /// The branch whose pushes are deployed.
    pub(super) branch: Option<String>,
    /// Why its jobs get no token that we could accept; none: they get one.
    pub(super) no_tokens: Option<String>,
    /// What its API says about the repository, or why it does not.
    pub(super) facts: Result<Facts, String>,
}

/// What a forge says about a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) id: String,
    pub(super) owner_id: String,
    pub(super) branch: String,
}

impl Forge {
    /// Finds out which forge `origin` is at, unless `kind` says so, and, where it `asks`, what the forge says about the repository.
    ///
    /// # Errors
    /// When it does not answer as a forge that we know.
    pub(super) async fn of(origin: Origin, kind: Option<Kind>, asks: bool) -> anyhow::Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(ANSWER)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("tagalong/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let known = kind.or_else(|| by_name(host(&origin.forge)));
        let (kind, version) = match known {
            Some(kind) => (kind, version(&client, kind, &origin.forge).await),
            None => probed(&client, &origin.forge).await.with_context(|| {
                format!("{} does not answer as GitHub, Forgejo or Gitea; say which it is with --forge, and check the address", origin.forge)
            })?,
        };
        let facts = if asks { facts(&client, kind, &origin).await } else { Err("it was not asked".to_owned()) };
        let branch = facts.as_ref().ok().map(|facts| facts.branch.clone());
        Ok(Self { kind, no_tokens: no_tokens(kind, version), origin, branch, facts })
    }

    /// Who issues the tokens of its jobs.
    pub(super) fn issuer(&self) -> String {
        let forge = &self.origin.forge;
        match (self.kind, host(forge)) {
            (Kind::Github, "github.com") => "https://token.actions.githubusercontent.com".to_owned(),
            (Kind::Github, host) if host.ends_with(".ghe.com") => format!("https://token.actions.{host}"),
            (Kind::Github, _) => format!("{forge}/_services/token"),
            (Kind::Forgejo | Kind::Gitea, _) => format!("{forge}/api/actions"),
        }
    }

    /// The registry that belongs to it.
    pub(super) fn registry(&self) -> String {
        let host = self.origin.forge.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or(rest));
        match (self.kind, host) {
            (Kind::Github, "github.com") => "ghcr.io".to_owned(),
            (Kind::Github, host) => format!("containers.{host}"),
            (Kind::Forgejo | Kind::Gitea, host) => host.to_owned(),
        }
    }

    /// The page where a secret is stored.
    pub(super) fn secrets_page(&self) -> String {
        match self.kind {
            Kind::Github => format!("{}/settings/secrets/actions/new", self.origin.page()),
            Kind::Forgejo | Kind::Gitea => format!("{}/settings/actions/secrets", self.origin.page()),
        }
    }

    /// The page where a variable is stored.
    pub(super) fn variables_page(&self) -> String {
        match self.kind {
            Kind::Github => format!("{}/settings/variables/actions/new", self.origin.page()),
            Kind::Forgejo | Kind::Gitea => format!("{}/settings/actions/variables", self.origin.page()),
        }
    }
}

fn host(forge: &str) -> &str {
    let rest = forge.split_once("://").map_or(forge, |(_, rest)| rest);
    rest.split(['/', ':']).next().unwrap_or(rest)
}

fn by_name(host: &str) -> Option<Kind> {
    match host {
        "github.com" => Some(Kind::Github),
        "codeberg.org" => Some(Kind::Forgejo),
        "gitea.com" => Some(Kind::Gitea),
        host if host.ends_with(".ghe.com") => Some(Kind::Github),
        _ => None,
    }
}

fn no_tokens(kind: Kind, version: Option<u64>) -> Option<String> {
    match kind {
        Kind::Github => None,
        Kind::Gitea => Some("Gitea gives its jobs no OIDC token".to_owned()),
        Kind::Forgejo => version.filter(|version| *version < FORGEJO_WITH_TOKENS).map(|version| {
            format!("this Forgejo is version {version}, and only {FORGEJO_WITH_TOKENS} and newer give their jobs an OIDC token")
        }),
    }
}

/// Which forge answers at an address, and its major version.
async fn probed(client: &reqwest::Client, forge: &str) -> anyhow::Result<(Kind, Option<u64>)> {
    // Gitea's address answers at Forgejo as well, so Forgejo's own is asked first.
    let mut last = None;
    for kind in [Kind::Forgejo, Kind::Gitea, Kind::Github] {
        let (address, field) = version_at(kind, forge);
        match get(client, &address).await {
            Ok(answer) if answer[field].is_string() => return Ok((kind, major(&answer[field]))),
            Ok(_) => {}
            Err(why) => last = Some(why),
        }
    }
    Err(anyhow::Error::msg(last.unwrap_or_else(|| "it names no version".to_owned())))
}

async fn version(client: &reqwest::Client, kind: Kind, forge: &str) -> Option<u64> {
    // Only of Forgejo does it matter.
    if kind != Kind::Forgejo {
        return None;
    }
    let (address, field) = version_at(kind, forge);
    major(&get(client, &address).await.ok()?[field])
}

fn version_at(kind: Kind, forge: &str) -> (String, &'static str) {
    match kind {
        Kind::Forgejo => (format!("{forge}/api/forgejo/v1/version"), "version"),
        Kind::Gitea => (format!("{forge}/api/v1/version"), "version"),
        Kind::Github => (format!("{forge}/api/v3/meta"), "installed_version"),
    }
}

fn major(version: &Value) -> Option<u64> {
    version.as_str()?.trim_start_matches('v').split(['.', '+', '-']).next()?.parse().ok()
}

async fn facts(client: &reqwest::Client, kind: Kind, origin: &Origin) -> Result<Facts, String> {
    let api = kind.api_of(&origin.forge)?;
    let answer = get(client, &format!("{api}/repos/{}", origin.path())).await?;
    let number = |value: &Value| value.as_u64().map(|number| number.to_string());
    let facts = || Some((number(&answer["id"])?, number(&answer["owner"]["id"])?, answer["default_branch"].as_str()?.to_owned()));
    let (id, owner_id, branch) = facts().ok_or_else(|| format!("{api} does not say id, owner and default branch of {}", origin.path()))?;
    // A name that was given up may lead to another repository.
    if !answer["full_name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(&origin.path())) {
        return Err(format!("{api} knows {} by another name; name the repository as it is called now with --repository", origin.path()));
    }
    Ok(Facts { id, owner_id, branch })
}

/// What the address answers, or why it does not.
async fn get(client: &reqwest::Client, address: &str) -> Result<Value, String> {
    let url = Url::parse(address).map_err(|_| format!("{address} is not an address"))?;
    if is_in_the_clear(&url) {
        return Err(format!("{address} uses plain http, so anybody on the way could answer in its place"));
    }
    let why = |error: reqwest::Error| format!("{address} cannot be asked: {}", text::root_cause(&error));
    let response = client.get(url).header("accept", "application/json").send().await.map_err(why)?;
    if response.status() != reqwest::StatusCode::OK {
        return Err(format!("{address} answers with status {}", response.status().as_u16()));
    }
    let too_large = || format!("{address} answers with more than {MOST_BYTES} bytes");
    let body = whole(response, MOST_BYTES).await.map_err(why)?.ok_or_else(too_large)?;
    serde_json::from_slice(&body).map_err(|_| format!("{address} does not answer with JSON"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forge(kind: Kind, at: &str) -> Forge {
        let origin = Origin::parse(&format!("{at}/acme/web")).unwrap();
        Forge { kind, origin, branch: None, no_tokens: None, facts: Err(String::new()) }
    }

    #[test]
    fn addresses_of_forges() {
        for (kind, at, apis, issuer, registry) in [
            (Kind::Github, "https://github.com", "https://api.github.com", "https://token.actions.githubusercontent.com", "ghcr.io"),
            (
                Kind::Github,
                "https://acme.ghe.com",
                "https://api.acme.ghe.com",
                "https://token.actions.acme.ghe.com",
                "containers.acme.ghe.com",
            ),
            (
                Kind::Github,
                "https://ghes.example.com",
                "https://ghes.example.com/api/v3",
                "https://ghes.example.com/_services/token",
                "containers.ghes.example.com",
            ),
            (
                Kind::Forgejo,
                "https://example.com:3000/git",
                "https://example.com:3000/git/api/v1",
                "https://example.com:3000/git/api/actions",
                "example.com:3000",
            ),
        ] {
            let forge = forge(kind, at);
            assert_eq!((kind.api_of(at).unwrap().as_str(), forge.issuer().as_str(), forge.registry().as_str()), (apis, issuer, registry));
            assert!(crate::model::Issuer::parse(issuer).is_ok(), "{issuer}");
        }
        assert_eq!(forge(Kind::Github, "https://github.com").secrets_page(), "https://github.com/acme/web/settings/secrets/actions/new");
        assert_eq!(
            forge(Kind::Gitea, "https://git.example.com").variables_page(),
            "https://git.example.com/acme/web/settings/actions/variables"
        );
    }

    #[test]
    fn versions_decide_about_tokens() {
        let said = |kind, version: &str| no_tokens(kind, major(&Value::from(version)));
        assert!(said(Kind::Forgejo, "15.0.1+gitea-1.22.0").is_none() && said(Kind::Github, "3.14.2").is_none());
        assert!(said(Kind::Forgejo, "11.0.3+gitea-1.22.0").is_some_and(|why| why.contains("version 11")));
        assert!(said(Kind::Gitea, "1.25.0").is_some());
    }
}
