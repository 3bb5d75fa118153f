//! Forgejo and Gitea, by their own API.

use reqwest::header::AUTHORIZATION;
use reqwest::header::HeaderValue;

use crate::config;
use crate::config::ForgeLogin;
use crate::config::SecretSource;
use crate::forge::call::Answer;
use crate::forge::call::Call;
use crate::forge::error::ForgeError;
use crate::forge::error::ForgeErrorKind;
use crate::forge::limit::Limit;
use crate::forge::wire;

/// A Forgejo, or a Gitea.
#[derive(Debug)]
pub struct Forgejo {
    api_url: String,
    http: reqwest::Client,
    token: Option<SecretSource>,
    limit: Limit,
}

impl Forgejo {
    pub(super) fn new(plan: &config::Forge) -> Result<Self, ForgeError> {
        let token = match &plan.login {
            Some(ForgeLogin::Token(token)) => Some(token.clone()),
            Some(ForgeLogin::App { .. }) | None => None,
        };
        Ok(Self { api_url: plan.api_url.clone(), http: wire::client(&plan.api_url, "application/json")?, token, limit: Limit::default() })
    }

    pub(super) fn limit(&self) -> &Limit {
        &self.limit
    }

    pub(super) async fn call(&self, call: Call<'_>) -> Result<Answer, ForgeError> {
        let address = format!("{}{}", self.api_url, call.path());
        let request = match call {
            Call::Get(_) => self.http.get(address),
            Call::Post(_, body) => self.http.post(address).json(body),
            Call::Put(_, body) => self.http.put(address).json(body),
            Call::Patch(_, body) => self.http.patch(address).json(body),
            Call::Delete(_) => self.http.delete(address),
        };
        let request = match &self.token {
            Some(token) => request.header(AUTHORIZATION, authorization(token)?),
            None => request,
        };
        let response = request.send().await.map_err(|error| wire::unreachable(&self.api_url, &error))?;
        wire::answer(&self.api_url, response).await
    }
}

fn authorization(token: &SecretSource) -> Result<HeaderValue, ForgeError> {
    let refused = |why| ForgeError::new(ForgeErrorKind::Refused, why);
    let token = token.read().map_err(refused)?;
    let header = HeaderValue::from_str(&format!("token {}", token.reveal()));
    let mut header = header.map_err(|_| refused("The token of the forge has characters that no token has.".to_owned()))?;
    header.set_sensitive(true);
    Ok(header)
}
