//! Whether a forge lets us show results, without showing any.

use serde::Deserialize;
use serde_json::json;

use crate::forge::Forge;
use crate::forge::call::Call;
use crate::forge::error::ForgeError;
use crate::forge::error::ForgeErrorKind;
use crate::model::ForgeRepository;

/// No commit has this name.
const NO_COMMIT: &str = "0000000000000000000000000000000000000000";

#[derive(Deserialize)]
struct Described {
    #[serde(default)]
    permissions: Option<Permissions>,
}

#[derive(Deserialize)]
struct Permissions {
    #[serde(default)]
    push: bool,
}

impl Forge {
    /// Whether it would take results of `repository` from us. GitHub is asked to write about a commit that does not exist, which it
    /// refuses as wrong only after it has looked whether we may; Forgejo and Gitea say themselves what we may.
    ///
    /// # Errors
    /// When it would not, and why.
    pub async fn may_report(&self, repository: &ForgeRepository) -> Result<(), ForgeError> {
        match self {
            Self::GitHub(_) => {
                let path = format!("/repos/{repository}/statuses/{NO_COMMIT}");
                self.may_post(repository, Call::Post(&path, &json!({ "state": "pending", "context": "tagalong" }))).await?;
                let deployment = json!({ "ref": NO_COMMIT, "auto_merge": false, "required_contexts": [] });
                self.may_post(repository, Call::Post(&format!("/repos/{repository}/deployments"), &deployment)).await
            }
            Self::Forgejo(_) => {
                let described: Described = self.call(repository, Call::Get(&format!("/repos/{repository}"))).await?.read()?;
                if described.permissions.is_some_and(|may| may.push) {
                    return Ok(());
                }
                let why = format!("The owner of the token may not write to {repository}, which a status of a commit needs.");
                Err(ForgeError::new(ForgeErrorKind::Refused, why))
            }
        }
    }

    async fn may_post(&self, repository: &ForgeRepository, call: Call<'_>) -> Result<(), ForgeError> {
        match self.call(repository, call).await {
            Ok(_) => Ok(()),
            Err(error) if error.status == Some(422) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
