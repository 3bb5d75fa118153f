//! What is asked.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::Caller;
use crate::model::DeploymentId;
use crate::model::Digest;
use crate::model::ServiceName;
use crate::model::Tag;
use crate::model::word::WordError;

/// What an order wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderKind {
    /// Deploy a tag.
    Deploy,
    /// Restore an earlier release.
    Rollback,
    /// Adopt the running release: smoke it and record it, change nothing.
    Adopt,
}

impl OrderKind {
    /// The text form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Rollback => "rollback",
            Self::Adopt => "adopt",
        }
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// When it is no kind of order.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        match given {
            "deploy" => Ok(Self::Deploy),
            "rollback" => Ok(Self::Rollback),
            "adopt" => Ok(Self::Adopt),
            _ => Err(WordError::new("The kind of order", given, "it is deploy, rollback or adopt")),
        }
    }
}

/// Where a rollback goes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RollbackTo {
    /// The verified release before the one that runs.
    #[default]
    Previous,
    /// A tag.
    Tag(Tag),
    /// What an earlier deployment landed.
    Deployment(DeploymentId),
}

/// An authorised request: what will be carried out, and who asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// What it wants.
    pub kind: OrderKind,
    /// Of which service.
    pub service: ServiceName,
    /// The tag; none for an adoption, or for a release that never had one.
    pub tag: Option<Tag>,
    /// The digest the caller expects, or the one a rollback found in the record.
    pub digest: Option<Digest>,
    /// The commit that the image was built from.
    pub commit: Option<String>,
    /// The git ref it was built from.
    pub git_ref: Option<String>,
    /// The address of the workflow run.
    pub run_url: Option<String>,
    /// The forge's run number: orders with a lower one than the live release's are late.
    pub run_number: Option<i64>,
    /// Why, in the caller's words.
    pub reason: Option<String>,
    /// Deploy even if it is older than the live release, or the service is held.
    pub force: bool,
    /// Stop after preflight.
    pub dry_run: bool,
    /// Who asked.
    pub caller: Caller,
}

impl Order {
    /// An order that says no more than what it wants, of which service, and who asked.
    #[must_use]
    pub fn new(kind: OrderKind, service: ServiceName, caller: Caller) -> Self {
        Self {
            kind,
            service,
            tag: None,
            digest: None,
            commit: None,
            git_ref: None,
            run_url: None,
            run_number: None,
            reason: None,
            force: false,
            dry_run: false,
            caller,
        }
    }
}
