//! GitHub's deployments: one for each of ours, found again by our id in its payload, and its states.

use serde::Deserialize;
use serde_json::Value;
use serde_json::json;

use crate::forge::Forge;
use crate::forge::call::Call;
use crate::forge::call::path_part;
use crate::forge::error::ForgeError;
use crate::model::DeploymentId;
use crate::model::ForgeRepository;

/// The state of a deployment, by GitHub's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeploymentState {
    /// It waits.
    Queued,
    /// It is being carried out.
    InProgress,
    /// It serves.
    Success,
    /// It does not serve, as is right for a release that failed.
    Failure,
    /// Something is left that is not right.
    Error,
    /// It does not serve, or not any more.
    Inactive,
}

impl DeploymentState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Error => "error",
            Self::Inactive => "inactive",
        }
    }
}

/// One of our deployments, as GitHub is told it.
#[derive(Debug, Clone)]
pub struct DeploymentLike {
    /// Ours.
    pub id: DeploymentId,
    /// The commit, by its whole name.
    pub commit: String,
    /// What the place where it runs is called.
    pub environment: String,
    /// `deploy`, or `rollback`.
    pub task: &'static str,
}

/// What a deployment has come to.
#[derive(Debug, Clone)]
pub struct DeploymentStatus {
    /// Its state.
    pub state: DeploymentState,
    /// What it says, at most 140 characters.
    pub description: String,
    /// Where people read its log.
    pub log_url: Option<String>,
    /// Where people see it.
    pub environment_url: Option<String>,
}

/// A deployment as a list has it. The payload is an object, or the text of one on older servers.
#[derive(Deserialize)]
struct Listed {
    id: u64,
    #[serde(default)]
    payload: Value,
}

#[derive(Deserialize)]
struct ListedStatus {
    state: String,
    #[serde(default)]
    description: Option<String>,
}

impl Listed {
    fn is(&self, id: &DeploymentId) -> bool {
        let of_text = self.payload.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
        of_text.as_ref().unwrap_or(&self.payload).get("tagalong").and_then(Value::as_str) == Some(id.as_str())
    }
}

impl Forge {
    /// GitHub has this deployment, once, with this status, once, however often this is called. One that it does not have is only made
    /// where `makes_it`.
    ///
    /// # Errors
    /// When GitHub does not take it; then it may have it or not.
    pub async fn put_deployment(
        &self,
        repository: &ForgeRepository,
        deployment: &DeploymentLike,
        status: &DeploymentStatus,
        makes_it: bool,
    ) -> Result<(), ForgeError> {
        let base = format!("/repos/{repository}/deployments");
        let number = match self.find_deployment(repository, &base, deployment).await? {
            Some(number) if self.has_status(repository, &base, number, status).await? => return Ok(()),
            Some(number) => number,
            None if makes_it => self.make_deployment(repository, &base, deployment).await?,
            None => return Ok(()),
        };
        // What is inactive is said by us: GitHub would deactivate every other deployment of the environment.
        let mut body = json!({ "state": status.state.as_str(), "description": status.description, "auto_inactive": false });
        for (key, url) in [("log_url", &status.log_url), ("environment_url", &status.environment_url)] {
            if let Some(url) = url {
                body[key] = Value::from(url.as_str());
            }
        }
        self.call(repository, Call::Post(&format!("{base}/{number}/statuses"), &body)).await?;
        Ok(())
    }

    async fn find_deployment(
        &self,
        repository: &ForgeRepository,
        base: &str,
        deployment: &DeploymentLike,
    ) -> Result<Option<u64>, ForgeError> {
        let DeploymentLike { commit, environment, .. } = deployment;
        let list = format!("{base}?sha={commit}&environment={}&per_page=100", path_part(environment));
        let listed: Vec<Listed> = self.call(repository, Call::Get(&list)).await?.read()?;
        Ok(listed.iter().find(|one| one.is(&deployment.id)).map(|one| one.id))
    }

    async fn make_deployment(&self, repository: &ForgeRepository, base: &str, deployment: &DeploymentLike) -> Result<u64, ForgeError> {
        let body = json!({
            "ref": deployment.commit,
            "task": deployment.task,
            // The commit is landed as it is, and our own pending status would block it.
            "auto_merge": false,
            "required_contexts": [],
            "payload": { "tagalong": deployment.id },
            "environment": deployment.environment,
            "description": format!("tagalong {}", deployment.id),
        });
        let made: Listed = self.call(repository, Call::Post(base, &body)).await?.read()?;
        Ok(made.id)
    }

    async fn has_status(
        &self,
        repository: &ForgeRepository,
        base: &str,
        number: u64,
        status: &DeploymentStatus,
    ) -> Result<bool, ForgeError> {
        let list = format!("{base}/{number}/statuses?per_page=100");
        let listed: Vec<ListedStatus> = self.call(repository, Call::Get(&list)).await?.read()?;
        let is_it = |one: &ListedStatus| {
            let description = one.description.as_deref().unwrap_or_default();
            one.state == status.state.as_str() && description == status.description
        };
        Ok(listed.iter().any(is_it))
    }
}
