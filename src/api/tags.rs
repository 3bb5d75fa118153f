//! The tags of a service.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::DeploymentId;
use crate::model::Digest;
use crate::model::Tag;

/// `GET /api/v1/services/{name}/tags`: what can be deployed or gone back to.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Tags {
    /// First the tags that were verified here, the newest first; then what else the registry has, the newest build first.
    pub tags: Vec<KnownTag>,
    /// Whether the registry has more tags than are listed.
    pub has_more: bool,
    /// Why the registry could not be asked; then only what was verified here is listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry_fault: Option<String>,
}

/// A tag.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct KnownTag {
    /// The tag.
    pub tag: Tag,
    /// The content that was verified, or else the one that the registry has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The newest deployment that verified it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_by: Option<DeploymentId>,
    /// When that ended, ms since 1970 (UTC).
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
    /// Whether the registry has another content under this tag than the one that was verified.
    pub moved: bool,
    /// When the image was built, ms since 1970 (UTC), as it says itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built_ms: Option<i64>,
    /// What it is built for, `linux/amd64`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<String>,
}
