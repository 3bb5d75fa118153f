//! Bodies about datasets.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::AgentName;
use crate::model::CommitName;
use crate::model::DatasetName;

/// `POST /api/v1/reloads`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReload {
    /// The dataset.
    pub dataset: DatasetName,
    /// The branch that moved. The call is ignored if this is not the branch of the dataset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The commit that the app must serve. If it does so already, nothing is done.
    #[serde(default, rename = "commitHash", skip_serializing_if = "Option::is_none")]
    pub commit_hash: Option<CommitName>,
    /// `true`: peers are called as well, and this call is answered after them; `false`: peers are not called. By default, peers are told
    /// about new data afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_peers: Option<bool>,
}

/// The result of a reload.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// The dataset.
    pub dataset: DatasetName,
    /// How the checkout was brought up to date with the remote, or `ignored`, `unusable`.
    pub outcome: String,
    /// Whether the app serves the newest data that is available, and the requested commit is part of it.
    pub ok: bool,
    /// Whether the app has loaded new data.
    pub rebuilt: bool,
    /// The commit of the checkout before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The commit of the checkout now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The commit that the app has loaded last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loaded: Option<String>,
    /// The branch of the remote to which conflicting work was pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parked: Option<String>,
    /// How many local commits were pushed.
    #[serde(default)]
    pub pushed: u64,
    /// Why it ended so, if an operator should know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How long it took, ms.
    pub duration_ms: u64,
    /// The answer of each peer, if all of them were called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<PeerAnswer>,
}

/// The answer of a peer.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PeerAnswer {
    /// Its address.
    pub peer: String,
    /// Whether it serves the commit.
    pub ok: bool,
    /// Its answer, as one sentence.
    pub detail: String,
}

/// The state of a dataset.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Dataset {
    /// Its name.
    pub name: DatasetName,
    /// The agent on whose host it is; missing: it is on the host of this server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentName>,
    /// Its branch.
    pub branch: String,
    /// The checkout's commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// The newest commit of the remote when it was last read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// The commit that the app loaded last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loaded: Option<String>,
    /// When the app loaded it (ms since 1970, UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loaded_ms: Option<i64>,
    /// How many local commits were not pushed yet.
    pub pending: u64,
    /// The state of the push of local commits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<String>,
    /// Work that conflicted with the remote and waits for an operator.
    pub parked: Vec<Parked>,
    /// Files that are kept on refs of this host and never pushed.
    #[serde(default)]
    pub kept: Vec<Kept>,
    /// Symbolic links in the published data that lead out of it.
    #[serde(default)]
    pub outward: Vec<String>,
    /// Folders that were moved aside and that an operator should look at.
    pub aside: Vec<String>,
    /// The notifications that peers have not received yet.
    pub owed: Vec<Owed>,
    /// How the last reload ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LastReload>,
    /// Why the dataset cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// Work that conflicted with the remote and waits for an operator.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Parked {
    /// Its branch on the remote.
    pub branch: String,
    /// Its commit.
    pub commit: String,
    /// Whether the remote has it.
    pub published: bool,
}

/// Files that are kept on a ref of this host and never pushed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Kept {
    /// The ref, in full.
    pub name: String,
    /// Its commit.
    pub commit: String,
    /// The first of these files.
    pub holds: Vec<String>,
    /// How many more files there are.
    pub more: u64,
}

/// A notification that a peer has not received yet.
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
    /// Why the last try failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Since when it is no longer tried, because the peer refuses it (ms since 1970, UTC). It is tried again with a newer commit, with a
    /// changed configuration, or after a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_ms: Option<i64>,
}

/// How the last reload of a dataset ended.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LastReload {
    /// Its outcome.
    pub outcome: String,
    /// Why it ended so, if an operator should know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Why the app does not serve the new data; the next reload tries again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_fault: Option<String>,
    /// When it ended (ms since 1970, UTC).
    pub at_ms: i64,
}

/// Every dataset.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Datasets {
    /// By name; those of agents come behind those of this server.
    pub datasets: Vec<Dataset>,
    /// Why datasets of agents are not shown, each as one sentence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<String>,
}
