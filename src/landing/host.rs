//! The host: what every run on it shares.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::RwLock;

use tokio::sync::OnceCell;

use crate::config::Config;
use crate::config::Service;
use crate::engine::Daemon;
use crate::engine::Engine;
use crate::engine::Server;
use crate::landing::tidied::Tidied;
use crate::model::ServiceName;
use crate::registry::Registries;

/// What every run on this host shares.
#[derive(Debug)]
pub struct Host {
    live: RwLock<Arc<Live>>,
    /// Who the Docker daemon is: it does not change while a server lives.
    pub(super) docker: OnceCell<Server>,
    /// Keys the fingerprints that stand for secret values in stored configurations.
    pub(super) fingerprint_key: Vec<u8>,
    /// What is known of old images.
    pub(super) tidied: Tidied,
}

/// What of the configuration is in force for all runs.
#[derive(Debug)]
pub(super) struct Live {
    daemon: Daemon,
    pub(super) registries: Registries,
    /// Where files are that are needed only for a moment.
    pub(super) passing_dir: PathBuf,
    /// The file of the configuration.
    pub(super) config_file: PathBuf,
    /// How many verified releases of each service stay on the host.
    pub(super) keeps: BTreeMap<ServiceName, usize>,
}

impl Live {
    fn of(config: &Config, daemon: Daemon) -> Arc<Self> {
        Arc::new(Self {
            daemon,
            registries: Registries::new(config.docker.clone(), config.registries.clone()),
            passing_dir: config.server.passing_dir(),
            config_file: config.file.clone(),
            keeps: config.services.values().map(|service| (service.name.clone(), service.keep)).collect(),
        })
    }
}

impl Host {
    /// A host, whose Docker is `daemon`, on which nothing was carried out yet.
    #[must_use]
    pub fn new(config: &Config, daemon: Daemon, fingerprint_key: Vec<u8>) -> Self {
        Self { live: RwLock::new(Live::of(config, daemon)), docker: OnceCell::new(), fingerprint_key, tidied: Tidied::default() }
    }

    /// Every run from now on asks Docker and the registries and keeps images as `config` says.
    pub fn set_config(&self, config: &Config) {
        let daemon = self.live().daemon.configured(config.docker.clone(), Arc::clone(&config.mask));
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = Live::of(config, daemon);
    }

    /// The engine of a service's stack; none: the stack is not on this host. It holds no lock and waits for nothing: it is for looking
    /// only, until it gets both.
    #[must_use]
    pub fn engine(&self, service: &Service) -> Option<Engine> {
        Engine::of(&self.live().daemon, &service.stack)
    }

    pub(super) fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }
}
