//! What both sides say to each other. Both read this one file.
//!
//! A frame is one JSON object with its `kind`. Kinds and fields that a newer minor version has are skipped; a peer of another major
//! version is refused by [`Version::speaks`]. `wire.rs` writes and reads them.

use serde::Deserialize;
use serde::Serialize;
use smoke::Availability;
use smoke::Report;

use crate::line::Answer;
use crate::line::Asked;
use crate::model::DatasetName;
use crate::model::DeploymentId;
use crate::model::Digest;
use crate::model::Guard;
use crate::model::LineDraft;
use crate::model::LineKind;
use crate::model::OrderKind;
use crate::model::Outcome;
use crate::model::Repository;
use crate::model::ServiceName;
use crate::model::Stage;
use crate::model::Tag;

/// The version of the frames of this program.
pub const VERSION: Version = Version { major: 1, minor: 1 };

/// A version of the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Versions with different ones do not understand each other.
    pub major: u32,
    /// A greater one knows more kinds and fields.
    pub minor: u32,
}

impl Version {
    /// Whether this program understands a peer that says it speaks `other`.
    ///
    /// # Errors
    /// One sentence that says which versions meet and what to change.
    pub fn speaks(self, other: Self, peer: &str) -> Result<(), String> {
        if self.major == other.major {
            return Ok(());
        }
        let older = if other.major < self.major { peer } else { "this side" };
        Err(format!("{peer} speaks version {other} of the line and this side {self}, which do not understand each other; upgrade {older}."))
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What an agent says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FromAgent {
    /// The first frame of every line, and again when its services change.
    Hello(Hello),
    /// An order is on the agent's disk.
    Accepted(Accepted),
    /// An order was not taken, and nothing was changed.
    Refused(Refused),
    /// Lines of a journal.
    Lines(Lines),
    /// A deployment has ended: after its lines, or before them where the control plane does not know it.
    Ended(Box<Ended>),
    /// The answer to a question.
    Answer(Answer),
    /// A frame of a known kind that says something which this version does not know.
    #[serde(skip)]
    Unreadable(Unreadable),
    /// A kind of a newer version.
    #[serde(other)]
    Unknown,
}

impl FromAgent {
    /// The deployment that it is about; none: it is about none.
    #[must_use]
    pub fn deployment(&self) -> Option<&DeploymentId> {
        match self {
            Self::Accepted(said) => Some(&said.deployment),
            Self::Refused(said) => Some(&said.deployment),
            Self::Lines(said) => Some(&said.deployment),
            Self::Ended(said) => Some(&said.order.deployment),
            Self::Unreadable(said) => said.deployment.as_ref(),
            Self::Hello(_) | Self::Answer(_) | Self::Unknown => None,
        }
    }
}

/// What a control plane says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FromControl {
    /// The answer to a hello: from now on the agent counts as back.
    Welcome(Welcome),
    /// An order.
    Order(Box<SentOrder>),
    /// Lines, or how a deployment ended, are on the control plane's disk.
    Ack(Ack),
    /// A deployment is to stop.
    Cancel(CancelOrder),
    /// A question.
    Ask(Asked),
    /// A frame of a known kind that says something which this version does not know.
    #[serde(skip)]
    Unreadable(Unreadable),
    /// A kind of a newer version.
    #[serde(other)]
    Unknown,
}

/// A frame that this version cannot read: the other side is newer, or wrong. Nothing is done because of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Its kind.
    pub kind: String,
    /// The deployment that it is about, where that is said.
    pub deployment: Option<DeploymentId>,
    /// What cannot be read, without a full stop.
    pub why: String,
}

/// Who the agent is and what it has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The version of its frames.
    pub version: Version,
    /// The version of its program.
    pub program: String,
    /// Its host.
    pub host: HostFacts,
    /// Its services.
    pub services: Vec<ServiceSeen>,
    /// Its datasets. An agent of version 1.0 does not name them.
    #[serde(default)]
    pub datasets: Vec<DatasetName>,
    /// The deployments that the control plane may not know whole, the newest first.
    #[serde(default)]
    pub journals: Vec<DeploymentId>,
}

/// What is known of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// `Linux`.
    #[serde(default)]
    pub system: String,
    /// `x86_64`, `aarch64`.
    #[serde(default)]
    pub architecture: String,
    /// What its clock says, ms since 1970 (UTC).
    #[serde(default)]
    pub now_ms: i64,
}

/// A service of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSeen {
    /// Its name.
    pub name: ServiceName,
    /// The images that are pinned of it.
    pub images: Vec<Repository>,
    /// The address of its page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The images of its live release.
    #[serde(default)]
    pub live: Vec<String>,
}

/// How far a journal is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The number of the last line of its run that the control plane has; 0: none.
    pub seq: i64,
}

/// An order is on the agent's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The deployment, by the control plane's id, which is the agent's too.
    pub deployment: DeploymentId,
}

/// An order was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The guard that refused it; none: it failed for another reason.
    #[serde(default)]
    pub guard: Option<Guard>,
    /// Why, as one sentence.
    pub why: String,
    /// Whether asking again later may help: then nothing was decided.
    #[serde(default)]
    pub later: bool,
}

/// Lines of a journal, in the order in which the agent stored them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lines {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The lines.
    pub lines: Vec<SentLine>,
}

/// A line of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentLine {
    /// Its position in the agent's store, which an acknowledgement names.
    pub position: i64,
    /// The run at the agent; 0: what the agent said of the deployment itself.
    pub run: i64,
    /// Its number within the run.
    pub seq: i64,
    /// When, by the agent's clock, ms since 1970 (UTC).
    pub at_ms: i64,
    /// The step it belongs to.
    pub step: Stage,
    /// What kind of line it is.
    #[serde(rename = "line")]
    pub kind: LineKind,
    /// The text.
    pub text: String,
}

impl SentLine {
    /// The line as it is stored.
    #[must_use]
    pub fn into_draft(self) -> LineDraft {
        let Self { seq, at_ms, step, kind, text, .. } = self;
        LineDraft { seq, at_ms, step, kind, text }
    }
}

/// How a deployment ended, and what became known on its way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// The order, with its caller as the agent has recorded it.
    pub order: SentOrder,
    /// When the agent took it, by its clock, ms since 1970 (UTC).
    pub created_ms: i64,
    /// Its outcome.
    pub outcome: Outcome,
    /// The step that it was at.
    pub step: Stage,
    /// When it began, by the agent's clock.
    #[serde(default)]
    pub started_ms: Option<i64>,
    /// When it ended, by the agent's clock.
    pub ended_ms: i64,
    /// Its images.
    #[serde(default)]
    pub images: Vec<String>,
    /// Whether it was verified from outside.
    #[serde(default)]
    pub verified: bool,
    /// Whether one must not go back past it.
    #[serde(default)]
    pub barrier: bool,
    /// What ran before.
    #[serde(default)]
    pub ran_before: Option<String>,
    /// What the look at the page found.
    #[serde(default)]
    pub report: Option<Report>,
    /// How the page answered meanwhile.
    #[serde(default)]
    pub away: Option<Availability>,
    /// Images that were left out of `images`, because they are none of the service's; found by whoever hears it, and never said.
    #[serde(skip)]
    pub foreign: Vec<String>,
}

/// The answer to a hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version of the control plane's frames.
    pub version: Version,
    /// The version of its program.
    pub program: String,
    /// Which store it has: one that lost its store has another, and is told everything again.
    pub store: String,
    /// The newest deployment of any service of this agent whose end it has; what came later it may have lost.
    #[serde(default)]
    pub newest: Option<DeploymentId>,
    /// The same by service: what one was told of lately says nothing of another. A control plane of an earlier version does not say it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub newest_of: Vec<NewestOf>,
    /// How far it really knows the journals that the hello named; those that are not here it does not know at all.
    #[serde(default)]
    pub journals: Vec<Known>,
}

/// How far the control plane knows what has ended of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewestOf {
    /// The service.
    pub service: ServiceName,
    /// The newest deployment of it whose end is known; none: no end is known.
    #[serde(default)]
    pub deployment: Option<DeploymentId>,
}

/// An order as it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentOrder {
    /// The deployment, which has the same id on both sides.
    pub deployment: DeploymentId,
    /// What it wants.
    pub order: OrderKind,
    /// Of which service.
    pub service: ServiceName,
    /// Who asked the control plane, in the record's text form.
    pub caller: String,
    /// The tag.
    #[serde(default)]
    pub tag: Option<Tag>,
    /// The digest that the tag must have.
    #[serde(default)]
    pub digest: Option<Digest>,
    /// The commit.
    #[serde(default)]
    pub commit: Option<String>,
    /// The git ref.
    #[serde(default)]
    pub git_ref: Option<String>,
    /// The address of the workflow run.
    #[serde(default)]
    pub run_url: Option<String>,
    /// The forge's run number.
    #[serde(default)]
    pub run_number: Option<i64>,
    /// Who is behind it.
    #[serde(default)]
    pub actor: Option<String>,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
    /// The earlier deployment that it comes from.
    #[serde(default)]
    pub cause: Option<String>,
    /// Past holds and newer releases.
    #[serde(default)]
    pub force: bool,
    /// Stop after the preflight.
    #[serde(default)]
    pub dry_run: bool,
    /// The exact images of a recorded release, or those that were approved; empty: the agent finds them.
    #[serde(default)]
    pub images: Vec<String>,
    /// The deployment that a rollback undoes on this host alone, since it did not hold on another: what the host had verified before that
    /// comes back, and the service is not held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<DeploymentId>,
    /// For how many seconds from now on the order may still be taken, s; 0: an agent that does not have it yet refuses it; none: however
    /// long. An agent of an earlier version takes it at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good_for_s: Option<u64>,
}

/// What is on the control plane's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Its lines up to this position in the agent's store.
    #[serde(default)]
    pub position: i64,
    /// Whether its end is too.
    #[serde(default)]
    pub ended: bool,
    /// The control plane does not know the deployment: its lines are taken after its end.
    #[serde(default)]
    pub unknown: bool,
}

/// A deployment is to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelOrder {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Who wants that, in the record's text form.
    pub by: String,
}

#[cfg(test)]
mod tests {
    use super::VERSION;
    use super::Version;

    #[test]
    fn another_major_version_is_refused_with_what_to_upgrade() {
        assert_eq!(VERSION.speaks(Version { major: 1, minor: 99 }, "the agent micro"), Ok(()));
        let newer = VERSION.speaks(Version { major: 2, minor: 0 }, "the agent micro").unwrap_err();
        assert!(newer.ends_with("upgrade this side."), "{newer}");
        let older = VERSION.speaks(Version { major: 0, minor: 9 }, "the agent micro").unwrap_err();
        assert!(older.ends_with("upgrade the agent micro."), "{older}");
    }
}
