//! One dataset: when it is reloaded, and who is answered by which reload. One reload at a time; whoever asks while one runs is
//! answered by the next, however many they are.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::watch;
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
use crate::reload::note;
use crate::reload::note::Note;
use crate::reload::peers;
use crate::reload::run;
use crate::store::LastReload;

/// The first wait after a reload that did not hold; each further one is twice as long.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// How often a repository is kept quick at most.
const TEND: Duration = Duration::from_mins(10);
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
    /// Whether that was begun.
    begun: AtomicBool,
    /// Whether this process has seen the app serve what is recorded as loaded.
    known_loaded: AtomicBool,
    /// The commit that peers have heard of, or that one of them has told us.
    told: Mutex<Option<Commit>>,
    /// What the push of own commits is at.
    push: watch::Sender<Push>,
    wake_push: Notify,
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

/// A part of following a dataset, at work.
type Part = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Runner {
    pub(super) fn new(plan: &Arc<Reload>, docker: &Docker, common: &Arc<Common>) -> Arc<Self> {
        common.metrics.know_dataset(&plan.data.name);
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
            begun: AtomicBool::new(false),
            known_loaded: AtomicBool::new(false),
            told: Mutex::default(),
            push: watch::Sender::new(Push::Done),
            wake_push: Notify::new(),
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

    pub(super) fn set_ready(&self) {
        self.ready.store(true, Ordering::SeqCst);
    }

    /// Whether this process has not begun to make the folder ready before; it has from now on.
    pub(super) fn begins(&self) -> bool {
        !self.begun.swap(true, Ordering::SeqCst)
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

    /// How many hex digits a full object name of the repository has; none where there is no commit yet.
    pub(super) async fn digits(&self) -> Option<usize> {
        let known = self.loaded().or(self.dataset.head().await.ok().flatten());
        known.map(|commit| commit.as_str().len())
    }

    /// Whether `commit` is in what the app has loaded: by equality first, then by asking git. Never waits for a reload; but where
    /// one has ended while git was asked, its commit counts.
    pub(super) async fn serves(&self, commit: &CommitName) -> bool {
        loop {
            let Some(loaded) = self.loaded() else { return false };
            if self.is_in(commit, &loaded).await {
                return true;
            }
            if self.loaded().as_ref() == Some(&loaded) {
                return false;
            }
        }
    }

    async fn is_in(&self, commit: &CommitName, loaded: &Commit) -> bool {
        if commit.as_str() == loaded.as_str() {
            return true;
        }
        match self.dataset.contains(commit, loaded, &self.stop).await {
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
        // Other settings of the same folder are no new beginning for the app in it.
        let follows_on =
            before.as_ref().is_some_and(|before| before.plan.data.dir == self.plan.data.dir && before.begun.load(Ordering::SeqCst));
        self.begun.store(follows_on, Ordering::SeqCst);
        let runner = Arc::clone(self);
        tokio::spawn(async move {
            if let Some(before) = before {
                before.cancel();
                before.ended().await;
            }
            tokio::join!(
                runner.keep_up(|runner| Box::pin(runner.work())),
                runner.keep_up(|runner| Box::pin(peers::settle_debts(runner))),
                runner.keep_up(|runner| Box::pin(runner.push_own())),
            );
            runner.ended.send_replace(true);
        });
    }

    /// Carries a part out until the runner stops. One that breaks is begun anew, so that nobody waits for it for ever.
    async fn keep_up(self: &Arc<Self>, part: fn(Arc<Self>) -> Part) {
        while let Err(error) = tokio::spawn(part(Arc::clone(self))).await {
            tracing::error!(dataset = %self.name(), %error, "a part of following a dataset broke; it is begun anew");
            tokio::select! {
                () = tokio::time::sleep(FIRST_RETRY) => {}
                () = self.stop.cancelled() => return,
            }
        }
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
        let (mut first, mut tended) = (true, None);
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
            let is_behind = *self.push.borrow() == Push::Behind && !ran.is_ok();
            retry = if held && !is_behind { None } else { Some(retry.map_or(FIRST_RETRY, |last| (last * 2).min(LONGEST_RETRY))) };
            self.known_loaded.store(held, Ordering::SeqCst);
            self.record(&ran, began.elapsed()).await;
            self.pass_on(&ran, tell_peers).await;
            if ran.is_ok() && *self.push.borrow() != Push::Done {
                self.wake_push.notify_one();
            }
            let has_loaded = ran.load == Load::Loaded;
            self.finished.send_replace(Finished { up_to, ran: Some(Arc::new(ran)) });
            if has_loaded {
                self.keep_house(&mut tended).await;
            }
        }
    }

    /// What is new is owed to peers: unless it came from one of them, who tells the others, and nothing of ours was added.
    async fn pass_on(&self, ran: &Ran, tell_peers: bool) {
        let Some(commit) = &ran.to else { return };
        let before = self.told.lock().unwrap_or_else(PoisonError::into_inner).replace(commit.clone());
        if before.as_ref() != Some(commit) && (tell_peers || ran.pushed > 0) {
            peers::owe_all(self, commit).await;
        }
    }

    /// After the answer: old worktrees go, and now and then the repository is kept quick.
    async fn keep_house(&self, tended: &mut Option<Instant>) {
        if let Err(error) = self.dataset.tidy(&[], &self.stop).await {
            tracing::warn!(dataset = %self.name(), %error, "old worktrees could not be removed; it is tried again");
        }
        if tended.is_none_or(|at| at.elapsed() > TEND) {
            *tended = Some(Instant::now());
            if let Err(error) = self.dataset.tend(&self.stop).await {
                tracing::debug!(dataset = %self.name(), %error, "the repository was not tended");
            }
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

    /// The same, also where another process pushes.
    pub(super) fn push_seen(&self) -> Option<String> {
        if *self.ended.borrow() { note::said(&self.plan.data.state) } else { self.push_state() }
    }

    /// Whether the push of own commits waits for something, and for what.
    pub(super) fn push_state(&self) -> Option<String> {
        match &*self.push.borrow() {
            Push::Done | Push::Working => None,
            Push::Waiting { why, next_ms } => Some(format!("tried again in {} s: {}", next_ms.div_ceil(1000), why.trim_end())),
            Push::Refused { why } => Some(format!("refused by the remote, tried again slowly: {}", why.trim_end())),
            Push::Behind => Some("waits for a reconcile: the remote has moved on".to_owned()),
        }
    }

    /// Own commits go to the remote as they are made; where it has moved on a reload is due, and where it has taken something
    /// others are to hear of it.
    async fn push_own(self: Arc<Self>) {
        let mut told = self.push.subscribe();
        let mut note = Note::keep(&self.plan.data.state);
        let watch = async {
            while told.changed().await.is_ok() {
                let now = told.borrow_and_update().clone();
                note.say(self.push_state());
                let is_due = match now {
                    Push::Behind => self.is_ready(),
                    Push::Done => {
                        let head = self.dataset.head().await.ok().flatten();
                        self.is_ready() && head.is_some() && head != *self.told.lock().unwrap_or_else(PoisonError::into_inner)
                    }
                    Push::Working | Push::Waiting { .. } | Push::Refused { .. } => false,
                };
                if is_due {
                    self.tell_peers.store(true, Ordering::SeqCst);
                    self.asked.fetch_add(1, Ordering::SeqCst);
                    self.wake.notify_one();
                }
            }
        };
        tokio::select! {
            () = self.dataset.push_forever(&self.wake_push, &self.push, &self.stop) => {}
            () = watch => {}
        }
    }
}
