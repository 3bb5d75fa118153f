//! Finds the deployment that the user means: by its id, a unique part of the id, or as the newest one of a service.

use anyhow::Context as _;

use crate::api;
use crate::cli::client::Client;
use crate::model::DeploymentId;
use crate::model::ServiceName;

/// How many characters of an id must be given, so that a typo does not match a deployment.
const FEWEST: usize = 4;

/// A deployment as it is named on the command line.
#[derive(Debug, Clone)]
pub(crate) struct Which(String);

impl Which {
    /// For the command line's parser: what can be neither an id nor a service is refused before the server is asked.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let is_part = text.len() >= FEWEST && text.chars().all(|c| c.is_ascii_alphanumeric());
        if is_part || ServiceName::parse(text).is_ok() {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "give the id of a deployment, at least {FEWEST} characters of its beginning or end, or a service for its newest deployment"
        ))
    }

    /// The deployment that is meant.
    ///
    /// # Errors
    /// When there is none, or more than one, or the server does not answer.
    pub(crate) async fn find(&self, client: &Client) -> anyhow::Result<DeploymentId> {
        if let Ok(id) = DeploymentId::parse(&self.0) {
            return Ok(id);
        }
        if let Ok(service) = ServiceName::parse(&self.0) {
            let newest: api::Deployments = client.get(&format!("/api/v1/deployments?service={service}&limit=1")).await?;
            if let Some(newest) = newest.deployments.into_iter().next() {
                return Ok(newest.id);
            }
        }
        self.find_part(client).await
    }

    async fn find_part(&self, client: &Client) -> anyhow::Result<DeploymentId> {
        let part = self.0.to_ascii_uppercase();
        let page: api::Deployments = client.get("/api/v1/deployments?limit=200").await?;
        let is_meant = |id: &DeploymentId| id.as_str().starts_with(&part) || id.as_str().ends_with(&part);
        let mut meant = page.deployments.into_iter().map(|one| one.id).filter(|id| part.len() >= FEWEST && is_meant(id));
        let found = meant.next().with_context(|| {
            format!(
                "{} is neither a service that was deployed nor part of the id of one of the newest 200 deployments; `tagalong status` lists \
                the services, and `tagalong history SERVICE` the deployments of one.",
                self.0
            )
        })?;
        match meant.next() {
            None => Ok(found),
            Some(other) => anyhow::bail!("{} matches more than one deployment ({found}, {other}); give more of the id.", self.0),
        }
    }
}
