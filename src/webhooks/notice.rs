//! What a payload tells, the same for every forge.

use std::collections::BTreeMap;

use crate::model::HookEvent;

/// What a payload is.
#[derive(Debug, Clone, PartialEq)]
pub enum Payload {
    /// The forge tries whether we are there.
    Ping,
    /// Nothing that a rule could act on, and why.
    Nothing(String),
    /// Something that a rule may act on.
    Notice(Box<Notice>),
}

/// The payload is none of the event that it is said to be. The text is a whole sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PayloadError(pub(super) String);

/// What has happened at a forge, as far as it says so.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// What.
    pub event: HookEvent,
    /// In which repository, `OWNER/NAME`.
    pub repository: String,
    /// The id of that repository.
    pub repository_id: Option<i64>,
    /// Who did it.
    pub actor: Option<String>,
    /// The branch.
    pub branch: Option<String>,
    /// The tag, of git or of an image.
    pub tag: Option<String>,
    /// The commit, in full.
    pub commit: Option<String>,
    /// The git ref, in full.
    pub git_ref: Option<String>,
    /// The message of the commit.
    pub message: Option<String>,
    /// Which files a push has changed.
    pub changes: Option<Changes>,
    /// What a workflow is called: its name, and its file with and without the folder.
    pub workflow: Vec<String>,
    /// The environment of a deployment.
    pub environment: Option<String>,
    /// The type of a call.
    pub kind: Option<String>,
    /// The package.
    pub package: Option<String>,
    /// The labels of an image.
    pub labels: BTreeMap<String, String>,
    /// Whether it is a pre-release.
    pub is_prerelease: bool,
    /// The address of the workflow run.
    pub run_url: Option<String>,
    /// The number of the workflow run.
    pub run_number: Option<i64>,
}

/// Which files a push has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// The files that are named.
    pub paths: Vec<String>,
    /// Why there may be more of them; none: these are all.
    pub incomplete: Option<&'static str>,
}

impl Notice {
    /// Nothing but that `event` has happened in `repository`.
    pub(super) fn new(event: HookEvent, repository: (String, Option<i64>), actor: Option<String>) -> Self {
        Self {
            event,
            repository: repository.0,
            repository_id: repository.1,
            actor,
            branch: None,
            tag: None,
            commit: None,
            git_ref: None,
            message: None,
            changes: None,
            workflow: Vec::new(),
            environment: None,
            kind: None,
            package: None,
            labels: BTreeMap::new(),
            is_prerelease: false,
            run_url: None,
            run_number: None,
        }
    }
}
