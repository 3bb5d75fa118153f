//! One dataset: when it is reloaded, and who is answered by which reload. One reload at a time; whoever asks while one runs is
//! answered by the next, however many they are.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::clock;
use crate::config::Docker;
use crate::config::Reload;
use crate::dataset::Dataset;
use crate::dataset::Push;
use crate::model::Commit;
use crate::model::CommitName;
use crate::model::DatasetName;
use crate::process::Cancel;
use crate::reload::Common;
use crate::reload::Load;
use crate::reload::Ran;
use crate::reload::ReloadError;
use crate::reload::TellPeers;
use crate::reload::peers;
use crate::reload::run;
use crate::store::LastReload;

/// The first wait after a reload that did not hold; each further one is twice as long.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest wait after a reload that did not hold.
const LONGEST_RETRY: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(super) struct Runner {
    pub(super) plan: Arc<Reload>,
    pub(super) docker: Docker,
    pub(super) dataset: Dataset,
    pub(super) common: Arc<Common>,
    /// How many have asked.
    asked: AtomicU64,
    /// Whether one of those who wait wants peers to hear of what is new.
    tell_peers: AtomicBool,
    wake: Notify,
    finished: watch::Sender<Finished>,
    loaded: Mutex<Option<Commit>>,
    /// Whether the folder was made ready in this process.
    ready: AtomicBool,
    /// Whether this process has seen the app serve what is recorded as loaded.
    known_loaded: AtomicBool,
    /// Something is owed to a peer.
    pub(super) owed: Notify,
    stop: Cancel,
    ended: watch::Sender<bool>,
}

/// The last reload that ended, and how many had asked when it began.
#[derive(Debug, Clone, Default)]
struct Finished {
    up_to: u64,
    ran: Option<Arc<Ran>>,
}

impl Runner {
    pub(super) fn new(plan: &Arc<Reload>, docker: &Docker, common: &Arc<Common>) -> Arc<Self> {
        Arc::new(Self {
            plan: Arc::clone(plan),
            docker: docker.clone(),
            dataset: Dataset::new(plan.data.clone()),
            common: Arc::clone(common),
            asked: AtomicU64::new(0),
            tell_peers: AtomicBool::new(false),
            wake: Notify::new(),
            finished: watch::Sender::default(),
            loaded: Mutex::default(),
            ready: AtomicBool::new(false),
            known_loaded: AtomicBool::new(false),
            owed: Notify::new(),
            stop: Cancel::default(),
            ended: watch::Sender::new(true),
        })
    }

    pub(super) fn name(&self) -> &DatasetName {
        &self.plan.data.name
    }

    /// Whether it is made from the same settings. Patterns and secrets have no equality; what is shown of them has, and secrets
    /// in files are read anew anyway.
    pub(super) fn is_for(&self, plan: &Reload, docker: &Docker) -> bool {
        format!("{:?} {:?}", self.plan, self.docker) == format!("{plan:?} {docker:?}")
    }

    /// Whether it follows that branch.
    pub(super) fn follows(&self, branch: &str) -> bool {
        branch.strip_prefix("refs/heads/").unwrap_or(branch) == self.plan.data.branch
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }

    pub(super) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::SeqCst);
    }

    pub(super) fn is_known_loaded(&self) -> bool {
        self.known_loaded.load(Ordering::SeqCst)
    }

    /// The commit that the app has loaded last.
    pub(super) fn loaded(&self) -> Option<Commit> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_loaded(&self, commit: Option<Commit>) {
        *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = commit;
    }

    /// Whether `commit` is in what the app has loaded: by equality first, then by asking git. Never waits for a reload.
    pub(super) async fn serves(&self, commit: &CommitName) -> bool {
        let Some(loaded) = self.loaded() else { return false };
        if commit.as_str() == loaded.as_str() {
            return true;
        }
        match self.dataset.contains(commit, &loaded).await {
            Ok(contained) => contained,
            Err(error) => {
                // Then a reload says what is true.
                tracing::debug!(dataset = %self.name(), %commit, %error, "whether a commit is loaded cannot be told");
                false
            }
        }
    }

    /// The next reload that begins: what it came to.
    pub(super) async fn ask(&self, peers: TellPeers) -> Result<Arc<Ran>, ReloadError> {
        let mut finished = self.finished.subscribe();
        if peers != TellPeers::Never {
            self.tell_peers.store(true, Ordering::SeqCst);
        }
        let mine = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        self.wake.notify_one();
        let stopping = || ReloadError::Stopping(self.name().clone());
        let answer = tokio::select! {
            answer = finished.wait_for(|finished| finished.up_to >= mine) => answer.map_err(|_| stopping())?.ran.clone(),
            () = self.stop.cancelled() => None,
        };
        answer.ok_or_else(stopping)
    }

    /// Begins to work, after `before` has ended.
    pub(super) fn start(self: &Arc<Self>, before: Option<Arc<Self>>) {
        self.ended.send_replace(false);
        let runner = Arc::clone(self);
        tokio::spawn(async move {
            if let Some(before) = before {
                before.cancel();
                before.ended().await;
            }
            let mut tasks = JoinSet::new();
            tasks.spawn(Arc::clone(&runner).work());
            tasks.spawn(peers::settle_debts(Arc::clone(&runner)));
            tasks.spawn(Arc::clone(&runner).push());
            while let Some(ended) = tasks.join_next().await {
                if let Err(error) = ended {
                    tracing::error!(dataset = %runner.name(), %error, "a part of following a dataset ended; restart tagalong");
                }
            }
            runner.ended.send_replace(true);
        });
    }

    pub(super) fn cancel(&self) {
        self.stop.cancel();
    }

    pub(super) fn stop_signal(&self) -> &Cancel {
        &self.stop
    }

    /// Ends when nothing of it runs any more.
    pub(super) async fn ended(&self) {
        // The sender lives as long as this does.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    async fn work(self: Arc<Self>) {
        if let Ok(Some(last)) = self.common.store.last_reload(&self.common.executor, self.name()).await {
            tracing::debug!(dataset = %self.name(), outcome = last.outcome, "the last reload before this start");
        }
        let mut retry: Option<Duration> = None;
        let mut first = true;
        loop {
            if !first {
                let pause = [self.plan.every, retry].into_iter().flatten().min();
                let asked_or_due = async {
                    match pause {
                        Some(pause) => tokio::time::sleep(pause).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = self.stop.cancelled() => return,
                    () = self.wake.notified() => if self.finished.borrow().up_to == self.asked.load(Ordering::SeqCst) { continue },
                    () = asked_or_due => self.tell_peers.store(true, Ordering::SeqCst),
                }
            }
            first = false;
            // Whoever asks from here on is answered by the next one.
            let up_to = self.asked.load(Ordering::SeqCst);
            let tell_peers = self.tell_peers.swap(false, Ordering::SeqCst);
            let began = Instant::now();
            let ran = run::run(&self, &self.stop).await;
            if self.stop.is_cancelled() {
                return;
            }
            let held = !matches!(ran.load, Load::Failed(_)) && ran.reconciled.is_some();
            retry = if held { None } else { Some(retry.map_or(FIRST_RETRY, |last| (last * 2).min(LONGEST_RETRY))) };
            self.known_loaded.store(held, Ordering::SeqCst);
            self.record(&ran, began.elapsed()).await;
            let is_new = ran.load == Load::Loaded || ran.from != ran.to || ran.pushed > 0;
            if let Some(commit) = ran.to.as_ref().filter(|_| is_new && tell_peers) {
                peers::owe_all(&self, commit).await;
            }
            self.finished.send_replace(Finished { up_to, ran: Some(Arc::new(ran)) });
        }
    }

    /// What a reload came to is stored, counted and, where a person should know, said.
    async fn record(&self, ran: &Ran, took: Duration) {
        let (dataset, outcome, took_ms) = (self.name(), ran.outcome(), took.as_millis() as u64);
        let text = |commit: &Option<Commit>| commit.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
        let (from, to, why) = (text(&ran.from), text(&ran.to), ran.why().unwrap_or_default());
        if let Load::Failed(why) = &ran.load {
            tracing::error!(%dataset, outcome, to, %why, took_ms, "the new data is not served; the old is, and it is tried again");
        } else if ran.parked.is_some() {
            tracing::error!(%dataset, outcome, from, to, parked = ran.parked, why, took_ms, "own work did not fit and is parked; a person must merge it");
        } else if !ran.is_ok() || !why.is_empty() {
            tracing::warn!(%dataset, outcome, from, to, why, took_ms, "reloaded");
        } else if ran.load == Load::Loaded || ran.pushed > 0 {
            tracing::info!(%dataset, outcome, from, to, pushed = ran.pushed, took_ms, "reloaded");
        }
        self.common.metrics.reloaded(dataset, outcome);
        let now_ms = clock::now_ms();
        let load_fault = match &ran.load {
            Load::Failed(why) => Some(why.clone()),
            Load::Nothing | Load::Loaded => None,
        };
        let loaded_ms = (ran.load == Load::Loaded).then_some(now_ms);
        let last = LastReload { outcome: outcome.to_owned(), why: ran.note.clone(), load_fault, at_ms: now_ms, loaded_ms };
        if let Err(error) = self.common.store.reloaded(&self.common.executor, dataset, &last).await {
            tracing::warn!(%dataset, %error, "how a reload ended could not be recorded");
        }
    }

    /// What the push of own commits is at, as one sentence.
    pub(super) fn push_state(&self) -> Option<String> {
        None
    }

    /// Own commits go to the remote as they are made; where the remote has moved on, a reload is due.
    async fn push(self: Arc<Self>) {
        let behind = {
            let runner = Arc::clone(&self);
            move |push: &Push| {
                if *push == Push::Behind {
                    runner.asked.fetch_add(1, Ordering::SeqCst);
                    runner.tell_peers.store(true, Ordering::SeqCst);
                    runner.wake.notify_one();
                }
            }
        };
        let _ = behind;
        self.stop.cancelled().await;
    }
}
