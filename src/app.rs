//! Builds everything from the configuration; starts and stops it in order.

mod carrier;
mod data_dir;
mod lines;
mod proof;

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use actix_web::web;
use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use process::Cancel;
use process::Passing;
use tokio::sync::mpsc;
use tokio::sync::oneshot;

use crate::agent::Agent;
use crate::agent::Dial;
use crate::api;
use crate::clock;
use crate::config::Config;
use crate::config::Live;
use crate::config::Server;
use crate::engine;
use crate::executor;
use crate::executor::Agents;
use crate::executor::Executor;
use crate::executor::Here;
use crate::forge::Forges;
use crate::http;
use crate::http::Capacity;
use crate::http::Hashing;
use crate::http::Listening;
use crate::http::Readers;
use crate::http::RefusedCalls;
use crate::http::Repeats;
use crate::http::Rooms;
use crate::http::Rotations;
use crate::http::Shared;
use crate::journal::Hub;
use crate::landing::Books;
use crate::landing::Host;
use crate::line::Presence;
use crate::notices::Notices;
use crate::oidc::KeySets;
use crate::orders::Deployer;
use crate::reload::Reloader;
use crate::results::Results;
use crate::store;
use crate::store::MARK_KEY;
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::watch::Watcher;

pub use carrier::Carrier;
pub use data_dir::{ASIDE, LOCK_FILE, close_data_dir, lock_data_dir};
pub use proof::prove;

/// How much the large bodies that are read at a time may take together.
const LARGE_BODIES_BYTES: usize = 4 << 20;

/// How long datasets may take to stop: a push in flight is let finish.
const STOP_DATASETS: Duration = Duration::from_secs(20);

/// A server that serves and carries out orders.
pub struct App {
    listening: Listening,
    shared: web::Data<Shared>,
    /// The configuration of the start, which some keys keep until the next one.
    started: Arc<Config>,
    queue: tokio::task::JoinHandle<()>,
    /// Tells forges what has become of orders.
    telling: tokio::task::JoinHandle<()>,
    /// Looks at what is live.
    watching: tokio::task::JoinHandle<()>,
    /// Tells people what happened.
    noticing: tokio::task::JoinHandle<()>,
    /// Serves lines to control planes.
    agent: Arc<Agent>,
    stop: Cancel,
    _data_lock: File,
}

/// As many connections as the configuration asks for, if this process may have so many files open.
fn capacity(server: &Server) -> Capacity {
    let open_files = process::raise_open_files();
    let capacity = Capacity::of(server, open_files);
    if capacity.connections < server.max_connections {
        let connections = capacity.connections;
        tracing::warn!(
            open_files,
            connections,
            "the limit of open files (ulimit -n, LimitNOFILE) allows fewer connections than max_connections"
        );
    }
    capacity
}

/// The Docker daemon of the configuration. Who listens to its events is found by a lock in the data folder when we have died.
async fn daemon(config: &Config) -> engine::Daemon {
    let docker = config.docker.clone();
    let mask = Arc::clone(&config.mask);
    match data_dir::events_lock(&config.server.data_dir).await {
        Ok(lock) => engine::Daemon::leashed(docker, mask, lock.file()),
        Err(error) => {
            tracing::warn!(%error, "a client that listens to Docker's events may outlive this process");
            engine::Daemon::new(docker, mask)
        }
    }
}

/// The name of this executor and the database. What earlier lives left that was needed only for a moment is gone afterwards.
async fn record(config: &Config) -> anyhow::Result<(String, Store)> {
    process::remove_passing(&config.server.passing_dir());
    let executor = executor::executor_id(&config.server.data_dir).context("The file executor-id in server.data_dir cannot be written.")?;
    let store = Store::open(&config.server.data_dir, config.store.postgres.as_ref()).await?;
    Ok((executor, store))
}

fn datasets(config: &Config, store: &Store, metrics: &Arc<Metrics>, executor: String) -> anyhow::Result<Arc<Reloader>> {
    let reloader = Reloader::new(config, store.clone(), Arc::clone(metrics), executor);
    Ok(Arc::new(reloader.context("The HTTP client could not be set up")?))
}

/// The configuration in `file`, of which the log says what it changes and what of that has to wait for a restart.
fn changed(file: &Path, last: &Config, first: &Config) -> Option<Config> {
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(error) => {
            let problems = error.problems.join(" ");
            tracing::error!(file = %file.display(), problems, "the configuration could not be read again; the previous one stays in effect");
            return None;
        }
    };
    let difference = config.difference(last, first);
    let changed = if difference.in_force.is_empty() { "nothing".to_owned() } else { difference.in_force.join(", ") };
    tracing::info!(file = %file.display(), changed, "the configuration was read again");
    if !difference.needs_restart.is_empty() {
        let keys = difference.needs_restart.join(", ");
        tracing::warn!(
            keys,
            "these keys differ from what the server was started with and count after a restart: systemctl restart tagalong"
        );
    }
    Some(config)
}

/// What follows the datasets and takes no calls.
pub struct Daemon {
    config: Live<Config>,
    started: Arc<Config>,
    reloader: Arc<Reloader>,
    store: Store,
    _data_lock: File,
}

impl Daemon {
    /// Starts to follow every dataset of `config`.
    ///
    /// # Errors
    /// When the data folder or the database cannot be had; the text says what to change.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let live = Live::new(config);
        let started = live.now();
        let data_lock = lock_data_dir(&started.server.data_dir)?;
        let (executor, store) = record(&started).await?;
        let reloader = datasets(&started, &store, &Arc::new(Metrics::new([])), executor)?;
        reloader.start();
        Ok(Self { config: live, started, reloader, store, _data_lock: data_lock })
    }

    /// Puts a changed configuration in force. Data folder and database stay.
    pub fn read_again(&self, file: &Path) {
        let Some(config) = changed(file, &self.config.now(), &self.started) else { return };
        self.reloader.read_again(&config);
        self.config.read_again(config);
    }

    /// Stops. Own commits get one last try.
    pub async fn stop(self) {
        let _ = tokio::time::timeout(STOP_DATASETS, self.reloader.stop()).await;
        self.store.close().await;
    }
}

/// The record of datasets, read while nobody serves.
pub struct Record {
    reloader: Arc<Reloader>,
    /// Where nothing was recorded yet, an empty record stands for it.
    _empty: Option<Passing>,
}

impl Record {
    /// Opens what was recorded; nothing is made in the data folder.
    ///
    /// # Errors
    /// When the database cannot be opened.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = &config.server.data_dir;
        let is_there = config.store.postgres.is_some() || dir.join(store::SQLITE_FILE).exists();
        let empty = if is_there { None } else { Some(Passing::anywhere().context("A temporary folder could not be created")?) };
        let store = Store::open(empty.as_ref().map_or(dir, |empty| empty.path()), config.store.postgres.as_ref()).await?;
        let executor = std::fs::read_to_string(dir.join("executor-id")).unwrap_or_default().trim().to_owned();
        Ok(Self { reloader: datasets(config, &store, &Arc::new(Metrics::new([])), executor)?, _empty: empty })
    }

    /// How every dataset stands.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn datasets(&self) -> anyhow::Result<Vec<api::Dataset>> {
        Ok(self.reloader.datasets().await?)
    }
}

/// The file is read again and what it says now is in force, unless it is wrong.
fn put_in_force(shared: &Shared, started: &Config, file: &Path) -> bool {
    // One after the other: what was read first must not take the place of what was read later.
    let _turn = shared.reading.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(config) = changed(file, &shared.config.now(), started) else { return false };
    shared.reloader.read_again(&config);
    shared.deployer.agents().read_again(config);
    shared.deployer.read_again();
    shared.watcher.read_again();
    shared.notices.read_again();
    shared.followers.look_again();
    true
}

/// Reads the configuration again for everybody who asks over the interface, until nobody can ask any more.
async fn read_when_asked(shared: web::Data<Shared>, started: Arc<Config>, mut asked: mpsc::Receiver<oneshot::Sender<bool>>) {
    while let Some(tell) = asked.recv().await {
        // Who asked may have gone away.
        let _ = tell.send(put_in_force(&shared, &started, &started.file));
    }
}

/// A server that answers, and works at nothing yet.
struct Built {
    listening: Listening,
    shared: web::Data<Shared>,
    started: Arc<Config>,
    results: Arc<Results>,
    notices: Arc<Notices>,
    asked_again: mpsc::Receiver<oneshot::Sender<bool>>,
    /// The line to the control plane, where this host is an agent.
    dial: Option<Dial>,
    data_lock: File,
}

impl Built {
    async fn of(config: Config) -> anyhow::Result<Self> {
        // Both sides of TLS use the same provider; a second start in one process keeps the first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let live = Live::new(config);
        let config = live.now();
        let data_lock = lock_data_dir(&config.server.data_dir)?;
        let (executor, store) = record(&config).await?;
        let token_key = store.named_value("token_key", random_key).await?.into_bytes();
        let mark_key = store.named_value(MARK_KEY, random_key).await?.into_bytes();
        let metrics = Arc::new(Metrics::new(config.services.keys()));
        let reloader = datasets(&config, &store, &metrics, executor.clone())?;
        let hub = Hub::default();
        let host = host(&config, daemon(&config).await, &store).await?;
        let books = Books { store: store.for_runs(), hub: hub.clone(), metrics: Arc::clone(&metrics) };
        let forges = Arc::new(Forges::new(live.clone()));
        let results = Arc::new(Results::new(live.clone(), store.clone(), forges, &executor));
        let notices = Arc::new(Notices::new(live.clone(), store.clone(), Arc::clone(&metrics), &executor));
        let capacity = capacity(&config.server);
        let presence = Presence::new(capacity.agents);
        let agents = Agents::new(live.clone(), books.clone(), Arc::clone(&presence)).await?;
        let executor = Executor::new(Here::new(executor, host, books), Arc::new(agents));
        let deployer = Deployer::new(live.clone(), store.clone(), hub.clone(), Arc::clone(&metrics), executor, Arc::clone(&results));
        let deployer = Arc::new(deployer);
        let watcher = Arc::new(Watcher::new(live.clone(), &store, Arc::clone(&deployer), Arc::clone(&metrics)));
        let dialled = config.agent.as_ref().map(|to| Dial::new(live.clone(), to)).unzip();
        let lines = lines::agent_lines(&config, presence, deployer.executor(), dialled.1)?;
        let (read_again, asked_again) = mpsc::channel(1);
        let large_bodies = Rooms::new((LARGE_BODIES_BYTES / config.server.body_limit_bytes).max(2));
        let shared = web::Data::new(Shared {
            config: live,
            store,
            hub,
            metrics,
            deployer,
            watcher,
            reloader,
            notices: Arc::clone(&notices),
            token_key,
            followers: Arc::default(),
            readers: Readers::default(),
            key_sets: KeySets::default(),
            refused: RefusedCalls::default(),
            repeats: Repeats::default(),
            rotations: Rotations::new(mark_key),
            read_again,
            reading: Mutex::default(),
            most_followers: capacity.followers,
            large_bodies,
            dashboard: http::Dashboard::default(),
            hashing: Hashing::default(),
            lines,
        });
        shared.store.no_agent_of(&shared.lines.holder).await?;
        let listening = http::serve(&config.server, capacity, shared.clone()).await.context("The server could not start listening")?;
        Ok(Self { listening, shared, started: config, results, notices, asked_again, dial: dialled.0, data_lock })
    }
}

/// A new key of the store's own.
fn random_key() -> String {
    STANDARD.encode(clock::random_bytes::<32>())
}

/// This host, as runs see it.
async fn host(config: &Config, daemon: engine::Daemon, store: &Store) -> anyhow::Result<Host> {
    let fingerprint_key = store.named_value("fingerprint_key", random_key).await?.into_bytes();
    Ok(Host::new(config, daemon, fingerprint_key))
}

impl App {
    /// Starts everything: when this returns, calls are answered and the queue works.
    ///
    /// # Errors
    /// When the data folder, the database or an address cannot be had; the text says what to change.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let Built { listening, shared, started, results, notices, asked_again, dial, data_lock } = Built::of(config).await?;
        let stop = Cancel::default();
        let queue = tokio::spawn(Arc::clone(&shared.deployer).work(stop.clone()));
        let telling = tokio::spawn(results.work(stop.clone()));
        let watching = tokio::spawn(Arc::clone(&shared.watcher).work(stop.clone()));
        let noticing = tokio::spawn(notices.work(stop.clone()));
        tokio::spawn(read_when_asked(shared.clone(), Arc::clone(&started), asked_again));
        shared.reloader.start();
        let agent = lines::work_beside(&shared, &started, dial, &stop)?;
        Ok(Self { listening, shared, started, queue, telling, watching, noticing, agent, stop, _data_lock: data_lock })
    }

    /// The TCP addresses that are listened on.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.listening.addresses
    }

    /// Whether a control plane is connected, or an order has not ended. An answer that cannot be had is yes.
    pub async fn is_needed(&self) -> bool {
        self.agent.is_needed().await.unwrap_or(true)
    }

    /// What requests are answered from, for what runs in the same process.
    #[must_use]
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Puts a changed configuration in force without losing a request. Addresses, data folder and database stay.
    pub fn read_again(&self, file: &Path) {
        put_in_force(&self.shared, &self.started, file);
    }

    /// Stops: no more calls, then no more work. What is being carried out is continued by the next start.
    pub async fn stop(self) {
        self.shared.lines.presence.stop();
        self.listening.stop().await;
        self.stop.cancel();
        let datasets = tokio::time::timeout(STOP_DATASETS, self.shared.reloader.stop());
        let telling = tokio::time::timeout(Duration::from_secs(10), self.telling);
        let watching = tokio::time::timeout(Duration::from_secs(10), self.watching);
        let noticing = tokio::time::timeout(Duration::from_secs(10), self.noticing);
        let _ = tokio::join!(tokio::time::timeout(Duration::from_secs(10), self.queue), telling, watching, noticing, datasets);
        self.shared.store.close().await;
    }
}
