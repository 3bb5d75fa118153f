//! GitHub's API, by octocrab.

use octocrab::AuthState;
use octocrab::Octocrab;
use octocrab::OctocrabBuilder;
use octocrab::service::middleware::base_uri::BaseUriLayer;
use octocrab::service::middleware::reqwest_connector::ReqwestConnector;
use reqwest::Response;
use text::Secret;

use crate::forge::call::Answer;
use crate::forge::call::Call;
use crate::forge::error::ForgeError;
use crate::forge::wire;

/// Calls of GitHub's API, as whoever a token belongs to.
#[derive(Debug)]
pub(super) struct Octo {
    api_url: String,
    octocrab: Octocrab,
}

impl Octo {
    /// Over our own client, which repeats nothing and follows no redirect. Nothing else of octocrab's is around it: its own builder adds a
    /// second `User-Agent`.
    pub(super) fn new(api_url: &str) -> Result<Self, ForgeError> {
        let base = BaseUriLayer::new(api_url.parse().map_err(|error| wire::unreachable(api_url, &error))?);
        let client = ReqwestConnector::new(wire::client(api_url, "application/vnd.github+json")?);
        let Ok(octocrab) = OctocrabBuilder::new_empty().with_service(client).with_layer(&base).with_auth(AuthState::None).build();
        Ok(Self { api_url: api_url.to_owned(), octocrab })
    }

    pub(super) async fn call(&self, token: Option<&Secret>, call: Call<'_>) -> Result<Answer, ForgeError> {
        let failed = |error| wire::unreachable(&self.api_url, &error);
        let octocrab = match token {
            Some(token) => self.octocrab.user_access_token(token.reveal().to_owned()).map_err(failed)?,
            None => self.octocrab.clone(),
        };
        let asking = async {
            match call {
                Call::Get(path) => octocrab._get(path).await,
                Call::Post(path, body) => octocrab._post(path, Some(body)).await,
                Call::Put(path, body) => octocrab._put(path, Some(body)).await,
                Call::Patch(path, body) => octocrab._patch(path, Some(body)).await,
                Call::Delete(path) => octocrab._delete(path, None::<&()>).await,
            }
        };
        let response = asking.await.map_err(failed)?;
        wire::answer(&self.api_url, Response::from(response.map(reqwest::Body::wrap))).await
    }
}
