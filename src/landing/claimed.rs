//! What a run begins with.

use std::sync::Arc;

use crate::config::Service;
use crate::model::Guard;
use crate::store::Deployment;
use crate::store::RunLease;

/// An order whose turn it is, and which is this executor's now.
#[derive(Debug)]
pub struct Claimed {
    /// The order and what the record has of it.
    pub deployment: Deployment,
    /// Its service, as it is configured now.
    pub service: Arc<Service>,
    /// Its right to act on the host.
    pub lease: RunLease,
    /// Whether tagalong had begun it before its last restart.
    pub recovered: bool,
    /// Why a guard refuses it now that its turn has come: then it ends `refused`, unless it has already changed the host.
    pub objection: Option<Objection>,
}

/// Why a guard says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objection {
    /// Which guard.
    pub guard: Guard,
    /// Why.
    pub why: String,
}
