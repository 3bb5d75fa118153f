//! GitHub, by octocrab: with a token, or as an App.

use octocrab::Octocrab;
use reqwest::Response;
use reqwest::header::ACCEPT;
use reqwest::header::USER_AGENT;
use text::Secret;

use crate::config;
use crate::config::ForgeLogin;
use crate::config::SecretSource;
use crate::forge::app::App;
use crate::forge::call::Answer;
use crate::forge::call::Call;
use crate::forge::error::ForgeError;
use crate::forge::error::ForgeErrorKind;
use crate::forge::wire;
use crate::model::ForgeRepository;

/// A GitHub.
#[derive(Debug)]
pub struct GitHub {
    wire: Wire,
    login: Login,
}

#[derive(Debug)]
enum Login {
    Nobody,
    Token(SecretSource),
    App(App),
}

impl GitHub {
    pub(super) fn new(plan: &config::Forge) -> Result<Self, ForgeError> {
        let login = match &plan.login {
            Some(ForgeLogin::Token(token)) => Login::Token(token.clone()),
            Some(ForgeLogin::App { id, key }) => Login::App(App::new(*id, key.clone())),
            None => Login::Nobody,
        };
        Ok(Self { wire: Wire::new(&plan.api_url)?, login })
    }

    pub(super) async fn call(&self, repository: &ForgeRepository, call: Call<'_>) -> Result<Answer, ForgeError> {
        let refused = |why| ForgeError::new(ForgeErrorKind::Refused, why);
        match &self.login {
            Login::Nobody => self.wire.call(None, call).await,
            Login::Token(token) => self.wire.call(Some(&token.read().map_err(refused)?), call).await,
            Login::App(app) => {
                let answer = self.wire.call(Some(&app.token(&self.wire, repository).await?), call).await;
                match answer {
                    // It was withdrawn before its time, so that nothing was done yet.
                    Err(error) if error.status == Some(401) => {
                        app.forget(repository).await;
                        self.wire.call(Some(&app.token(&self.wire, repository).await?), call).await
                    }
                    answer => answer,
                }
            }
        }
    }
}

/// Calls of GitHub's API, as whoever a token belongs to.
#[derive(Debug)]
pub(super) struct Wire {
    api_url: String,
    octocrab: Octocrab,
}

impl Wire {
    /// Over our own client, which repeats nothing and follows no redirect.
    fn new(api_url: &str) -> Result<Self, ForgeError> {
        let failed = |error| wire::unreachable(api_url, &error);
        let octocrab = Octocrab::builder()
            .base_uri(api_url)
            .map_err(failed)?
            .add_header(USER_AGENT, wire::USER_AGENT.to_owned())
            .add_header(ACCEPT, "application/vnd.github+json".to_owned())
            .build_with_reqwest(wire::client(api_url)?)
            .map_err(failed)?;
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
