//! A GitHub App: it shows who it is by a token that it signs itself, and gets a token of its installation on a repository for that
//! ([GitHub's words on it](https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app)).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::RSA_PKCS1_SHA256;
use serde::Deserialize;
use serde_json::json;
use text::Secret;
use tokio::sync::Mutex as Turn;

use crate::clock;
use crate::config::ForgeLogin;
use crate::config::SecretSource;
use crate::forge::call::Call;
use crate::forge::error::ForgeError;
use crate::forge::error::ForgeErrorKind;
use crate::forge::octo::Octo;
use crate::model::ForgeRepository;

/// GitHub takes no token of an App that is valid for more than ten minutes, by its own clock.
const LIFE_S: i64 = 600;
/// How far its clock and ours may be apart.
const SKEW_S: i64 = 60;
/// The token of an installation is renewed so long before it ends; it is valid for an hour.
const RENEWED_BEFORE_MS: i64 = 5 * 60_000;

/// An App.
#[derive(Debug)]
pub(super) struct App {
    id: u64,
    key: SecretSource,
    /// One who needs a token gets it, and the others wait for it.
    tokens: Mutex<BTreeMap<ForgeRepository, Arc<Turn<Option<Installed>>>>>,
}

/// The token of an installation.
#[derive(Debug)]
struct Installed {
    token: Secret,
    until_ms: i64,
}

#[derive(Deserialize)]
struct Installation {
    id: u64,
}

#[derive(Deserialize)]
struct AccessToken {
    token: String,
    expires_at: String,
}

impl App {
    pub(super) fn new(id: u64, key: SecretSource) -> Self {
        Self { id, key, tokens: Mutex::default() }
    }

    /// A token that may act on `repository`, and on nothing else.
    ///
    /// # Errors
    /// When the App is not installed there, or GitHub does not give a token.
    pub(super) async fn token(&self, api: &Octo, repository: &ForgeRepository) -> Result<Secret, ForgeError> {
        let turn = self.turn(repository);
        let mut installed = turn.lock().await;
        if let Some(known) = installed.as_ref().filter(|known| clock::now_ms() < known.until_ms - RENEWED_BEFORE_MS) {
            return Ok(known.token.clone());
        }
        let fresh = self.fresh(api, repository).await?;
        let token = fresh.token.clone();
        *installed = Some(fresh);
        Ok(token)
    }

    /// The next one who needs a token for `repository` gets a new one.
    pub(super) async fn forget(&self, repository: &ForgeRepository) {
        *self.turn(repository).lock().await = None;
    }

    fn turn(&self, repository: &ForgeRepository) -> Arc<Turn<Option<Installed>>> {
        Arc::clone(self.tokens.lock().unwrap_or_else(PoisonError::into_inner).entry(repository.clone()).or_default())
    }

    async fn fresh(&self, api: &Octo, repository: &ForgeRepository) -> Result<Installed, ForgeError> {
        let own = self.own_token()?;
        let path = format!("/repos/{repository}/installation");
        let looked_up = api.call(Some(&own), Call::Get(&path)).await;
        let installation: Installation = match looked_up {
            Err(error) if error.kind == ForgeErrorKind::NotFound => {
                let why = format!("The App {} is not installed on {repository}.", self.id);
                return Err(ForgeError::new(ForgeErrorKind::Refused, why));
            }
            looked_up => looked_up?.read()?,
        };
        let path = format!("/app/installations/{}/access_tokens", installation.id);
        let wanted = json!({ "repositories": [repository.name()] });
        let given: AccessToken = api.call(Some(&own), Call::Post(&path, &wanted)).await?.read()?;
        let odd = |_| ForgeError::new(ForgeErrorKind::Odd, "GitHub does not say how long a token is valid.".to_owned());
        let until: jiff::Timestamp = given.expires_at.parse().map_err(odd)?;
        Ok(Installed { token: Secret::new(given.token), until_ms: until.as_millisecond() })
    }

    /// Who the App is: a JSON Web Token (RFC 7519), signed with RS256.
    fn own_token(&self) -> Result<Secret, ForgeError> {
        let refused = |why: String| ForgeError::new(ForgeErrorKind::Refused, format!("The private key of the App cannot be used: {why}"));
        let pair = self.key.read().and_then(|pem| ForgeLogin::app_key(&pem)).map_err(refused)?;
        let now_s = clock::now_ms().div_euclid(1000);
        let claims = json!({ "iat": now_s - SKEW_S, "exp": now_s + LIFE_S - SKEW_S, "iss": self.id.to_string() });
        let part = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", part(json!({ "alg": "RS256", "typ": "JWT" })), part(claims));
        let mut signature = vec![0; pair.public().modulus_len()];
        let signing = pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature);
        signing.map_err(|_| refused("it does not sign.".to_owned()))?;
        Ok(Secret::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }
}
