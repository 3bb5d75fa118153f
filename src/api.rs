//! Bodies of the HTTP contract, shared by the server and the command line.

mod datasets;

use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;
use smoke::Availability;
use smoke::Report;
use utoipa::ToSchema;

use crate::model::DeploymentId;
use crate::model::Digest;
use crate::model::OrderKind;
use crate::model::RollbackTo;
use crate::model::ServiceName;
use crate::model::State;
use crate::model::Tag;

pub use datasets::{Dataset, Datasets, Kept, LastReload, NewReload, Owed, Parked, PeerAnswer, Reloaded};

/// `POST /api/v1/deployments`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDeployment {
    /// The service to land on.
    pub service: ServiceName,
    /// The tag to land.
    pub tag: Tag,
    /// The digest that the tag must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The commit that was built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The git ref that it was built from.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub git_ref: Option<String>,
    /// Where the workflow run can be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_url: Option<String>,
    /// The forge's run number: an order with a lower one than the live release's is late and refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_number: Option<i64>,
    /// Why, for the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Stop after preflight and say what would be pinned.
    #[serde(default)]
    pub dry_run: bool,
    /// Land it although the service is held, was left for a person, or a newer release is live.
    #[serde(default)]
    pub force: bool,
}

/// `POST /api/v1/rollbacks`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRollback {
    /// The service to take back.
    pub service: ServiceName,
    /// Where to: `"previous"`, `{"tag": …}` or `{"deployment": …}`.
    #[serde(default)]
    pub to: RollbackTo,
    /// Why, for the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Go back even past a release that says it must not be rolled back past.
    #[serde(default)]
    pub force: bool,
}

/// The answer to an accepted order: it is on disk.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Accepted {
    /// The deployment that carries it out.
    pub id: DeploymentId,
    /// Where to look at it.
    pub location: String,
    /// The waiting deployment whose place it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded: Option<DeploymentId>,
    /// The running deployment that it stops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preempted: Option<DeploymentId>,
}

/// The header of a 202 that carries the read token for following.
pub const READ_TOKEN_HEADER: &str = "tagalong-read-token";

/// How long a server keeps a caller's connection open that nothing is asked over. Whoever uses one again gives it up sooner, or
/// it may be closed under the next call.
pub const IDLE_CONNECTION: Duration = Duration::from_secs(15);

/// A deployment.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// Its service.
    pub service: ServiceName,
    /// What was asked.
    pub kind: OrderKind,
    /// Where it stands: `state`, with `step` while it runs and `outcome` when it ended.
    #[serde(flatten)]
    pub state: State,
    /// How it ended, as one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The tag that was asked for, or that what was adopted or gone back to has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// The exact images, once they are known.
    pub images: Vec<String>,
    /// Whether it was verified from outside.
    pub verified: bool,
    /// The commit that was built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The git ref.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub git_ref: Option<String>,
    /// The workflow run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_url: Option<String>,
    /// The forge's run number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_number: Option<i64>,
    /// Why it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who asked: `key:ID` or `local:UID`.
    pub caller: String,
    /// What ran before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ran_before: Option<String>,
    /// The smoke report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
    /// How the page answered from before its containers were replaced until the end. It decides nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away: Option<Availability>,
    /// When it was accepted, ms since 1970 (UTC).
    pub created_ms: i64,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_ms: Option<i64>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<i64>,
}

/// A page of deployments, newest first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Deployments {
    /// The page.
    pub deployments: Vec<Deployment>,
    /// The value of `before` for the next page; none on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_before: Option<DeploymentId>,
    /// Which rows of this page do not read, and why: somebody else wrote into the database.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<String>,
}

/// How a service stands.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// What is pinned in its stack, as the file says it.
    pub pinned: Vec<String>,
    /// What its containers run.
    pub containers: Vec<Container>,
    /// The last verified release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Deployment>,
    /// Where what runs or is pinned differs from the last verified release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<String>,
    /// The deployment that is being carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Deployment>,
    /// The deployment that waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Deployment>,
    /// Why CI's orders are refused for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// Why nothing happens: who holds the lock, at which step, since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<String>,
    /// Verified releases that can be returned to.
    pub rollback_candidates: Vec<Candidate>,
}

/// One container of a stack.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Container {
    /// The compose service.
    pub service: String,
    /// The container's name.
    pub name: String,
    /// Its state as Docker names it.
    pub state: String,
    /// Its health as Docker names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
    /// The image's id.
    pub image_id: String,
    /// Since when it runs (RFC 3339).
    pub started_at: String,
}

/// A release that can be returned to.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Candidate {
    /// The deployment that landed it.
    pub deployment: DeploymentId,
    /// Its tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// Its images.
    pub images: Vec<String>,
    /// Those of them that are not on the host any more, so that going back has to pull them again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<String>,
    /// When it was verified, ms since 1970 (UTC).
    pub at_ms: i64,
}

/// Every service.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Services {
    /// By name.
    pub services: Vec<Service>,
}

/// The answer to a cancel, or to the end of a hold.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Done {
    /// What came of it, as one sentence.
    pub message: String,
}

/// A refusal or failure (RFC 9457, `application/problem+json`).
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `about:blank`: the code says which problem it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status's name.
    pub title: String,
    /// The status.
    pub status: u16,
    /// What is wrong and what to change, as one sentence.
    pub detail: String,
    /// A stable word for programs.
    pub code: String,
}

/// How ready the server is.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// Whether orders are taken.
    pub ready: bool,
    /// What stands in the way.
    pub problems: Vec<String>,
    /// What waits for a person or for somebody else, while everything goes on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}
