//! Which outcome is which state at a forge, and in which words. Nothing of a failure's own words is shown there: a repository may be
//! public, and what stands in the journal is not.

use crate::forge::DeploymentState;
use crate::forge::StatusState;
use crate::model::OrderKind;
use crate::model::Outcome;
use crate::model::Says;
use crate::model::State;
use crate::model::WaitsFor;
use crate::store::Deployment;

/// What a forge shows of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) deployment: DeploymentState,
    pub(super) status: StatusState,
    pub(super) text: &'static str,
}

const fn words(deployment: DeploymentState, status: StatusState, text: &'static str) -> Words {
    Words { deployment, status, text }
}

const QUEUED: Words = words(DeploymentState::Queued, StatusState::Pending, "Waiting for its turn");
const UNAPPROVED: Words = words(DeploymentState::Queued, StatusState::Pending, "Waiting for an approval");
const IN_PROGRESS: Words = words(DeploymentState::InProgress, StatusState::Pending, "Being deployed");
const REPLACED: Words = words(DeploymentState::Inactive, StatusState::Failure, "Rolled back later: another release serves in its place");

/// What is shown when `says` is said of `deployment`.
pub(super) fn of(says: Says, deployment: &Deployment) -> Words {
    match (says, &deployment.state) {
        (Says::Replaced, _) => REPLACED,
        (Says::Queued, State::Waiting { waits_for: WaitsFor::Approval }) => UNAPPROVED,
        (Says::Queued, _) => QUEUED,
        (Says::Ended, State::Done { outcome }) => of_outcome(outcome, deployment.order.kind),
        (Says::InProgress | Says::Ended, _) => IN_PROGRESS,
    }
}

fn of_outcome(outcome: &Outcome, kind: OrderKind) -> Words {
    let success = |text| words(DeploymentState::Success, StatusState::Success, text);
    let failure = |text| words(DeploymentState::Failure, StatusState::Failure, text);
    let error = |text| words(DeploymentState::Error, StatusState::Error, text);
    let not_carried_out = |text| words(DeploymentState::Inactive, StatusState::Error, text);
    match outcome {
        Outcome::Live { .. } if kind == OrderKind::Rollback => success("Rollback done: this release serves again"),
        Outcome::Live { page_seen: true, .. } => success("Live: verified from outside"),
        Outcome::Live { page_seen: false, .. } => success("Live: healthy; the page was not looked at"),
        Outcome::DryRun { .. } => success("Dry run: nothing was changed"),
        Outcome::RolledBack { .. } => failure("Failed and rolled back: the previous release serves again"),
        Outcome::Refused { .. } => failure("Refused: nothing was changed"),
        Outcome::Failed { .. } => failure("Failed: nothing was changed"),
        Outcome::NeedsOperator { .. } => failure("Failed: left as it is for an operator"),
        Outcome::RollbackFailed { .. } => error("Failed, and restoring the previous release failed too"),
        Outcome::Broken { .. } => error("Failed, and there is no previous release to restore"),
        Outcome::Superseded { .. } => not_carried_out("Superseded by a newer order while it waited"),
        Outcome::Cancelled { changed: false, .. } => not_carried_out("Cancelled: nothing was changed"),
        Outcome::Cancelled { brought_back: true, .. } => not_carried_out("Cancelled: the previous release serves again"),
        Outcome::Cancelled { .. } => error("Cancelled: the previous release was not restored"),
    }
}

/// Whether the release that was live before does not serve any more.
pub(super) fn ends_the_one_before(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Live { .. } | Outcome::RollbackFailed { .. } | Outcome::Broken { .. } | Outcome::NeedsOperator { .. } => true,
        Outcome::Cancelled { changed, brought_back, .. } => *changed && !brought_back,
        Outcome::RolledBack { .. }
        | Outcome::Superseded { .. }
        | Outcome::Refused { .. }
        | Outcome::Failed { .. }
        | Outcome::DryRun { .. } => false,
    }
}
