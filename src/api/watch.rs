//! How services are looked at, and what was found wrong.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::DeploymentId;
use crate::model::IncidentId;
use crate::model::IncidentKind;
use crate::model::LookResult;
use crate::model::ServiceName;
use crate::model::Tag;
use crate::model::WatchState;

/// How a release is watched, or a service looked at on a schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Watch {
    /// The state of the watch.
    pub state: WatchState,
    /// When it began, ms since 1970 (UTC).
    pub since_ms: i64,
    /// When it ends; missing: it has no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<i64>,
    /// The seconds between two looks.
    pub every_s: f64,
    /// How many looks there were.
    pub looks: i64,
    /// How many of the last looks in a row were bad.
    pub bad: i64,
    /// When the last look was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_ms: Option<i64>,
    /// The result of the last look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LookResult>,
    /// What was wrong in the last look, or why the watch has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The rollback that it has ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placed: Option<DeploymentId>,
}

/// A fault of a service, from the look that found it until it is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Incident {
    /// Its reference.
    pub id: IncidentId,
    /// Its service.
    pub service: ServiceName,
    /// What it is about.
    pub kind: IncidentKind,
    /// What is wrong, in one or more sentences.
    pub what: String,
    /// The command that a person begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
    /// How many looks have found the fault.
    pub seen: i64,
    /// When it was opened, ms since 1970 (UTC).
    pub opened_ms: i64,
    /// When a look found it the last time.
    pub last_ms: i64,
    /// When it was closed; missing: it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_ms: Option<i64>,
}

/// A page of incidents, newest first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Incidents {
    /// The page.
    pub incidents: Vec<Incident>,
    /// The value of `before` for the next page; missing on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_before: Option<IncidentId>,
}

/// One look at a service, or all looks of one hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Look {
    /// The time of the look, or the beginning of the hour, ms since 1970 (UTC).
    pub at_ms: i64,
    /// The number of looks.
    pub looks: i64,
    /// How many of them found a fault.
    pub bad: i64,
    /// How many of them could not see anything, because the network or Docker was away.
    pub blind: i64,
    /// The mean time from the request of the page to the headers of its response, ms; missing: there was no response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<i64>,
    /// The longest such time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowest_ms: Option<i64>,
    /// The status of the page; for an hour: that of the last bad look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<i64>,
    /// The rules of the smoke check that failed; for an hour: those of the last bad look.
    pub rules: Vec<String>,
}

/// `POST /api/v1/services/{name}/look`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLook {
    /// The tag that the page should show; missing: that of the live release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// The commit that the page may show instead of that tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// The results of the looks at a service, oldest first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Looks {
    /// Each look of the last two days.
    pub looks: Vec<Look>,
    /// The looks of each hour together, for as long as `retention.looks_days` says.
    pub hours: Vec<Look>,
}
