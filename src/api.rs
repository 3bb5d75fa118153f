//! Bodies of the HTTP contract, shared by the server and the command line.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::CommitName;
use crate::model::DatasetName;
use crate::model::DeploymentId;
use crate::model::Digest;
use crate::model::OrderKind;
use crate::model::Report;
use crate::model::RollbackTo;
use crate::model::ServiceName;
use crate::model::State;
use crate::model::Tag;

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
    /// Land it although the service is held or a newer release is live.
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
    /// The tag that was asked for.
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
    /// When it was verified, ms since 1970 (UTC).
    pub at_ms: i64,
}

/// Every service.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Services {
    /// By name.
    pub services: Vec<Service>,
}

/// The answer to a cancel or a release of a hold.
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

/// `POST /api/v1/reloads`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReload {
    /// The dataset.
    pub dataset: DatasetName,
    /// The branch that moved; another one than the dataset's is ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The commit that should be served; when it is already, nothing is done.
    #[serde(default, rename = "commitHash", skip_serializing_if = "Option::is_none")]
    pub commit_hash: Option<CommitName>,
    /// `true`: peers are called too and answer before this does; `false`: peers are left alone; by default they hear of what
    /// is new afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_peers: Option<bool>,
}

/// What a reload came to.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// The dataset.
    pub dataset: DatasetName,
    /// How checkout and remote were brought together, or `ignored`, `unusable`.
    pub outcome: String,
    /// Whether the data that is served is as new as it can be had, and the named commit in it.
    pub ok: bool,
    /// Whether the app has loaded something.
    pub rebuilt: bool,
    /// The checkout before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The checkout now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The commit that the app has loaded last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loaded: Option<String>,
    /// The branch of the remote where work is parked that did not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parked: Option<String>,
    /// How many own commits the remote took.
    #[serde(default)]
    pub pushed: u64,
    /// Why, where a person should know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How long it took, ms.
    pub duration_ms: u64,
    /// What each peer said, when all were called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<PeerAnswer>,
}

/// What a peer said.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PeerAnswer {
    /// Its address.
    pub peer: String,
    /// Whether it serves the commit.
    pub ok: bool,
    /// What it said, as one sentence.
    pub detail: String,
}

/// How a dataset stands.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Dataset {
    /// Its name.
    pub name: DatasetName,
    /// Its branch.
    pub branch: String,
    /// The checkout's commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// The remote's tip as last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// The commit that the app loaded last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loaded: Option<String>,
    /// When it did (ms since 1970, UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loaded_ms: Option<i64>,
    /// How many own commits the remote does not have yet.
    pub pending: u64,
    /// What the push of own commits is at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<String>,
    /// Work that did not fit and waits for a person.
    pub parked: Vec<Parked>,
    /// Folders that were set aside and that a person should look at.
    pub aside: Vec<String>,
    /// What peers are owed.
    pub owed: Vec<Owed>,
    /// How the last reload ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LastReload>,
    /// Why nothing can be read of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// Work that did not fit and waits for a person.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Parked {
    /// Its branch on the remote.
    pub branch: String,
    /// Its commit.
    pub commit: String,
    /// Whether the remote has it.
    pub published: bool,
}

/// What a peer is owed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Owed {
    /// Its address.
    pub peer: String,
    /// The commit.
    pub commit: String,
    /// Since when (ms since 1970, UTC).
    pub since_ms: i64,
    /// How often it was tried.
    pub tries: i64,
    /// What stood in the way the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// How the last reload of a dataset ended.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LastReload {
    /// Its outcome.
    pub outcome: String,
    /// Why, where a person should know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Why the app does not serve what it should; it is tried again on the next reload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_fault: Option<String>,
    /// When it ended (ms since 1970, UTC).
    pub at_ms: i64,
}

/// Every dataset.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Datasets {
    /// By name.
    pub datasets: Vec<Dataset>,
}
