//! Every dataset of this server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::RwLock;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::config::Config;
use crate::model::CommitName;
use crate::model::DatasetName;
use crate::reload::call;
use crate::reload::reply::Ask;
use crate::reload::reply::Done;
use crate::reload::reply::Reply;
use crate::reload::reply::TellPeers;
use crate::reload::runner::Common;
use crate::reload::runner::Runner;
use crate::store::Store;
use crate::store::StoreError;
use crate::telemetry::Metrics;

/// The minimum number of hex digits of a full object name; git is asked about a longer one.
const SHORTEST_FULL: usize = 40;

/// Every dataset of this server.
#[derive(Debug)]
pub struct Reloader {
    runners: RwLock<BTreeMap<DatasetName, Arc<Runner>>>,
    pub(super) common: Arc<Common>,
    /// The notes, and when they were read.
    pub(super) noted: Mutex<Option<(Instant, Vec<String>)>>,
}

/// Why a reload was not even tried.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// There is no such dataset.
    #[error("There is no dataset {0}; `tagalong data status` lists the datasets.")]
    Unknown(DatasetName),
    /// The server is stopping, or its configuration has changed meanwhile.
    #[error("The dataset {0} is being stopped; try again.")]
    Stopping(DatasetName),
    /// The requested name cannot be a commit in this repository.
    #[error("{0} cannot be a commit of the dataset {1}: its commit names have {2} hex digits.")]
    NoName(CommitName, DatasetName, usize),
    /// The database does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Reloader {
    /// The datasets of `config`; nothing runs before [`Reloader::start`].
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(config: &Config, store: Store, metrics: Arc<Metrics>, executor: String) -> reqwest::Result<Self> {
        let http = call::client().build()?;
        let common = Arc::new(Common { store, metrics, executor, http });
        let runners = config.datasets.iter().map(|(name, plan)| (name.clone(), Runner::new(plan, &config.docker, &common))).collect();
        Ok(Self { runners: RwLock::new(runners), common, noted: Mutex::default() })
    }

    /// Starts following every dataset, without waiting for any of them.
    pub fn start(&self) {
        for runner in self.all() {
            runner.start(None);
        }
    }

    /// The configuration was read again: an unchanged dataset continues undisturbed, and a changed one starts again when
    /// everything that runs for it has ended.
    pub fn read_again(&self, config: &Config) {
        let mut runners = self.runners.write().unwrap_or_else(PoisonError::into_inner);
        let mut old = std::mem::take(&mut *runners);
        for (name, plan) in &config.datasets {
            let before = old.remove(name);
            let runner = match before {
                Some(runner) if runner.is_for(plan, &config.docker) => runner,
                before => {
                    let runner = Runner::new(plan, &config.docker, &self.common);
                    runner.start(before);
                    runner
                }
            };
            runners.insert(name.clone(), runner);
        }
        for gone in old.into_values() {
            gone.cancel();
        }
    }

    /// Stops following. When this returns, nothing that it started is running any more.
    pub async fn stop(&self) {
        let all = self.all();
        for runner in &all {
            runner.cancel();
        }
        for runner in all {
            runner.ended().await;
        }
    }

    pub(super) fn all(&self) -> Vec<Arc<Runner>> {
        self.runners.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(super) fn runner(&self, name: &DatasetName) -> Result<Arc<Runner>, ReloadError> {
        let runners = self.runners.read().unwrap_or_else(PoisonError::into_inner);
        runners.get(name).cloned().ok_or_else(|| ReloadError::Unknown(name.clone()))
    }

    /// Brings new data to the readers of `name`. The answer is about a reload that began after this call; a commit that is
    /// loaded already is answered without lock or fetch.
    ///
    /// # Errors
    /// [`ReloadError`]. A reload that failed is not an error but a [`Reply`].
    pub async fn reload(&self, name: &DatasetName, ask: &Ask) -> Result<Reply, ReloadError> {
        let runner = self.runner(name)?;
        let arrival = runner.arrive();
        let began = Instant::now();
        if ask.branch.as_deref().is_some_and(|branch| !runner.follows(branch)) {
            let loaded = runner.loaded();
            return Ok(Reply { done: Done::Ignored, loaded, contained: None, peers: Vec::new(), took: began.elapsed() });
        }
        if let Some(commit) = ask.commit.as_ref().filter(|commit| commit.as_str().len() > SHORTEST_FULL)
            && let Some(digits) = runner.digits().await.filter(|digits| commit.as_str().len() > *digits)
        {
            return Err(ReloadError::NoName(commit.clone(), name.clone(), digits));
        }
        let is_loaded = match &ask.commit {
            Some(commit) => runner.serves(commit).await,
            None => false,
        };
        let done = if is_loaded {
            Done::Contained
        } else {
            Done::Ran(runner.ask(arrival, ask.peers).await.ok_or_else(|| ReloadError::Stopping(name.clone()))?)
        };
        let contained = match &ask.commit {
            Some(commit) => Some(is_loaded || runner.serves(commit).await),
            None => None,
        };
        let loaded = runner.loaded();
        let peers = match ask.peers {
            TellPeers::Now => runner.tell_peers(&done, ask.commit.as_ref()).await?,
            TellPeers::Later | TellPeers::Never => Vec::new(),
        };
        Ok(Reply { done, loaded, contained, peers, took: began.elapsed() })
    }
}
