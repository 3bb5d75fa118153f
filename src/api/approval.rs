//! `POST /api/v1/deployments/{id}/approval`, and what is shown of approvals.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::ApprovedBy;

/// `POST /api/v1/deployments/{id}/approval`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApproval {
    /// The code that was sent to the caller, as in `7K3M-9QXT-2BWD`.
    pub code: String,
}

impl std::fmt::Debug for NewApproval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewApproval(…)")
    }
}

/// The approval of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Approval {
    /// The exact images that are approved; none: they are not known yet.
    pub images: Vec<String>,
    /// Who has approved, in this order.
    pub by: Vec<ApprovedBy>,
    /// How many people must approve, while it waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed: Option<usize>,
    /// Who may, while it waits for that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvers: Vec<String>,
    /// When its time is over, ms since 1970 (UTC), while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<i64>,
}
