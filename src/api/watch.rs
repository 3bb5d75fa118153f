//! How services are looked at, and what was found wrong.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::DeploymentId;
use crate::model::IncidentId;
use crate::model::IncidentKind;
use crate::model::LookResult;
use crate::model::ServiceName;
use crate::model::WatchState;

/// How a release is watched, or a service looked at on a schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Watch {
    /// How it stands.
    pub state: WatchState,
    /// Since when, ms since 1970 (UTC).
    pub since_ms: i64,
    /// Until when; missing: without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<i64>,
    /// How often there is a look, in seconds.
    pub every_s: f64,
    /// How many looks there were.
    pub looks: i64,
    /// How many of the last looks running were bad.
    pub bad: i64,
    /// When the last look was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_ms: Option<i64>,
    /// What it has come to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LookResult>,
    /// What it saw, or why the watch has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The rollback that it has ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placed: Option<DeploymentId>,
}

/// Something that was found wrong with a service, from the look that found it until its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Incident {
    /// Its reference.
    pub id: IncidentId,
    /// Its service.
    pub service: ServiceName,
    /// What it is about.
    pub kind: IncidentKind,
    /// What is wrong, as one sentence or a few.
    pub what: String,
    /// The command that a person begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
    /// How many looks have found it.
    pub seen: i64,
    /// When it was opened, ms since 1970 (UTC).
    pub opened_ms: i64,
    /// When it was found last.
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

/// One look at a service, or those of an hour together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Look {
    /// When it was, or the beginning of the hour, ms since 1970 (UTC).
    pub at_ms: i64,
    /// How many there were.
    pub looks: i64,
    /// How many of them found something wrong.
    pub bad: i64,
    /// How many of them saw nothing.
    pub blind: i64,
    /// How long the page took to answer on the average, ms; missing: it did not answer, or was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<i64>,
    /// How long at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowest_ms: Option<i64>,
    /// The status of the page: of the last bad look, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<i64>,
    /// The rules that failed in the last bad one.
    pub rules: Vec<String>,
}

/// What looks at a service have seen, oldest first, for plots.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Looks {
    /// Each look of the last two days.
    pub looks: Vec<Look>,
    /// Those of each hour, for as long as the configuration keeps them.
    pub hours: Vec<Look>,
}
