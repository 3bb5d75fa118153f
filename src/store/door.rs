//! The facts by which an order is accepted or refused, and the function that decides.

use crate::config::Admission;
use crate::model::Approved;
use crate::model::DeploymentId;
use crate::model::ImageRef;
use crate::model::Order;
use crate::model::OrderKind;
use crate::model::Refusal;
use crate::model::RollbackTo;
use crate::store::Deployment;
use crate::store::Hold;
use crate::store::Listed;
use crate::store::StoreError;

/// The limits and rules for accepting an order.
#[derive(Debug, Clone)]
pub struct Terms {
    /// How many orders of all services may wait.
    pub max_waiting: i64,
    /// How long a rollback holds the service, in ms; none: until somebody ends the hold.
    pub hold_ms: Option<i64>,
    /// The tags that may be deployed; none: any.
    pub tag_pattern: Option<regex::Regex>,
    /// How many images the service pins.
    pub pins: usize,
    /// What an order to deploy must prove about its repository.
    pub admission: Admission,
    /// Whether it waits for somebody's approval before anything else.
    pub awaits_approval: bool,
    /// Why a guard that looks further than the database refuses the order; it is asked right before.
    pub objection: Option<Refusal>,
    /// Whether a guard is asked about orders to deploy which is not asked about what was landed before.
    pub is_guarded: bool,
    /// The id that another tagalong has given it; none: it gets one here.
    pub given: Option<DeploymentId>,
    /// The images of which another tagalong says that it lands these very ones, or none, unless they are those of the record.
    pub approved: Option<Approved>,
    /// Decides whether the order is accepted, and which release it deploys. It is called within the transaction that accepts the order, and
    /// not for a repeated delivery.
    pub door: fn(AtTheDoor<'_>) -> Result<Taken, OrderError>,
}

/// Which release an order is for.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// The release that the order itself names by its tag, or the one that is running.
    Ordered,
    /// The last verified release with exactly these images: an earlier order to go back to it is carried out again.
    Recorded(Vec<ImageRef>),
    /// The same, or, where the record has none, what the order itself names by its tag: another tagalong says that it was verified.
    Named(Vec<ImageRef>),
    /// The recorded release that a rollback restores.
    Back(RollbackTo),
    /// The last release that was verified before that deployment. The service is not held for it.
    Before(DeploymentId),
    /// The last verified release in the record.
    LastVerified,
}

/// An accepted order, completed with what the record says about its release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The order.
    pub order: Order,
    /// The images of a recorded release. Empty: they are resolved from the registry, or are those that are running.
    pub images: Vec<ImageRef>,
}

/// Why an order was not accepted. Nothing was recorded or changed.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// A guard refused the order.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for OrderError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(StoreError::Query(error))
    }
}

/// The facts when an order arrives; those of the database were read in the transaction that accepts it.
#[derive(Debug)]
pub struct AtTheDoor<'a> {
    /// The order.
    pub order: &'a Order,
    /// Which release it is for.
    pub wanted: &'a Wanted,
    /// The limits and rules.
    pub terms: &'a Terms,
    /// What the record says about the releases of the service, if the order refers to a recorded release.
    pub releases: Releases,
    /// The service's hold, also one whose time is over.
    pub hold: Option<&'a Hold>,
    /// The newest verified deployment that has a run number.
    pub landed: Option<&'a Landed>,
    /// The order that is waiting for the service.
    pub waits: Option<&'a Waits>,
    /// How many orders of all services are waiting.
    pub waiting: i64,
    /// The current time (ms since 1970, UTC).
    pub now_ms: i64,
}

/// A waiting order.
#[derive(Debug, Clone)]
pub struct Waits {
    /// Its deployment.
    pub id: DeploymentId,
    /// What it wants.
    pub kind: OrderKind,
    /// Whether nobody has approved of it yet who must.
    pub is_unapproved: bool,
}

/// What the record says about the releases of a service, without the columns that only their runs need.
#[derive(Debug, Default)]
pub struct Releases {
    /// The verified deployments, newest first.
    pub verified: Vec<Result<Deployment, StoreError>>,
    /// The running and the waiting deployment.
    pub unfinished: Listed,
    /// The last ended deployment that changed the host.
    pub last_change: Option<Result<Deployment, StoreError>>,
}

/// A verified deployment that was ordered by a numbered run of the forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landed {
    /// The number of that run.
    pub run_number: i64,
    /// The deployment.
    pub by: String,
}
