//! GitHub: with a token, or as an App.

use crate::config;
use crate::config::ForgeLogin;
use crate::config::SecretSource;
use crate::forge::app::App;
use crate::forge::call::Answer;
use crate::forge::call::Call;
use crate::forge::error::ForgeError;
use crate::forge::error::ForgeErrorKind;
use crate::forge::limit::Limit;
use crate::forge::octo::Octo;
use crate::model::ForgeRepository;

/// A GitHub.
#[derive(Debug)]
pub struct GitHub {
    api: Octo,
    login: Login,
    limit: Limit,
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
        Ok(Self { api: Octo::new(&plan.api_url)?, login, limit: Limit::default() })
    }

    pub(super) fn limit(&self) -> &Limit {
        &self.limit
    }

    pub(super) async fn call(&self, repository: &ForgeRepository, call: Call<'_>) -> Result<Answer, ForgeError> {
        let refused = |why| ForgeError::new(ForgeErrorKind::Refused, why);
        match &self.login {
            Login::Nobody => self.api.call(None, call).await,
            Login::Token(token) => self.api.call(Some(&token.read().map_err(refused)?), call).await,
            Login::App(app) => {
                let answer = self.api.call(Some(&app.token(&self.api, repository).await?), call).await;
                match answer {
                    // It was withdrawn before its time, so that nothing was done yet.
                    Err(error) if error.status == Some(401) => {
                        app.forget(repository).await;
                        self.api.call(Some(&app.token(&self.api, repository).await?), call).await
                    }
                    answer => answer,
                }
            }
        }
    }
}
