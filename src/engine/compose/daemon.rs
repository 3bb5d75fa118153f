//! A Docker daemon: how it is reached, and what its engines know of it together.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

use process::Command;
use process::Mask;
use tokio::sync::watch;

use crate::config::Docker;
use crate::engine::compose::known::Known;
use crate::engine::compose::memory::Memory;

/// Settings of compose that we decide, whatever `.env` says: plain output, no menu, nothing fetched that a compose file
/// names, and no container removed that the stack no longer mentions.
const SETTINGS: [(&str, &str); 8] = [
    ("COMPOSE_ANSI", "never"),
    ("COMPOSE_EXPERIMENTAL_GIT_REMOTE", "false"),
    ("COMPOSE_EXPERIMENTAL_OCI_REMOTE", "false"),
    ("COMPOSE_IGNORE_ORPHANS", "true"),
    ("COMPOSE_MENU", "false"),
    ("COMPOSE_PROGRESS", "plain"),
    ("COMPOSE_REMOVE_ORPHANS", "false"),
    ("DOCKER_CLI_HINTS", "false"),
];

/// A Docker daemon as its engines know it. Its clones know the same.
#[derive(Debug, Clone)]
pub struct Daemon(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    docker: Docker,
    mask: Arc<Mask>,
    /// Counts outages of the daemon that were seen.
    outages: AtomicU32,
    /// The compose plugin that answered last.
    version: Mutex<Option<Known>>,
    memory: Mutex<Memory>,
    /// Told of whatever happens on the host.
    news: watch::Sender<()>,
    /// One caller inspects the host for all who ask at the same time.
    looking: tokio::sync::Mutex<()>,
    /// What the client that listens holds, so that it is found and ended when we die.
    leash: Option<Arc<File>>,
}

impl Daemon {
    /// The daemon that `docker` reaches. Nothing is asked of it yet. `mask` hides secrets in what its programs say.
    #[must_use]
    pub fn new(docker: Docker, mask: Arc<Mask>) -> Self {
        Self::held(docker, mask, None)
    }

    /// The same, whose client that listens to events holds `leash`, a lock's file: it is found by it when we have died.
    #[must_use]
    pub fn leashed(docker: Docker, mask: Arc<Mask>, leash: Arc<File>) -> Self {
        Self::held(docker, mask, Some(leash))
    }

    /// Its replacement when the configuration is read again. Running deployments continue with this one.
    #[must_use]
    pub fn configured(&self, docker: Docker, mask: Arc<Mask>) -> Self {
        Self::held(docker, mask, self.leash())
    }

    fn held(docker: Docker, mask: Arc<Mask>, leash: Option<Arc<File>>) -> Self {
        Self(Arc::new(Inner {
            docker,
            mask,
            outages: AtomicU32::new(0),
            version: Mutex::default(),
            memory: Mutex::default(),
            news: watch::Sender::new(()),
            looking: tokio::sync::Mutex::default(),
            leash,
        }))
    }

    pub(super) fn docker(&self) -> &Docker {
        &self.0.docker
    }

    pub(super) fn mask(&self) -> &Arc<Mask> {
        &self.0.mask
    }

    pub(super) fn outages(&self) -> u32 {
        self.0.outages.load(Ordering::SeqCst)
    }

    pub(super) fn count_outage(&self) {
        self.0.outages.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn known_version(&self) -> MutexGuard<'_, Option<Known>> {
        self.0.version.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn news(&self) -> &watch::Sender<()> {
        &self.0.news
    }

    pub(super) fn looking(&self) -> &tokio::sync::Mutex<()> {
        &self.0.looking
    }

    pub(super) fn leash(&self) -> Option<Arc<File>> {
        self.0.leash.clone()
    }

    /// `docker ARGS`, in no stack's folder and without a lock.
    pub(super) fn command<S: Into<String>>(&self, args: impl IntoIterator<Item = S>, deadline: Duration) -> Command {
        Command {
            program: self.docker().program.clone(),
            args: args.into_iter().map(Into::into).collect(),
            env: self.env(),
            // No folder of anybody's is kept busy by it.
            dir: Some("/".into()),
            deadline,
            mask: Arc::clone(self.mask()),
            lock: None,
        }
    }

    fn env(&self) -> BTreeMap<String, String> {
        let docker = self.docker();
        let mut env: BTreeMap<String, String> = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        env.insert("PATH".to_owned(), docker.path.clone());
        env.insert("HOME".to_owned(), docker.home.clone());
        env.insert("LANG".to_owned(), "C.UTF-8".to_owned());
        if let Some(host) = &docker.host {
            env.insert("DOCKER_HOST".to_owned(), host.clone());
        }
        if let Some(dir) = &docker.config_dir {
            env.insert("DOCKER_CONFIG".to_owned(), dir.to_string_lossy().into_owned());
        }
        env
    }
}
