//! The forges, where services are built from: GitHub by octocrab, Forgejo and Gitea by their own API.
//!
//! A [`Forge`] takes one call at a time and gives the answer or a [`ForgeError`], whose kind says what can be done about it. Nothing
//! is repeated here, no redirect is followed, and no answer is larger or later than it may be.

mod app;
mod call;
mod checks;
mod deployments;
mod error;
mod forgejo;
mod forges;
mod github;
mod green;
mod limit;
mod may;
mod oauth;
mod octo;
mod secrets;
mod statuses;
mod wire;

use crate::config;
use crate::config::ForgeKind;
use crate::model::ForgeRepository;

pub use call::{Answer, Call, path_part};
pub use checks::{Question, Told};
pub use deployments::{DeploymentLike, DeploymentState, DeploymentStatus};
pub use error::{ForgeError, ForgeErrorKind};
pub use forgejo::Forgejo;
pub use forges::Forges;
pub use github::GitHub;
pub use green::{Checks, Light, Required, Seen, listed};
pub use oauth::{ForgeUser, OAuth};
pub use secrets::{Shelf, There};
pub use statuses::{CommitStatus, StatusState};

/// A forge that can be called.
#[derive(Debug)]
pub enum Forge {
    /// GitHub.
    GitHub(GitHub),
    /// Forgejo, or a Gitea.
    Forgejo(Forgejo),
}

impl Forge {
    /// A client for the forge of `plan`. It must be made inside the runtime.
    ///
    /// # Errors
    /// When its address is none, or the host's root certificates cannot be read.
    pub fn new(plan: &config::Forge) -> Result<Self, ForgeError> {
        match plan.kind {
            ForgeKind::GitHub => GitHub::new(plan).map(Self::GitHub),
            ForgeKind::Forgejo | ForgeKind::Gitea => Forgejo::new(plan).map(Self::Forgejo),
        }
    }

    /// Calls the API as who may act on `repository`.
    ///
    /// # Errors
    /// When the forge does not do what was asked, and why.
    pub async fn call(&self, repository: &ForgeRepository, call: Call<'_>) -> Result<Answer, ForgeError> {
        let limit = match self {
            Self::GitHub(github) => github.limit(),
            Self::Forgejo(forgejo) => forgejo.limit(),
        };
        limit.check()?;
        let answer = match self {
            Self::GitHub(github) => github.call(repository, call).await,
            Self::Forgejo(forgejo) => forgejo.call(call).await,
        };
        limit.note(&answer);
        answer
    }
}
