//! Bodies of the HTTP contract, shared by the server and the command line.

mod agents;
mod approval;
mod datasets;
mod guards;
mod hooks;
mod lines;
mod notifier;
mod refused;
mod results;
mod rollouts;
mod standing;
mod tags;
mod users;
mod watch;

use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;
use smoke::Availability;
use smoke::Report;
use utoipa::ToSchema;

use crate::model::AgentName;
use crate::model::DeploymentId;
use crate::model::Digest;
use crate::model::OrderKind;
use crate::model::RollbackTo;
use crate::model::ServiceName;
use crate::model::State;
use crate::model::Tag;

pub use agents::{Agent, AgentClone, AgentCode, AgentState, Agents, Enrolled, NewAgent, Uplink};
pub use approval::{Approval, NewApproval};
pub use datasets::{Dataset, Datasets, Kept, LastReload, NewReload, Owed, Parked, PeerAnswer, Reloaded};
pub use guards::{GuardNow, Says};
pub use hooks::{HookAnswer, RuleAnswer};
pub use lines::{FoundLines, Lines};
pub use notifier::Notifier;
pub use refused::{RefusedCall, RefusedCalls};
pub use results::OwedResult;
pub use rollouts::{HostRun, ServiceHost};
pub use standing::{Standing, Word};
pub use tags::{KnownTag, Tags};
pub use users::{LoginCode, NewUser, User, UserChange, Users};
pub use watch::{Incident, Incidents, Look, Looks, NewLook, Watch};

/// `POST /api/v1/deployments`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDeployment {
    /// The service to deploy.
    pub service: ServiceName,
    /// The tag to deploy.
    pub tag: Tag,
    /// The digest that the tag must resolve to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The commit that the image was built from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The git ref that the image was built from.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub git_ref: Option<String>,
    /// The address of the workflow run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_url: Option<String>,
    /// The run number of the workflow: an order with a lower number than the live release is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_number: Option<i64>,
    /// Who is behind the order. No body says so: it is taken from the proof of a forge.
    #[serde(skip)]
    pub actor: Option<String>,
    /// The reason, for the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Change nothing: stop after the preflight and report what would be pinned.
    #[serde(default)]
    pub dry_run: bool,
    /// Deploy even if the service is held, needs an operator, or a newer release is live. From somebody on the host itself, also past the
    /// refs, actors and checks of the service's source.
    #[serde(default)]
    pub force: bool,
}

/// `POST /api/v1/rollbacks`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRollback {
    /// The service to roll back.
    pub service: ServiceName,
    /// The release to restore: `"previous"`, `{"tag": …}` or `{"deployment": …}`.
    #[serde(default)]
    pub to: RollbackTo,
    /// The address of the workflow run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_url: Option<String>,
    /// Who is behind the order. No body says so: it is taken from the proof of a forge.
    #[serde(skip)]
    pub actor: Option<String>,
    /// The reason, for the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Roll back even if a release in between says that it must not be undone.
    #[serde(default)]
    pub force: bool,
}

/// The answer to an accepted order, which is on disk.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Accepted {
    /// The deployment that carries it out.
    pub id: DeploymentId,
    /// The address of the deployment.
    pub location: String,
    /// The waiting deployment that it replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded: Option<DeploymentId>,
    /// The running deployment that it stops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preempted: Option<DeploymentId>,
}

/// The header of a 202 that carries the read token for following.
pub const READ_TOKEN_HEADER: &str = "tagalong-read-token";

/// How long a server keeps a caller's connection open that nothing is asked over. Anybody who uses one again gives it up sooner, or
/// it may be closed under the next call.
pub const IDLE_CONNECTION: Duration = Duration::from_secs(15);

/// A deployment.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// Its service.
    pub service: ServiceName,
    /// What was ordered.
    pub kind: OrderKind,
    /// Its state: `state`, with `step` while it is running, and with `outcome` when it has ended.
    #[serde(flatten)]
    pub state: State,
    /// The outcome as one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Why it is waiting, or running on a host that is away, as one sentence, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_why: Option<String>,
    /// Since when it waits for that, ms since 1970 (UTC), where somebody was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_since_ms: Option<i64>,
    /// The tag that was ordered, or the tag of the release that was adopted or restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// The exact images, once they are known.
    pub images: Vec<String>,
    /// Whether it was verified from outside.
    pub verified: bool,
    /// The commit that the image was built from.
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
    /// The earlier deployment that it repeats: `retry ID`, or `repair ID`, whose release is deployed again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Who caused the order, as the forge has proven it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// The reason of the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who ordered it: `key:ID`, `oidc:ID` (a job, by the policy that accepted its token), `forge:ID` (a webhook), `local:UID` or
    /// `watch:ID` (the watch over the release of that deployment).
    pub caller: String,
    /// What was running before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ran_before: Option<String>,
    /// The smoke report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
    /// How the page answered, from before its containers were replaced until the end. This does not influence the outcome.
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
    /// How long it took, ms; none: it was not carried out, or has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<i64>,
    /// What was approved of it and by whom; while it waits for an approval, what is to be approved and who has done so already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// What it does on each of several hosts, in the order in which it came to them; only where one deployment is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostRun>,
}

/// A page of deployments, newest first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Deployments {
    /// The page.
    pub deployments: Vec<Deployment>,
    /// The value of `before` for the next page; missing on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_before: Option<DeploymentId>,
    /// Which rows of this page could not be read, and why: something else wrote to the database.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<String>,
}

/// The state of a service.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// Whether what is running is the live release, and which command corrects it if not.
    pub standing: Standing,
    /// The pins in its stack, as the files contain them.
    pub pinned: Vec<String>,
    /// The commit whose files stand in the stack's folder, where they come from git.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<String>,
    /// Its containers.
    pub containers: Vec<Container>,
    /// The live release, which is the last verified one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Deployment>,
    /// The last deployment that has ended, if it is not the live one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Deployment>,
    /// The command to run after that deployment; none: there is nothing to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_step: Option<String>,
    /// How the running or pinned release differs from the last verified one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<String>,
    /// The running deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Deployment>,
    /// The waiting deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Deployment>,
    /// Why CI's orders are refused at the moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// What the guards would say to an order of CI now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<GuardNow>,
    /// What blocks the service: who holds the lock of the stack, or what does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<String>,
    /// How the page answered during the last deployments that measured it, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub away: Vec<PageAway>,
    /// How the live release is watched, or was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<Watch>,
    /// How it is looked at on a schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Watch>,
    /// What was found wrong with it and is not over, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub incidents: Vec<Incident>,
    /// What its forge is still to be told, and why it was not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owed: Vec<OwedResult>,
    /// How it stands on each of several hosts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<ServiceHost>,
    /// Verified releases that can be restored.
    pub rollback_candidates: Vec<Candidate>,
}

/// How the page of a service answered during one of its deployments.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PageAway {
    /// The deployment.
    pub deployment: DeploymentId,
    /// What was measured from before its containers were replaced until the end.
    #[serde(flatten)]
    pub measured: Availability,
}

/// One container of a stack.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Container {
    /// The host that it is on, by the name of its agent; none: its service is on one host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<AgentName>,
    /// The compose service.
    pub service: String,
    /// The container's name.
    pub name: String,
    /// Its state as Docker names it.
    pub state: String,
    /// Its health as Docker names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
    /// The image as the stack named it when the container was made.
    pub image: String,
    /// The image's id.
    pub image_id: String,
    /// The exit code of one that does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// Since when it runs (RFC 3339).
    pub started_at: String,
}

/// A release that can be restored.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Candidate {
    /// The deployment that deployed it.
    pub deployment: DeploymentId,
    /// Its tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// Its images.
    pub images: Vec<String>,
    /// Those of its images that are no longer on the host, so that a rollback has to pull them again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<String>,
    /// When it was verified, ms since 1970 (UTC).
    pub at_ms: i64,
    /// Whether a rollback has left it. The next rollback skips it, unless it is named.
    #[serde(default)]
    pub left: bool,
}

/// Every service.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Services {
    /// By name.
    pub services: Vec<Service>,
    /// The notifiers, for callers that may read every service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notifiers: Vec<Notifier>,
}

/// The answer to a cancel, or to the end of a hold.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Done {
    /// The result, as one sentence.
    pub message: String,
}

/// The answer when the configuration was read again.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ReadAgain {
    /// The result, as one sentence.
    pub message: String,
    /// What the newest secret of each key is known by: a keyed hash.
    pub secrets: std::collections::BTreeMap<String, String>,
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
    /// Whether orders are accepted.
    pub ready: bool,
    /// Why the server is not ready.
    pub problems: Vec<String>,
    /// What is waiting for an operator or for somebody else, while the server works.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}
