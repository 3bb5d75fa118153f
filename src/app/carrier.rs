//! The process that carries one deployment out while the stack that tagalong runs in is replaced.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use process::Cancel;

use crate::app::host;
use crate::config::Config;
use crate::config::Live;
use crate::engine::Daemon;
use crate::executor::Agents;
use crate::executor::Executor;
use crate::executor::Here;
use crate::forge::Forges;
use crate::journal::Hub;
use crate::landing::Books;
use crate::line::Presence;
use crate::model::DeploymentId;
use crate::orders::Deployer;
use crate::results::Results;
use crate::store::Store;
use crate::telemetry::Metrics;

/// How long until a container that could not be removed is removed again, by being started again.
const AGAIN: Duration = Duration::from_secs(5);

/// It serves nobody, and works at one deployment.
pub struct Carrier {
    store: Store,
    deployer: Arc<Deployer>,
    id: DeploymentId,
}

impl Carrier {
    /// Opens the store beside the server that serves; nothing is carried out yet.
    ///
    /// # Errors
    /// When the database cannot be opened; the text says what to change.
    pub async fn start(config: Config, id: DeploymentId) -> anyhow::Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let live = Live::new(config);
        let config = live.now();
        let store = Store::open(&config.server.data_dir, config.store.postgres.as_ref()).await?;
        let metrics = Arc::new(Metrics::new(config.services.keys()));
        let hub = Hub::default();
        let books = Books { store: store.for_runs(), hub: hub.clone(), metrics: Arc::clone(&metrics) };
        let daemon = Daemon::new(config.docker.clone(), Arc::clone(&config.mask));
        let host = host(&config, daemon, &store).await?;
        let agents = Arc::new(Agents::new(live.clone(), books.clone(), Presence::new(0)).await?);
        let executor = Executor::new(Here::carrier(&id, host, books), agents);
        let forges = Arc::new(Forges::new(live.clone()));
        let results = Arc::new(Results::new(live.clone(), store.clone(), forges, executor.id()));
        let deployer = Arc::new(Deployer::new(live, store.clone(), hub, metrics, executor, results));
        Ok(Self { store, deployer, id })
    }

    /// Carries the deployment out. When it has ended, the container that this process runs in is removed, and with it this process;
    /// else this process ends with an error, and is started again by Docker.
    ///
    /// # Errors
    /// When the database does not answer, the deployment is somebody else's, or the container could not be removed.
    pub async fn carry(self, stop: Cancel) -> anyhow::Result<()> {
        let has_ended = Arc::clone(&self.deployer).carry(&self.id, stop.clone()).await?;
        if stop.is_cancelled() {
            self.store.close().await;
            return Ok(());
        }
        anyhow::ensure!(has_ended, "The deployment {} has not ended; it is carried on by the next start.", self.id);
        let removed = self.deployer.remove_carrier(&self.id).await;
        self.store.close().await;
        tokio::time::sleep(AGAIN).await;
        removed?.with_context(|| format!("The container of {} is left for a person: remove it by `docker rm --force`", self.id))
    }
}
