//! One dataset: when it is reloaded, and which reload answers which caller. There is one reload at a time; all callers who come
//! while one is running are answered by the next one.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use process::Cancel;
use process::Looks;
use tokio::time::Instant;

use crate::api;
use crate::clock;
use crate::clock::Backoff;
use crate::config::Docker;
use crate::config::Reload;
use crate::dataset::Dataset;
use crate::dataset::Status;
use crate::model::Commit;
use crate::model::CommitName;
use crate::model::DatasetName;
use crate::model::Event;
use crate::model::EventKind;
use crate::model::EventName;
use crate::reload::app::App;
use crate::reload::peers::Peers;
use crate::reload::push::Pusher;
use crate::reload::ran::Load;
use crate::reload::ran::Ran;
use crate::reload::reply::Done;
use crate::reload::reply::TellPeers;
use crate::reload::run::Story;
use crate::reload::watched::Arrival;
use crate::reload::watched::Watched;
use crate::store::Debt;
use crate::store::LastReload;
use crate::store::Store;
use crate::store::StoreError;
use crate::telemetry::Metrics;

/// The pauses after a reload that failed.
const AGAIN: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));
/// How long a part that has crashed rests before it is started again.
const REST: Duration = Duration::from_secs(1);
/// The minimum time between two optimizations of a repository.
const TEND: Duration = Duration::from_mins(10);

/// What every dataset needs.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) store: Store,
    pub(super) metrics: Arc<Metrics>,
    pub(super) executor: String,
    pub(super) http: reqwest::Client,
}

/// One followed dataset.
#[derive(Debug)]
pub(super) struct Runner {
    pub(super) plan: Arc<Reload>,
    pub(super) dataset: Dataset,
    pub(super) common: Arc<Common>,
    watched: Watched,
    app: App,
    peers: Peers,
    pusher: Pusher,
    /// For those who ask how the repository stands: its state, or why it cannot be read.
    pub(super) seen: Looks<(), Arc<Result<Status, String>>>,
    stop: Cancel,
}

/// A running part of following a dataset.
type Part = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Runner {
    pub(super) fn new(plan: &Arc<Reload>, docker: &Docker, common: &Arc<Common>) -> Arc<Self> {
        common.metrics.know_dataset(&plan.data.name);
        let dataset = Dataset::new(plan.data.clone());
        let http = &common.http;
        Arc::new(Self {
            watched: Watched::default(),
            app: App { plan: Arc::clone(plan), docker: docker.clone(), dataset: dataset.clone(), http: http.clone() },
            peers: Peers::new(Arc::clone(plan), http.clone(), common.store.clone(), &common.executor),
            pusher: Pusher::new(dataset.clone(), plan.data.state.clone()),
            seen: Looks::default(),
            stop: Cancel::default(),
            plan: Arc::clone(plan),
            common: Arc::clone(common),
            dataset,
        })
    }

    pub(super) fn name(&self) -> &DatasetName {
        &self.plan.data.name
    }

    /// Whether it has the same settings. Patterns and secrets cannot be compared, but their text form can, and secrets in files
    /// are read again anyway.
    pub(super) fn is_for(&self, plan: &Reload, docker: &Docker) -> bool {
        format!("{:?} {:?}", self.plan, self.app.docker) == format!("{plan:?} {docker:?}")
    }

    /// Whether it follows that branch.
    pub(super) fn follows(&self, branch: &str) -> bool {
        branch.strip_prefix("refs/heads/").unwrap_or(branch) == self.plan.data.branch
    }

    /// The commit that the app loaded last.
    pub(super) fn loaded(&self) -> Option<Commit> {
        self.watched.loaded()
    }

    /// How many hex digits a full object name of the repository has; none if there is no commit yet.
    pub(super) async fn digits(&self) -> Option<usize> {
        let known = self.loaded().or(self.dataset.head().await.ok().flatten());
        known.map(|commit| commit.as_str().len())
    }

    /// Whether the app's loaded data contains `commit`: by comparison first, then by asking git. This never waits for a reload;
    /// but if one has ended while git was asked, its commit counts.
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
                // In that case a reload finds the answer.
                tracing::debug!(dataset = %self.name(), %commit, %error, "whether a commit is loaded could not be determined");
                false
            }
        }
    }

    /// A caller arrives now: anything that begins later is an answer.
    pub(super) fn arrive(&self) -> Arrival {
        self.watched.arrive()
    }

    /// The result of the first reload that began after `arrival`; none: the server is stopping.
    pub(super) async fn ask(&self, arrival: Arrival, peers: TellPeers) -> Option<Arc<Ran>> {
        let awaited = self.watched.ask(arrival, peers != TellPeers::Never);
        tokio::select! {
            answer = self.watched.answer_to(awaited) => answer,
            () = self.stop.cancelled() => None,
        }
    }

    /// Calls every peer now, about the requested commit or else the present one, and returns each one's answer.
    pub(super) async fn tell_peers(&self, done: &Done, asked: Option<&CommitName>) -> Result<Vec<api::PeerAnswer>, StoreError> {
        let ours = match done {
            Done::Ran(ran) => ran.to.clone(),
            Done::Contained => self.loaded(),
            Done::Ignored => return Ok(Vec::new()),
        };
        self.peers.tell_now(asked.and_then(CommitName::full).or(ours).as_ref()).await
    }

    /// The pending notifications of peers, and what they have refused.
    pub(super) async fn owed(&self) -> Result<Vec<Debt>, StoreError> {
        self.peers.owed().await
    }

    /// Starts working after `before` has ended.
    pub(super) fn start(self: &Arc<Self>, before: Option<Arc<Self>>) {
        self.watched.set_runs(true);
        // For the app, a change of settings of the same folder is not a new start.
        if before.as_ref().is_some_and(|before| before.plan.data.dir == self.plan.data.dir && before.watched.has_begun()) {
            self.watched.begins();
        }
        let runner = Arc::clone(self);
        tokio::spawn(async move {
            if let Some(before) = before {
                before.cancel();
                before.ended().await;
            }
            tokio::join!(
                runner.keep_up(|runner| Box::pin(runner.work())),
                runner.keep_up(|runner| Box::pin(async move { runner.peers.keep_telling(&runner.stop).await })),
                runner.keep_up(|runner| Box::pin(async move { runner.pusher.keep_pushing(&runner.watched, &runner.stop).await })),
            );
            runner.watched.set_runs(false);
        });
    }

    /// Runs a part until the runner stops. If it crashes, it is started again, so that nobody waits for it for ever.
    async fn keep_up(self: &Arc<Self>, part: fn(Arc<Self>) -> Part) {
        while let Err(error) = tokio::spawn(part(Arc::clone(self))).await {
            tracing::error!(dataset = %self.name(), %error, "a task that follows a dataset panicked; it is started again");
            tokio::select! {
                () = tokio::time::sleep(REST) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    pub(super) fn cancel(&self) {
        self.stop.cancel();
    }

    /// Returns when nothing of it is running any more.
    pub(super) async fn ended(&self) {
        self.watched.has_ended().await;
    }

    async fn work(self: Arc<Self>) {
        let mut again = AGAIN;
        let mut tended = None;
        // The first reload waits for nothing, and is not news to anybody.
        let mut next = None;
        loop {
            if let Some(retry) = next {
                self.asked_or_due(retry).await;
            }
            if self.stop.is_cancelled() {
                return;
            }
            let turn = self.watched.begin();
            let began = Instant::now();
            let ran = self.story().run().await;
            if self.stop.is_cancelled() {
                return;
            }
            let held = !matches!(ran.load, Load::Failed(_)) && ran.reconciled.is_some();
            let is_settled = held && (ran.is_ok() || !self.pusher.is_behind());
            if is_settled {
                again.reset();
            }
            next = Some((!is_settled).then(|| again.fail()));
            self.watched.set_known_loaded(held);
            self.record(&ran, began.elapsed()).await;
            self.pass_on(&ran, turn.tell_peers).await;
            if ran.is_ok() {
                self.pusher.go_on();
            }
            let has_loaded = ran.load == Load::Loaded;
            self.watched.answer(&turn, ran);
            if has_loaded {
                self.keep_house(&mut tended).await;
            }
        }
    }

    /// Waits until a reload is requested or due: after `retry`, or by the timer.
    async fn asked_or_due(&self, retry: Option<Duration>) {
        let pause = [self.plan.every, retry].into_iter().flatten().min();
        let due = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.watched.is_asked() => {}
            () = due => self.watched.is_due(),
        }
    }

    fn story(&self) -> Story<'_> {
        let plan = &*self.plan;
        let dataset = &self.dataset;
        let app = &self.app;
        let watched = &self.watched;
        Story { plan, dataset, app, watched, metrics: &self.common.metrics, cancel: &self.stop }
    }

    /// Tells peers about new data, unless it came from one of them (who tells the others) and nothing of ours was added.
    async fn pass_on(&self, ran: &Ran, tell_peers: bool) {
        let Some(commit) = &ran.to else { return };
        if self.watched.tell(commit) && (tell_peers || ran.pushed > 0) {
            self.peers.owe_all(commit).await;
        }
    }

    /// After the answer: removes old worktrees, and now and then optimizes the repository.
    async fn keep_house(&self, tended: &mut Option<Instant>) {
        if let Err(error) = self.dataset.tidy(&[], &self.stop).await {
            tracing::warn!(dataset = %self.name(), %error, "old worktrees could not be removed; the next run tries again");
        }
        if tended.is_none_or(|at| at.elapsed() > TEND) {
            *tended = Some(Instant::now());
            if let Err(error) = self.dataset.tend(&self.stop).await {
                tracing::debug!(dataset = %self.name(), %error, "the maintenance of the repository failed");
            }
        }
    }

    /// Stores and counts the result of a reload, and logs it if a person should know.
    async fn record(&self, ran: &Ran, took: Duration) {
        let dataset = self.name();
        let outcome = ran.outcome();
        let took_ms = took.as_millis() as u64;
        let text = |commit: &Option<Commit>| commit.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
        let from = text(&ran.from);
        let to = text(&ran.to);
        let why = ran.why().unwrap_or_default();
        if let Load::Failed(why) = &ran.load {
            tracing::error!(%dataset, outcome, to, %why, took_ms, "the new data is not served; the previous data still is, and tagalong \
            will try again");
        } else if ran.parked.is_some() {
            tracing::error!(%dataset, outcome, from, to, parked = ran.parked, why, took_ms, "local work conflicts with the remote and was \
            parked; a person must merge it");
        } else if !ran.is_ok() || !why.is_empty() {
            tracing::warn!(%dataset, outcome, from, to, why, took_ms, "reloaded");
        } else if ran.load == Load::Loaded || ran.pushed > 0 {
            tracing::info!(%dataset, outcome, from, to, pushed = ran.pushed, took_ms, "reloaded");
        }
        self.common.metrics.reloaded(dataset, outcome);
        let now_ms = clock::now_ms();
        if let Some(branch) = &ran.parked
            && let Err(error) = self.common.store.happened(&parked(dataset, branch, now_ms)).await
        {
            tracing::warn!(%dataset, %error, "that data was parked could not be recorded for those who want to be told");
        }
        let load_fault = match &ran.load {
            Load::Failed(why) => Some(why.clone()),
            Load::Nothing | Load::Loaded => None,
        };
        let loaded_ms = (ran.load == Load::Loaded).then_some(now_ms);
        let last = LastReload { outcome: outcome.to_owned(), why: ran.note.clone(), load_fault, at_ms: now_ms, loaded_ms };
        if let Err(error) = self.common.store.reloaded(&self.common.executor, dataset, &last).await {
            tracing::warn!(%dataset, %error, "the outcome of a reload could not be recorded");
        }
    }

    /// The reason why the push of own commits waits, also if another process pushes.
    pub(super) fn push_seen(&self) -> Option<String> {
        if self.watched.runs() { self.pusher.state() } else { self.pusher.noted() }
    }
}

/// What people are told of work that was parked.
fn parked(dataset: &DatasetName, branch: &str, at_ms: i64) -> Event {
    Event {
        name: EventName { kind: EventKind::Parked, of: format!("{dataset} {branch}") },
        service: None,
        at_ms,
        what: format!("Local work on the data of {dataset} conflicts with the remote and was parked as {branch}."),
        why: "A person must merge it.".to_owned(),
        next: Some(format!("tagalong data status {dataset}")),
    }
}
