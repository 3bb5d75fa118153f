//! What an order is decided by when it comes: facts, and who decides over them.

use crate::config::Admission;
use crate::model::ImageRef;
use crate::model::Order;
use crate::model::OrderKind;
use crate::model::Refusal;
use crate::model::RollbackTo;
use crate::store::Deployment;
use crate::store::Hold;
use crate::store::Listed;
use crate::store::StoreError;

/// What an acceptance is bound by.
#[derive(Debug, Clone)]
pub struct Terms {
    /// How many orders may wait in all.
    pub max_waiting: i64,
    /// How long a rollback holds the service, ms; none: until a person ends it.
    pub hold_ms: Option<i64>,
    /// Tags that may be landed; none: any.
    pub tag_pattern: Option<regex::Regex>,
    /// How many images the service pins.
    pub pins: usize,
    /// What an order to deploy must show of the repository.
    pub admission: Admission,
    /// What a guard that looks further than the database has against the order, asked right before.
    pub objection: Option<Refusal>,
    /// Decides whether the order is taken, and what it lands. It is asked within the transaction that takes it, and only when the
    /// order was not taken before.
    pub door: fn(AtTheDoor<'_>) -> Result<Taken, OrderError>,
}

/// Which release an order is for.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// What the order itself says: its tag, or what runs.
    Ordered,
    /// The images of an earlier order, which is carried out once more.
    Recorded(Vec<ImageRef>),
    /// The release of the record to which a rollback goes back.
    Back(RollbackTo),
    /// The last verified release of the record.
    LastVerified,
}

/// An order as it is taken: it says what the record has of its release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The order.
    pub order: Order,
    /// The images of a recorded release; empty: they are asked for at the registry, or are those that run.
    pub images: Vec<ImageRef>,
}

/// Why an order was not taken. Nothing was recorded or changed.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// It is refused.
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

/// The facts when an order comes; those of the store were read in the transaction that takes it.
#[derive(Debug)]
pub struct AtTheDoor<'a> {
    /// The order.
    pub order: &'a Order,
    /// Which release it is for.
    pub wanted: &'a Wanted,
    /// What it is bound by.
    pub terms: &'a Terms,
    /// What the record says about the releases of the service, as far as the order goes by it.
    pub releases: Releases,
    /// What holds the service, or held it until its time was over.
    pub hold: Option<&'a Hold>,
    /// The newest verified deployment that has a run number.
    pub landed: Option<&'a Landed>,
    /// What the order wants that waits for the service.
    pub waits: Option<OrderKind>,
    /// How many orders wait, of all services.
    pub waiting: i64,
    /// The time (ms since 1970, UTC).
    pub now_ms: i64,
}

/// What the record says about the releases of a service, without what is for their runs alone.
#[derive(Debug, Default)]
pub struct Releases {
    /// The verified ones, newest first.
    pub verified: Vec<Result<Deployment, StoreError>>,
    /// What runs and what waits.
    pub unfinished: Listed,
    /// The last ended deployment that changed the host.
    pub last_change: Option<Result<Deployment, StoreError>>,
}

/// A verified deployment, by the number of the forge's run that ordered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landed {
    /// That number.
    pub run_number: i64,
    /// The deployment.
    pub by: String,
}
