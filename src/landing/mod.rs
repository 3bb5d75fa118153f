//! The story of one release on one host: what is ordered is resolved, pinned, brought up, looked at, and undone when it does not
//! hold. It knows the host, and neither queue nor callers.
//!
//! Begin with `run.rs`: its story function reads aloud what one run does.

mod adopt;
mod edited;
mod health;
mod hooks;
mod pull;
mod resolve;
mod restart;
mod retain;
mod run;
mod seen;
mod smoke_step;
mod stop;
mod undo;

use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::RwLock;

use tokio::sync::OnceCell;

use crate::config::Config;
use crate::config::Service;
use crate::engine::Server;
use crate::journal::Hub;
use crate::model::Guard;
use crate::registry::Registries;
use crate::store::Deployment;
use crate::store::Store;
use crate::telemetry::Metrics;

pub use run::carry_out;
pub use seen::health_word;
pub use undo::left_half_way;

/// Who holds the lock of a stack's folder: it is taken here, by every run.
pub use crate::process::{Holder, holders};

/// What every run on this host shares.
#[derive(Debug)]
pub struct Host {
    registries: RwLock<Arc<Registries>>,
    /// Who the Docker daemon is: it does not change while a server lives.
    docker: OnceCell<Server>,
    store: Store,
    hub: Hub,
    metrics: Arc<Metrics>,
    /// Keys the fingerprints that stand for secret values in stored configurations.
    fingerprint_key: Vec<u8>,
}

impl Host {
    /// A host on which nothing was carried out yet.
    #[must_use]
    pub fn new(config: &Config, store: Store, hub: Hub, metrics: Arc<Metrics>, fingerprint_key: Vec<u8>) -> Self {
        Self { registries: RwLock::new(registries(config)), docker: OnceCell::new(), store, hub, metrics, fingerprint_key }
    }

    /// Every run from now on asks the registries as `config` says.
    pub fn set_config(&self, config: &Config) {
        *self.registries.write().unwrap_or_else(PoisonError::into_inner) = registries(config);
    }

    fn registries(&self) -> Arc<Registries> {
        Arc::clone(&self.registries.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn registries(config: &Config) -> Arc<Registries> {
    Arc::new(Registries::new(config.docker.clone(), config.registries.clone()))
}

/// An order whose turn it is, and which is this executor's now.
#[derive(Debug)]
pub struct Claimed {
    /// The order and what the record has of it.
    pub deployment: Deployment,
    /// Its service, as it is configured now.
    pub service: Arc<Service>,
    /// Whether an earlier life began it already.
    pub recovered: bool,
    /// What speaks against it at its turn: it ends refused then, unless it has changed the host already.
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
