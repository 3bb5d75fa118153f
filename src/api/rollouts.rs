//! Bodies about services and deployments on several hosts.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::Container;
use crate::api::Standing;
use crate::model::AgentName;
use crate::model::DeploymentId;
use crate::model::Outcome;
use crate::model::Stage;
use crate::model::Tag;

/// What a deployment does, or has done, on one of several hosts.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct HostRun {
    /// The host, by the name of its agent.
    pub host: AgentName,
    /// The number that the lines of this run have; none: it has not come to this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<i64>,
    /// Whether it brings the host back to what it had before the deployment.
    #[serde(default)]
    pub goes_back: bool,
    /// `waiting`, `running` or `done`.
    pub state: String,
    /// The last step that it was at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Stage>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Outcome>,
    /// The outcome as one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Why nothing is heard of it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_why: Option<String>,
    /// The tag of its images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// Its images, once they are known.
    #[serde(default)]
    pub images: Vec<String>,
    /// When it began, ms since 1970 (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_ms: Option<i64>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<i64>,
}

/// How a service stands on one of its several hosts.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ServiceHost {
    /// The host, by the name of its agent.
    pub host: AgentName,
    /// How it stands there, as its agent sees it.
    pub standing: Standing,
    /// The tag that was verified there last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// The images that were verified there last.
    #[serde(default)]
    pub images: Vec<String>,
    /// The deployment that did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentId>,
    /// Its containers there.
    #[serde(default)]
    pub containers: Vec<Container>,
}
