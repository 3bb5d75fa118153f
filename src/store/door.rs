//! What an order is decided by when it comes: facts, and who decides over them.

use crate::model::Order;
use crate::model::OrderKind;
use crate::model::Refusal;
use crate::store::Hold;

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
    /// Decides whether the order is taken. It is asked within the transaction that takes it, and only when the order was not
    /// taken before.
    pub door: fn(&AtTheDoor<'_>) -> Result<(), Refusal>,
}

/// The facts when an order comes; those of the store were read in the transaction that takes it.
#[derive(Debug)]
pub struct AtTheDoor<'a> {
    /// The order.
    pub order: &'a Order,
    /// Whether its images are those of a recorded release, and not to be asked for at the registry.
    pub is_recorded: bool,
    /// What it is bound by.
    pub terms: &'a Terms,
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

/// A verified deployment, by the number of the forge's run that ordered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landed {
    /// That number.
    pub run_number: i64,
    /// The deployment.
    pub by: String,
}
