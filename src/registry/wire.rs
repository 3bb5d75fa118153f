//! Asks a registry over HTTP
//! ([distribution specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md), token authentication as
//! [Docker's registries](https://distribution.github.io/distribution/spec/auth/token/) have it). Nothing is read beyond what an
//! answer may have, no exchange lasts longer than its time, and every sum is checked.

use std::time::Duration;

use oci_client::secrets::RegistryAuth;
use reqwest::StatusCode;
use reqwest::header::ACCEPT;
use reqwest::header::AUTHORIZATION;
use reqwest::header::WWW_AUTHENTICATE;
use sha2::Digest as _;

use crate::answer::whole;
use crate::model::Digest;
use crate::model::Tag;

/// What registries take at least, and hardly more ([distribution specification, pushing manifests]).
const MANIFEST_BYTES: usize = 4 << 20;
/// The configuration of an image: its history and labels.
const CONFIG_BYTES: usize = 8 << 20;
/// Tags are asked for page by page.
const TAGS_BYTES: usize = 4 << 20;
const TAGS_A_PAGE: usize = 1000;
const TOKEN_BYTES: usize = 64 << 10;
const CONNECT: Duration = Duration::from_secs(10);
/// For one exchange, redirects and body among it.
const EXCHANGE: Duration = Duration::from_secs(30);
const REDIRECTS: usize = 5;

const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// Why a registry's answer does not do.
#[derive(Debug)]
pub(super) enum Fault {
    /// There is no such thing.
    NotFound,
    /// It wants another credential.
    Unauthorized,
    /// Nobody answers, or not in time; why, as a sentence.
    Unreachable(String),
    /// Anything else, as a sentence.
    Other(String),
}

/// A client for every registry: making one reads every root certificate of the host.
pub(super) fn client() -> Result<reqwest::Client, Fault> {
    let redirects = reqwest::redirect::Policy::custom(|attempt| {
        let was_https = attempt.previous().iter().any(|url| url.scheme() == "https");
        if attempt.previous().len() > REDIRECTS || (was_https && attempt.url().scheme() != "https") {
            return attempt.error("it redirects too often or from https to http");
        }
        attempt.follow()
    });
    let builder = reqwest::Client::builder().connect_timeout(CONNECT).timeout(EXCHANGE).redirect(redirects);
    builder.user_agent(concat!("tagalong/", env!("CARGO_PKG_VERSION"))).build().map_err(|error| other(&error))
}

/// A good answer.
struct Answer {
    body: Vec<u8>,
    /// The digest that the registry says the body has.
    digest: Option<String>,
    /// Whether there is a next page.
    goes_on: bool,
}

/// What is asked of one repository.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) http: reqwest::Client,
    /// The registry's host and port.
    pub(super) host: String,
    /// Whether it is asked over plain http.
    pub(super) is_plain: bool,
    pub(super) repository: String,
    pub(super) auth: RegistryAuth,
    /// What it has asked to be shown.
    pub(super) authorization: Option<String>,
}

impl Session {
    /// The manifest under a tag or digest, and its digest.
    pub(super) async fn manifest(&mut self, reference: &str) -> Result<(Vec<u8>, Digest), Fault> {
        let Answer { body, digest: named, .. } = self.get(&format!("manifests/{reference}"), MANIFEST_BYTES).await?;
        let digest = sum(&body);
        let asked = reference.contains(':').then(|| reference.to_owned());
        if let Some(wrong) = asked.into_iter().chain(named).find(|wanted| *wanted != digest) {
            return Err(Fault::Other(format!("its manifest has the digest {digest} instead of {}.", text::without_controls(&wrong))));
        }
        Ok((body, Digest::parse(&digest).map_err(|error| Fault::Other(error.to_string()))?))
    }

    /// The configuration of an image, whose digest the manifest names.
    pub(super) async fn config(&mut self, digest: &str) -> Result<Vec<u8>, Fault> {
        let digest = Digest::parse(digest).map_err(|error| Fault::Other(error.to_string()))?.to_string();
        let Answer { body, .. } = self.get(&format!("blobs/{digest}"), CONFIG_BYTES).await?;
        let found = sum(&body);
        if found == digest { Ok(body) } else { Err(Fault::Other(format!("a blob has the digest {found} instead of {digest}."))) }
    }

    /// Whether it answers for the repository.
    pub(super) async fn ping(&mut self) -> Result<(), Fault> {
        self.get("tags/list?n=1", MANIFEST_BYTES).await.map(|_| ())
    }

    /// The tags of the repository in the registry's order, and whether there are more than `most`. A page begins behind the last tag of
    /// the one before, so that the registry names no address that is then called.
    pub(super) async fn tags(&mut self, most: usize) -> Result<(Vec<Tag>, bool), Fault> {
        let mut tags: Vec<Tag> = Vec::new();
        loop {
            let behind = tags.last().map(|last| format!("&last={last}")).unwrap_or_default();
            let Answer { body, goes_on, .. } = self.get(&format!("tags/list?n={TAGS_A_PAGE}{behind}"), TAGS_BYTES).await?;
            let page: TagPage =
                serde_json::from_slice(&body).map_err(|error| Fault::Other(format!("its list of tags could not be parsed: {error}.")))?;
            let before = tags.len();
            // What is no tag cannot be deployed, and one that comes again would be asked about for ever.
            tags.extend(
                page.tags
                    .unwrap_or_default()
                    .iter()
                    .filter_map(|tag| Tag::parse(tag).ok())
                    .filter(|tag| !tags[..before].contains(tag))
                    .collect::<Vec<_>>(),
            );
            let is_over = !goes_on || tags.len() == before;
            if is_over || tags.len() > most {
                let has_more = tags.len() > most;
                tags.truncate(most);
                return Ok((tags, has_more));
            }
        }
    }

    async fn get(&mut self, what: &str, most: usize) -> Result<Answer, Fault> {
        let scheme = if self.is_plain { "http" } else { "https" };
        let url = format!("{scheme}://{}/v2/{}/{what}", self.host, self.repository);
        let mut answer = self.ask(&url).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            self.authorization = Some(self.authorize(&answer).await?);
            answer = self.ask(&url).await?;
        }
        let status = answer.status();
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let digest = header("docker-content-digest");
        // RFC 8288.
        let goes_on = header("link").is_some_and(|link| link.contains("rel=\"next\"") || link.contains("rel=next"));
        if status.is_success() {
            return Ok(Answer { body: read(answer, most).await?, digest, goes_on });
        }
        let text = read(answer, TOKEN_BYTES).await.unwrap_or_default();
        Err(refusal(status, &text))
    }

    async fn ask(&self, url: &str) -> Result<reqwest::Response, Fault> {
        let request = self.http.get(url).header(ACCEPT, MANIFESTS);
        let authorization = match (&self.authorization, &self.auth) {
            (Some(authorization), _) => Some(authorization.clone()),
            (None, RegistryAuth::Bearer(token)) => Some(format!("Bearer {token}")),
            (None, RegistryAuth::Anonymous | RegistryAuth::Basic(..)) => None,
        };
        let request = authorization.into_iter().fold(request, |request, authorization| request.header(AUTHORIZATION, authorization));
        request.send().await.map_err(|error| other(&error))
    }

    /// What the registry wants to be shown, when it has said so in `answer`.
    async fn authorize(&self, answer: &reqwest::Response) -> Result<String, Fault> {
        let challenges: Vec<&str> = answer.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()).collect();
        let of_scheme =
            |scheme: &str| challenges.iter().find_map(|text| text.split_once(' ').filter(|(found, _)| found.eq_ignore_ascii_case(scheme)));
        let Some((_, challenge)) = of_scheme("bearer") else {
            let RegistryAuth::Basic(user, password) = &self.auth else { return Err(Fault::Unauthorized) };
            return if of_scheme("basic").is_some() { Ok(basic(user, password)) } else { Err(Fault::Unauthorized) };
        };
        let realm = parameter(challenge, "realm").and_then(|realm| url::Url::parse(&realm).ok());
        // A credential goes there, so it must not be easier to overhear than the registry itself.
        let is_safe = |realm: &url::Url| realm.scheme() == "https" || (self.is_plain && realm.scheme() == "http");
        let Some(mut realm) = realm.filter(is_safe) else {
            return Err(Fault::Other("it does not name an https address that issues tokens.".to_owned()));
        };
        if let Some(service) = parameter(challenge, "service") {
            realm.query_pairs_mut().append_pair("service", &service);
        }
        realm.query_pairs_mut().append_pair("scope", &format!("repository:{}:pull", self.repository));
        let mut request = self.http.get(realm);
        if let RegistryAuth::Basic(user, password) = &self.auth {
            request = request.header(AUTHORIZATION, basic(user, password));
        }
        let answer = request.send().await.map_err(|error| other(&error))?;
        let status = answer.status();
        let body = read(answer, TOKEN_BYTES).await?;
        if !status.is_success() {
            return Err(refusal(status, &body));
        }
        let answer: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let token = ["token", "access_token"].iter().find_map(|name| answer[name].as_str());
        token.map(|token| format!("Bearer {token}")).ok_or_else(|| Fault::Other("its token server did not issue a token.".to_owned()))
    }
}

/// A page of `tags/list`; a registry that has none may say `null`.
#[derive(serde::Deserialize)]
struct TagPage {
    tags: Option<Vec<String>>,
}

fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

/// A parameter of a challenge (RFC 9110, section 11.2).
fn parameter(challenge: &str, name: &str) -> Option<String> {
    let mut rest = challenge;
    loop {
        let (key, after) = rest.split_once('=')?;
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').map_or((after, ""), |(value, _)| (value, &after[value.len()..])),
        };
        if key.trim_matches([' ', ',']).eq_ignore_ascii_case(name) {
            return Some(value.trim().to_owned());
        }
        rest = next;
    }
}

/// The body, when it has no more bytes than `most`.
async fn read(answer: reqwest::Response, most: usize) -> Result<Vec<u8>, Fault> {
    let too_large = || Fault::Other(format!("its answer is larger than {} KiB.", most >> 10));
    whole(answer, most).await.map_err(|error| other(&error))?.ok_or_else(too_large)
}

fn refusal(status: StatusCode, body: &[u8]) -> Fault {
    let problem: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let codes: Vec<&str> = problem["errors"].as_array().into_iter().flatten().filter_map(|error| error["code"].as_str()).collect();
    let any = |wanted: &[&str]| codes.iter().any(|code| wanted.contains(code));
    if any(&["MANIFEST_UNKNOWN", "NAME_UNKNOWN", "NOT_FOUND"]) || status == StatusCode::NOT_FOUND {
        return Fault::NotFound;
    }
    if any(&["UNAUTHORIZED", "DENIED"]) || matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Fault::Unauthorized;
    }
    let word =
        codes.first().map_or(String::new(), |code| format!(" ({})", text::without_controls(&code.chars().take(80).collect::<String>())));
    Fault::Other(format!("it answered {}{word}.", status.as_u16()))
}

fn sum(bytes: &[u8]) -> String {
    format!("sha256:{}", text::hex(&sha2::Sha256::digest(bytes)))
}

/// The root cause alone: the errors around it only say again what was asked.
fn other(error: &reqwest::Error) -> Fault {
    let why = format!("{}.", text::root_cause(error));
    if error.is_connect() || error.is_timeout() { Fault::Unreachable(why) } else { Fault::Other(why) }
}

#[cfg(test)]
mod tests {
    use super::parameter;

    #[test]
    fn a_challenge_is_taken_apart() {
        let text = r#"realm="https://auth.example.com/token?a=b,c",service="registry",scope="repository:x:pull",error=invalid_token"#;
        assert_eq!(parameter(text, "realm").as_deref(), Some("https://auth.example.com/token?a=b,c"));
        assert_eq!(parameter(text, "Service").as_deref(), Some("registry"));
        assert_eq!(parameter(text, "error").as_deref(), Some("invalid_token"));
        assert_eq!(parameter(text, "none"), None);
        assert_eq!(parameter("realm=\"x", "realm"), None);
        assert_eq!(parameter("", "realm"), None);
    }
}
