//! Logins of people by a forge: OAuth with an authorization code and PKCE. The token that the forge gives is used to ask who it is and what
//! they belong to, as far as the configuration asks for that, and is forgotten then.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::header::ACCEPT;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::Value;
use sha2::Digest as _;
use sha2::Sha256;
use text::Secret;
use url::Url;

use crate::config;
use crate::config::ForgeKind;
use crate::config::ForgeUsers;
use crate::config::Member;
use crate::forge::call::Answer;
use crate::forge::call::path_part;
use crate::forge::error::ForgeError;
use crate::forge::error::ForgeErrorKind;
use crate::forge::wire::answer;
use crate::forge::wire::client;
use crate::forge::wire::unreachable;

/// How long a whole login may take at the forge.
const LOGIN: Duration = Duration::from_secs(30);
/// How many pages of a list are read, of 50 each.
const MOST_PAGES: u32 = 20;

/// A forge by which people log in.
#[derive(Debug)]
pub struct OAuth<'c> {
    /// The forge.
    pub forge: &'c config::Forge,
    /// Who of its users may.
    pub users: &'c ForgeUsers,
    /// The address of this server to which the forge sends people back.
    pub redirect: String,
}

/// Somebody whom a forge has proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgeUser {
    /// The login there.
    pub login: String,
    /// What of the configuration's list they belong to, as [`Member`] is written.
    pub member_of: Vec<String>,
}

#[derive(Deserialize)]
struct Token {
    access_token: Option<String>,
    error: Option<String>,
}

impl OAuth<'_> {
    /// Where the browser goes to log in: `state` comes back from there, and `verifier` is what only we can show for it.
    ///
    /// # Errors
    /// When the forge's address is none.
    pub fn begins_at(&self, state: &str, verifier: &str) -> Result<Url, ForgeError> {
        let url = Url::parse(&format!("{}/login/oauth/authorize", self.forge.url));
        let mut url = url.map_err(|error| ForgeError::not_asked(&format!("{} is not an address: {error}.", self.forge.url)))?;
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
        url.query_pairs_mut()
            .append_pair("client_id", &self.users.client_id)
            .append_pair("redirect_uri", &self.redirect)
            .append_pair("response_type", "code")
            .append_pair("scope", self.scope())
            .append_pair("state", state)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        Ok(url)
    }

    /// The least that the forge must show us.
    fn scope(&self) -> &'static str {
        let asks_more = self.users.allowed.iter().any(|allowed| !matches!(allowed.who, Member::User(_)));
        match (self.forge.kind, asks_more) {
            (ForgeKind::GitHub, false) => "",
            (ForgeKind::GitHub, true) => "read:org",
            (ForgeKind::Forgejo | ForgeKind::Gitea, false) => "read:user",
            (ForgeKind::Forgejo | ForgeKind::Gitea, true) => "read:user read:organization",
        }
    }

    /// Whether `issuer`, which a forge may send back with its code (RFC 9207), is this forge.
    #[must_use]
    pub fn is_issuer(&self, issuer: &str) -> bool {
        let issuer = issuer.strip_suffix('/').unwrap_or(issuer);
        issuer == self.forge.url || issuer == format!("{}/login/oauth", self.forge.url)
    }

    /// Who logged in at the forge, for the code that it sent back.
    ///
    /// # Errors
    /// When the forge does not accept the code, or does not say who it is; no text has a word of a secret.
    pub async fn prove(&self, code: &Secret, verifier: &str) -> Result<ForgeUser, ForgeError> {
        let all = async {
            let client = client(&self.forge.api_url, self.accept())?;
            let token = self.exchange(code, verifier).await?;
            let asker = Asker { client, api_url: &self.forge.api_url, token };
            let user: Value = asker.get("/user").await?.body;
            let login = user["login"].as_str().filter(|login| !login.is_empty()).unwrap_or_default().to_owned();
            if login.is_empty() {
                return Err(ForgeError::new(ForgeErrorKind::Odd, "The forge does not say who logged in.".to_owned()));
            }
            let member_of = self.member_of(&asker, &login).await?;
            Ok(ForgeUser { login, member_of })
        };
        tokio::time::timeout(LOGIN, all).await.map_err(|_| ForgeError::too_slow(LOGIN))?
    }

    fn accept(&self) -> &'static str {
        match self.forge.kind {
            ForgeKind::GitHub => "application/vnd.github+json",
            ForgeKind::Forgejo | ForgeKind::Gitea => "application/json",
        }
    }

    /// The access token for `code`.
    async fn exchange(&self, code: &Secret, verifier: &str) -> Result<Secret, ForgeError> {
        let secret = self.users.client_secret.read().map_err(|why| ForgeError::not_asked(&why))?;
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "authorization_code")
            .append_pair("client_id", &self.users.client_id)
            .append_pair("client_secret", secret.reveal())
            .append_pair("code", code.reveal())
            .append_pair("redirect_uri", &self.redirect)
            .append_pair("code_verifier", verifier)
            .finish();
        let place = format!("{}/login/oauth/access_token", self.forge.url);
        let client = client(&self.forge.url, "application/json")?;
        let request = client.post(&place).header(ACCEPT, "application/json").header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let response = request.body(body).send().await.map_err(|error| unreachable(&self.forge.url, &error.without_url()))?;
        let token: Token = answer(&self.forge.url, response).await?.read()?;
        // GitHub answers a code that is none with 200 and a word for what is wrong.
        if let Some(error) = token.error {
            let word: String = error.chars().filter(|c| c.is_ascii_lowercase() || *c == '_').take(60).collect();
            return Err(ForgeError::new(ForgeErrorKind::Refused, format!("The forge does not accept the code that it sent ({word}).")));
        }
        let token = token.access_token.filter(|token| !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()));
        token.map(Secret::new).ok_or_else(|| ForgeError::new(ForgeErrorKind::Odd, "The forge gave no access token.".to_owned()))
    }

    /// What of the configuration's list the owner of the token belongs to.
    async fn member_of(&self, asker: &Asker<'_>, login: &str) -> Result<Vec<String>, ForgeError> {
        let asked: BTreeSet<&Member> = self.users.allowed.iter().map(|allowed| &allowed.who).collect();
        let mut teams: Option<BTreeSet<Member>> = None;
        let mut found = Vec::new();
        for member in asked {
            let is_one = match (member, self.forge.kind) {
                (Member::User(name), _) => name.eq_ignore_ascii_case(login),
                (Member::Organisation(name), ForgeKind::GitHub) => {
                    asker.is_active(&format!("/user/memberships/orgs/{}", path_part(name))).await?
                }
                (Member::Team(organisation, team), ForgeKind::GitHub) => {
                    let place = format!("/orgs/{}/teams/{}/memberships/{}", path_part(organisation), path_part(team), path_part(login));
                    asker.is_active(&place).await?
                }
                (Member::Organisation(name), _) => {
                    asker.is_there(&format!("/orgs/{}/members/{}", path_part(name), path_part(login))).await?
                }
                (Member::Team(..), _) => {
                    if teams.is_none() {
                        teams = Some(asker.teams().await?);
                    }
                    teams.as_ref().is_some_and(|teams| teams.contains(member))
                }
            };
            if is_one {
                found.push(member.to_string());
            }
        }
        Ok(found)
    }
}

/// Asks a forge as somebody who logs in.
struct Asker<'a> {
    client: reqwest::Client,
    api_url: &'a str,
    token: Secret,
}

impl Asker<'_> {
    async fn get(&self, path: &str) -> Result<Answer, ForgeError> {
        let request = self.client.get(format!("{}{path}", self.api_url)).bearer_auth(self.token.reveal());
        let response = request.send().await.map_err(|error| unreachable(self.api_url, &error))?;
        answer(self.api_url, response).await
    }

    /// The answer; none where the forge says that there is no such thing, or that the user may not see it, or leads elsewhere.
    async fn try_get(&self, path: &str) -> Result<Option<Answer>, ForgeError> {
        match self.get(path).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error)
                if matches!(error.status, Some(302 | 303 | 403 | 404)) && !matches!(error.kind, ForgeErrorKind::RateLimited { .. }) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn is_there(&self, path: &str) -> Result<bool, ForgeError> {
        Ok(self.try_get(path).await?.is_some_and(|answer| answer.status == 204))
    }

    /// Whether it is a membership that counts: one that was offered and not taken is `pending`.
    async fn is_active(&self, path: &str) -> Result<bool, ForgeError> {
        Ok(self.try_get(path).await?.is_some_and(|answer| answer.body["state"].as_str() == Some("active")))
    }

    /// The teams of the user, as Forgejo lists them.
    async fn teams(&self) -> Result<BTreeSet<Member>, ForgeError> {
        let mut teams = BTreeSet::new();
        for page in 1..=MOST_PAGES {
            let answer = self.get(&format!("/user/teams?limit=50&page={page}")).await?;
            let list = answer.body.as_array().cloned().unwrap_or_default();
            for team in &list {
                let organisation = ["username", "name"].iter().find_map(|key| team["organization"][*key].as_str()).unwrap_or_default();
                let name = team["name"].as_str().unwrap_or_default();
                teams.insert(Member::Team(organisation.to_ascii_lowercase(), name.to_ascii_lowercase()));
            }
            if list.is_empty() {
                break;
            }
        }
        Ok(teams)
    }
}
