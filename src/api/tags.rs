//! The tags of a service.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::DeploymentId;
use crate::model::Digest;
use crate::model::Tag;

/// `GET /api/v1/services/{name}/tags`: the tags that can be deployed or restored.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Tags {
    /// First the tags that were verified here, newest first; then those that only the registry has, newest build first.
    pub tags: Vec<KnownTag>,
    /// Whether the registry has more tags than are listed.
    pub has_more: bool,
    /// Why the registry could not be asked; only tags that were verified here are listed then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry_fault: Option<String>,
}

/// A tag.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct KnownTag {
    /// The tag.
    pub tag: Tag,
    /// The digest that was verified, or else the one in the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The newest deployment that verified it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_by: Option<DeploymentId>,
    /// When that deployment ended, ms since 1970 (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_ms: Option<i64>,
    /// Whether it is the last verified release.
    pub live: bool,
    /// Whether its image is on the host; missing: that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_host: Option<bool>,
    /// Whether the registry has it; missing: the registry was not asked about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_registry: Option<bool>,
    /// Whether the registry now has a different digest under this tag than the one that was verified.
    pub moved: bool,
    /// When the image was built, ms since 1970 (UTC), as the image says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built_ms: Option<i64>,
    /// What it is built for, `linux/amd64`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<String>,
}
