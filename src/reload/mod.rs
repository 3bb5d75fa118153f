//! Reloads: new data of a dataset comes to its readers, the app is told and asked, and others hear of it.
//!
//! Begin with `run.rs`: its story function reads aloud what one reload does. `runner.rs` says when one is done: one at a time
//! for each dataset, on a call, on a timer, or because the push of own commits found the remote moved on.

mod app;
mod note;
mod peers;
mod run;
mod runner;
mod state;
mod sync;
mod verify;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::api;
use crate::config::Config;
use crate::model::Commit;
use crate::model::CommitName;
use crate::model::DatasetName;
use crate::reload::runner::Runner;
use crate::store::Store;
use crate::store::StoreError;
use crate::telemetry::Metrics;

pub use run::{Load, Ran};
pub use sync::{Synced, sync};

/// So many hex digits have full object names at least; a longer one is asked about.
const SHORTEST_FULL: usize = 40;

/// What every dataset needs.
#[derive(Debug)]
struct Common {
    store: Store,
    metrics: Arc<Metrics>,
    executor: String,
    http: reqwest::Client,
}

/// Every dataset of this server.
#[derive(Debug)]
pub struct Reloader {
    runners: RwLock<BTreeMap<DatasetName, Arc<Runner>>>,
    common: Arc<Common>,
    /// The notes, and when they were taken.
    noted: Mutex<Option<(Instant, Vec<String>)>>,
}

/// Why a reload was not even tried.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// There is no such dataset.
    #[error("There is no dataset {0}; `tagalong data status` lists the datasets.")]
    Unknown(DatasetName),
    /// The server stops, or its configuration has changed meanwhile.
    #[error("The dataset {0} is being stopped; try again.")]
    Stopping(DatasetName),
    /// What was asked for can be the name of no commit in this repository.
    #[error("{0} is no object name of the dataset {1}, whose names have {2} hex digits.")]
    NoName(CommitName, DatasetName, usize),
    /// The database does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is asked of a dataset.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// The branch that moved, when the caller knows.
    pub branch: Option<String>,
    /// The commit that should be served, when the caller knows.
    pub commit: Option<CommitName>,
    /// When peers hear of it.
    pub peers: TellPeers,
}

/// When peers hear of what is new.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TellPeers {
    /// After the answer.
    #[default]
    Later,
    /// Before it; their answers are part of it.
    Now,
    /// Not by us: who asks tells them.
    Never,
}

/// What became of an [`Ask`].
#[derive(Debug, Clone)]
pub struct Reply {
    /// What was done.
    pub done: Done,
    /// The commit that the app has loaded last.
    pub loaded: Option<Commit>,
    /// Whether the commit that was asked for is in it; none was asked for: none.
    pub contained: Option<bool>,
    /// What peers said, when they were asked.
    pub peers: Vec<api::PeerAnswer>,
    /// How long it took.
    pub took: Duration,
}

/// What was done for an [`Ask`].
#[derive(Debug, Clone)]
pub enum Done {
    /// The branch is none of ours: nothing.
    Ignored,
    /// The commit is in what is loaded: nothing.
    Contained,
    /// A reload ran, and began after the call came.
    Ran(Arc<Ran>),
}

impl Reloader {
    /// The datasets of `config`; nothing runs before [`Reloader::start`].
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(config: &Config, store: Store, metrics: Arc<Metrics>, executor: String) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .pool_idle_timeout(api::IDLE_CONNECTION / 2)
            .user_agent(concat!("tagalong/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let common = Arc::new(Common { store, metrics, executor, http });
        let runners = config.datasets.iter().map(|(name, plan)| (name.clone(), Runner::new(plan, &config.docker, &common))).collect();
        Ok(Self { runners: RwLock::new(runners), common, noted: Mutex::default() })
    }

    /// Begins to follow every dataset. It does not wait for any of them.
    pub fn start(&self) {
        for runner in self.all() {
            runner.start(None);
        }
    }

    /// Puts another configuration in force: a dataset that is the same goes on untouched, one that has changed begins anew when
    /// what runs for it has ended.
    pub fn set_config(&self, config: &Config) {
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

    /// Stops following. When this returns, nothing that it started runs any more.
    pub async fn stop(&self) {
        let all = self.all();
        for runner in &all {
            runner.cancel();
        }
        for runner in all {
            runner.ended().await;
        }
    }

    fn all(&self) -> Vec<Arc<Runner>> {
        self.runners.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn runner(&self, name: &DatasetName) -> Result<Arc<Runner>, ReloadError> {
        let runners = self.runners.read().unwrap_or_else(PoisonError::into_inner);
        runners.get(name).cloned().ok_or_else(|| ReloadError::Unknown(name.clone()))
    }

    /// Brings what is new to the readers of `name`. The answer is of a reload that began after this was called; a commit that is
    /// loaded already is answered without lock or fetch.
    ///
    /// # Errors
    /// [`ReloadError`]. A reload that did not hold is no error but a [`Reply`].
    pub async fn reload(&self, name: &DatasetName, ask: &Ask) -> Result<Reply, ReloadError> {
        let (runner, began) = (self.runner(name)?, Instant::now());
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
        let done = if is_loaded { Done::Contained } else { Done::Ran(runner.ask(ask.peers).await?) };
        let contained = match &ask.commit {
            Some(commit) => Some(is_loaded || runner.serves(commit).await),
            None => None,
        };
        let loaded = runner.loaded();
        let peers = match ask.peers {
            TellPeers::Now => peers::tell_now(&runner, &done, ask.commit.as_ref()).await?,
            TellPeers::Later | TellPeers::Never => Vec::new(),
        };
        Ok(Reply { done, loaded, contained, peers, took: began.elapsed() })
    }
}

impl Reply {
    /// Whether the data that is served is as new as it can be had, with the commit that was asked for.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        let held = match &self.done {
            Done::Ignored | Done::Contained => true,
            Done::Ran(ran) => ran.is_ok(),
        };
        held && self.contained != Some(false)
    }

    /// Why it is not enough that a reload held: it did not bring the commit that was asked for.
    #[must_use]
    pub fn missing(&self) -> Option<String> {
        let text = "the commit that was asked for is not in what is loaded: the remote's branch does not have it, or not yet";
        (self.contained == Some(false)).then(|| text.to_owned())
    }

    /// The body of the API.
    #[must_use]
    pub fn view(&self, dataset: &DatasetName) -> api::Reloaded {
        let ran = match &self.done {
            Done::Ran(ran) => Some(ran),
            Done::Ignored | Done::Contained => None,
        };
        let text = |commit: Option<&Commit>| commit.map(ToString::to_string);
        let missing = self.missing();
        api::Reloaded {
            dataset: dataset.clone(),
            outcome: self.outcome().to_owned(),
            ok: self.is_ok(),
            rebuilt: ran.is_some_and(|ran| ran.load == Load::Loaded),
            from: text(ran.and_then(|ran| ran.from.as_ref())),
            to: text(ran.and_then(|ran| ran.to.as_ref())),
            loaded: text(self.loaded.as_ref()),
            parked: ran.and_then(|ran| ran.parked.clone()),
            pushed: ran.map_or(0, |ran| ran.pushed),
            why: ran.and_then(|ran| ran.why()).or(missing),
            duration_ms: self.took.as_millis() as u64,
            peers: self.peers.clone(),
        }
    }

    /// The outcome's text form.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match &self.done {
            Done::Ignored => "ignored",
            Done::Contained => "in-sync",
            Done::Ran(ran) => ran.outcome(),
        }
    }
}
