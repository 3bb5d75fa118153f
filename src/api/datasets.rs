//! Bodies about datasets.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::CommitName;
use crate::model::DatasetName;

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
    /// Work that did not fit and waits for an operator.
    pub parked: Vec<Parked>,
    /// What is kept on refs of its host and never pushed.
    #[serde(default)]
    pub kept: Vec<Kept>,
    /// Symbolic links of the published data that lead out of it.
    #[serde(default)]
    pub outward: Vec<String>,
    /// Folders that were moved aside and that a person should look at.
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

/// Work that did not fit and waits for an operator.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Parked {
    /// Its branch on the remote.
    pub branch: String,
    /// Its commit.
    pub commit: String,
    /// Whether the remote has it.
    pub published: bool,
}

/// What is kept on a ref of its host and never pushed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Kept {
    /// The ref, in full.
    pub name: String,
    /// Its commit.
    pub commit: String,
    /// The first files of it.
    pub holds: Vec<String>,
    /// How many more it holds.
    pub more: u64,
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
    /// Since when it is not tried any more, because the peer refuses it (ms since 1970, UTC). It is tried again with a newer
    /// commit, a changed configuration or after a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_ms: Option<i64>,
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
