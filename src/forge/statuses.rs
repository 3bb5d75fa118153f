//! The status of a commit: GitHub's, Forgejo's and Gitea's.

use serde::Deserialize;
use serde_json::Value;
use serde_json::json;

use crate::forge::Forge;
use crate::forge::call::Call;
use crate::forge::error::ForgeError;
use crate::model::ForgeRepository;

/// The state of a status, by the words of all three forges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusState {
    /// It is not decided yet.
    Pending,
    /// It is good.
    Success,
    /// It is bad.
    Failure,
    /// It came to no result.
    Error,
}

impl StatusState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Error => "error",
        }
    }
}

/// A status of a commit. Its description has the id of ours in it, by which it is found again.
#[derive(Debug, Clone)]
pub struct CommitStatus {
    /// The commit, by its whole name.
    pub commit: String,
    /// Its state.
    pub state: StatusState,
    /// What it is called; a newer one of this name takes its place.
    pub context: String,
    /// What it says, at most 140 characters.
    pub description: String,
    /// Where people read more.
    pub target_url: Option<String>,
}

/// A status as a list has it: GitHub calls its state `state`, Forgejo and Gitea call it `status`.
#[derive(Deserialize)]
struct Listed {
    #[serde(alias = "status")]
    state: String,
    #[serde(default)]
    context: String,
    #[serde(default)]
    description: Option<String>,
}

impl Forge {
    /// The commit has this status, once, however often this is called.
    ///
    /// # Errors
    /// When the forge does not take it; then it may have it or not.
    pub async fn put_status(&self, repository: &ForgeRepository, status: &CommitStatus) -> Result<(), ForgeError> {
        let commit = &status.commit;
        // The newest come first.
        let list = match self {
            Self::GitHub(_) => format!("/repos/{repository}/commits/{commit}/statuses?per_page=100"),
            Self::Forgejo(_) => format!("/repos/{repository}/statuses/{commit}?sort=recentupdate&limit=50"),
        };
        let listed: Vec<Listed> = self.call(repository, Call::Get(&list)).await?.read()?;
        let is_it = |one: &Listed| {
            let description = one.description.as_deref().unwrap_or_default();
            one.context == status.context && one.state == status.state.as_str() && description == status.description
        };
        if listed.iter().any(is_it) {
            return Ok(());
        }
        let mut body = json!({ "state": status.state.as_str(), "context": status.context, "description": status.description });
        if let Some(url) = &status.target_url {
            body["target_url"] = Value::from(url.as_str());
        }
        self.call(repository, Call::Post(&format!("/repos/{repository}/statuses/{commit}"), &body)).await?;
        Ok(())
    }
}
