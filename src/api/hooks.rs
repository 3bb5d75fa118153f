//! What a native webhook came to.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::DatasetName;
use crate::model::DeploymentId;
use crate::model::ServiceName;
use crate::model::Tag;

/// The answer to a native webhook.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct HookAnswer {
    /// The result, as one sentence.
    pub message: String,
    /// The result of each rule of the configuration for this forge.
    pub rules: Vec<RuleAnswer>,
}

/// The result of a rule for a webhook.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct RuleAnswer {
    /// Its path in the configuration, counted from 0: `hook[0]`.
    pub rule: String,
    /// Whether the rule matches.
    pub matches: bool,
    /// The service that it deploys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// The tag that it deploys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// The dataset that it reloads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<DatasetName>,
    /// The deployment that carries it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentId>,
    /// The address of the deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Why it does nothing, or why its order was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// A stable word for the refusal of its order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// A remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}
