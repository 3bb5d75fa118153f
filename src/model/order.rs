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

/// The kind of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderKind {
    /// Deploy a tag.
    Deploy,
    /// Restore an earlier release.
    Rollback,
    /// Adopt the running release: smoke it and record it, change nothing.
    Adopt,
    /// Land the last verified release again, since what runs is not that any more.
    Repair,
}

impl OrderKind {
    /// The text form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Rollback => "rollback",
            Self::Adopt => "adopt",
            Self::Repair => "repair",
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
            "repair" => Ok(Self::Repair),
            _ => Err(WordError::new("The kind of order", given, "it is deploy, rollback, adopt or repair")),
        }
    }
}

/// The earlier deployment that an order comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// It is ordered once more.
    Retry(DeploymentId),
    /// Its release is landed again.
    Repair(DeploymentId),
}

impl Cause {
    /// Reads the text form that [`Display`](std::fmt::Display) writes.
    ///
    /// # Errors
    /// When it is neither `retry ID` nor `repair ID`.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        match given.split_once(' ') {
            Some(("retry", id)) => DeploymentId::parse(id).map(Self::Retry),
            Some(("repair", id)) => DeploymentId::parse(id).map(Self::Repair),
            _ => Err(WordError::new("The cause", given, "it is retry ID or repair ID")),
        }
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Retry(id) => write!(f, "retry {id}"),
            Self::Repair(id) => write!(f, "repair {id}"),
        }
    }
}

/// What a rollback restores.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RollbackTo {
    /// The verified release before the running one.
    #[default]
    Previous,
    /// A tag.
    Tag(Tag),
    /// The release of an earlier deployment.
    Deployment(DeploymentId),
}

/// What a forge has proven of the job that orders something; nothing of any other caller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Behind {
    /// The address of the workflow run.
    pub run_url: Option<String>,
    /// Who is behind it.
    pub actor: Option<String>,
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
    /// Who is behind it, as the forge has proven it; none: no forge has said so.
    pub actor: Option<String>,
    /// Why, in the caller's words.
    pub reason: Option<String>,
    /// The earlier deployment that it comes from; none: it comes from nothing but its caller.
    pub cause: Option<Cause>,
    /// Deploy even if it is older than the live release, or the service is held; from somebody on the host itself, also past what its
    /// source requires.
    pub force: bool,
    /// Stop after preflight.
    pub dry_run: bool,
    /// Who asked.
    pub caller: Caller,
}

impl Order {
    /// Why it is carried out past a freeze that is against it. That the caller may force an order was decided by a scope.
    #[must_use]
    pub fn overruling_reason(&self) -> Option<&str> {
        self.reason.as_deref().map(str::trim).filter(|reason| self.force && !reason.is_empty())
    }

    /// Whether it comes from somebody on the host itself, who may change the configuration and so may overrule what that says.
    #[must_use]
    pub fn is_of_the_host(&self) -> bool {
        matches!(self.caller, Caller::Local(_))
    }

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
            actor: None,
            reason: None,
            cause: None,
            force: false,
            dry_run: false,
            caller,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Cause;
    use crate::model::DeploymentId;

    #[test]
    fn causes_read_back_what_they_write() {
        let id = DeploymentId::from_parts(1, 2);
        for cause in [Cause::Retry(id.clone()), Cause::Repair(id.clone())] {
            assert_eq!(Cause::parse(&cause.to_string()), Ok(cause));
        }
        for bad in ["", "retry", "repair x", &id.to_string()] {
            assert!(Cause::parse(bad).is_err(), "{bad}");
        }
    }
}
