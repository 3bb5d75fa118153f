//! The story of one release on one host: what is ordered is resolved, pinned, brought up, looked at, and undone when it does not
//! hold. It knows the host, and neither queue nor callers.
//!
//! Begin with `run.rs`: its story function reads aloud what one run does. `release.rs` has the values that its steps hand on,
//! `undo.rs` the other story.

mod adopt;
mod bring_up;
mod health;
mod hooks;
mod lock;
mod past;
mod pin;
mod preflight;
mod pull;
mod record;
mod release;
mod resolve;
mod restart;
mod retain;
mod run;
mod seen;
mod site;
mod smoke_step;
mod stack;
mod stop;
mod undo;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::RwLock;

use tokio::sync::OnceCell;

use crate::config::Config;
use crate::config::Service;
use crate::engine::Server;
use crate::model::Guard;
use crate::model::ServiceName;
use crate::registry::Registries;
use crate::store::Deployment;

pub use past::left_half_way;
pub use record::{Books, Record};
pub use run::land;

/// Who holds the lock of a stack's folder: it is taken here, by every run.
pub use crate::process::{Holder, holders};

/// What every run on this host shares.
#[derive(Debug)]
pub struct Host {
    live: RwLock<Arc<Live>>,
    /// Who the Docker daemon is: it does not change while a server lives.
    docker: OnceCell<Server>,
    /// Keys the fingerprints that stand for secret values in stored configurations.
    fingerprint_key: Vec<u8>,
}

/// What of the configuration is in force for all runs.
#[derive(Debug)]
struct Live {
    registries: Registries,
    /// How many verified releases of each service stay on the host.
    keeps: BTreeMap<ServiceName, usize>,
}

impl Live {
    fn of(config: &Config) -> Arc<Self> {
        Arc::new(Self {
            registries: Registries::new(config.docker.clone(), config.registries.clone()),
            keeps: config.services.values().map(|service| (service.name.clone(), service.keep)).collect(),
        })
    }
}

impl Host {
    /// A host on which nothing was carried out yet.
    #[must_use]
    pub fn new(config: &Config, fingerprint_key: Vec<u8>) -> Self {
        Self { live: RwLock::new(Live::of(config)), docker: OnceCell::new(), fingerprint_key }
    }

    /// Every run from now on asks the registries and keeps images as `config` says.
    pub fn set_config(&self, config: &Config) {
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = Live::of(config);
    }

    fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }
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
