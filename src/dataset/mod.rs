//! A dataset: a git checkout that follows a branch of its remote, and never loses work.
//!
//! Begin reading at [`Dataset::reconcile`]: it observes, `decide` says what to do, and the files beside it do it. Everything
//! uses git's own command line. Our own refs hold what must survive a restart:
//!
//! | ref | what it remembers |
//! |---|---|
//! | `refs/tagalong/upstream/BRANCH` | the remote's tip as last followed: only commits above it are our own |
//! | `refs/tagalong/fetched/BRANCH` | the remote's tip as last fetched |
//! | `refs/tagalong/loaded` | the commit that the app loaded last |
//! | `refs/tagalong/parked/NAME` | work that conflicted and is not on the remote yet |
//! | `refs/tagalong/published/NAME` | the same, on the remote as `conflicts/NAME` |
//! | `refs/tagalong/kept/NAME` | what stays on this host: untracked files, and work that may belong to another remote |

mod address;
mod at_once;
mod beneath;
mod call;
mod checkout;
mod commit;
mod configured;
mod daemon;
mod damage;
mod decide;
mod depot;
mod edits;
mod error;
mod git;
mod head;
mod heal;
mod ignored;
mod in_the_way;
mod incoming;
mod known;
mod listing;
mod locks;
mod normal;
mod outward;
mod own;
mod park;
mod place;
mod publish;
mod range;
mod reconcile;
mod refusal;
mod remote;
mod replay;
mod rescue;
mod shape;
mod take_back;
mod traces;
mod unfinished;
mod values;

use std::sync::Arc;

use process::Cancel;

use crate::config;
use crate::dataset::git::Repo;
use crate::dataset::heal::Depth;
use crate::dataset::heal::Ground;
use crate::dataset::known::Known;
use crate::dataset::place::Place;
use crate::dataset::remote::Ask;
use crate::dataset::remote::Pushed;
use crate::model::Commit;
use crate::model::CommitName;
use crate::model::Reconcile;

pub use depot::{Depot, DepotError};
pub use error::DatasetError;
pub use outward::links_sentence;
pub use values::{Kept, Parked, Push, Ready, Reconciled, Snapshot, Status};

/// One dataset of this host. Clones of this value share its lock.
#[derive(Debug, Clone)]
pub struct Dataset(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Arc<config::Dataset>,
    /// One user at a time within this process; the lock file does the same between processes.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// What the loaded commit contains.
    known: std::sync::Mutex<Option<Known>>,
    /// When we last checked whether published work is still on the remote.
    asked: std::sync::Mutex<Option<std::time::Instant>>,
}

/// The dataset's lock, and the repository, which may be worked on until this is dropped.
struct Work {
    repo: Repo,
    place: Place,
    ready: Ready,
    _turn: tokio::sync::OwnedMutexGuard<()>,
}

/// The ref of the commit that the app loaded last.
const LOADED: &str = "refs/tagalong/loaded";
/// How often we check whether published work was settled.
const SETTLED_EVERY: std::time::Duration = std::time::Duration::from_mins(1);
/// An abbreviation with at least this many digits stands for the loaded commit if it is the beginning of its name.
const SURE_DIGITS: usize = 7;

impl Dataset {
    /// A dataset from its settings. Nothing is touched yet.
    #[must_use]
    pub fn new(settings: config::Dataset) -> Self {
        Self(Arc::new(Inner {
            settings: Arc::new(settings),
            turn: Arc::default(),
            known: std::sync::Mutex::default(),
            asked: std::sync::Mutex::default(),
        }))
    }

    /// The settings that it was created from.
    #[must_use]
    pub fn settings(&self) -> &config::Dataset {
        &self.0.settings
    }

    /// For the start: afterwards there is a complete repository with the branch checked out and no edit in it. It is cloned if
    /// there was nothing; foreign files are moved aside; edits and detached commits are parked.
    ///
    /// # Errors
    /// When that is impossible; nothing was lost.
    pub async fn ready(&self, cancel: &Cancel) -> Result<Ready, DatasetError> {
        self.made_ready(Depth::Boot, cancel).await
    }

    /// Like [`Self::ready`], but an app may be working already: uncommitted edits stay where they are.
    ///
    /// # Errors
    /// When a complete repository is impossible; nothing was lost.
    pub async fn ready_beside(&self, cancel: &Cancel) -> Result<Ready, DatasetError> {
        self.made_ready(Depth::Inspect, cancel).await
    }

    async fn made_ready(&self, depth: Depth, cancel: &Cancel) -> Result<Ready, DatasetError> {
        heal::check_git(&self.0.settings, cancel).await?;
        let mut work = self.enter(depth, cancel).await?;
        let mut ready = std::mem::take(&mut work.ready);
        ready.healed.extend(work.repo.take_notes());
        if work.repo.tip(&work.repo.local_ref(), cancel).await?.is_none() {
            work.repo.pass(cancel).await?;
        }
        ready.head = work.repo.tip(&work.repo.local_ref(), cancel).await?;
        if ready.head.is_none() {
            return Err(DatasetError::NoBranchYet(self.0.settings.dir.clone(), self.0.settings.branch.clone()));
        }
        Ok(ready)
    }

    /// One pass: fetch, decide, act, push. It takes no input and may be repeated at any time; anything that was interrupted
    /// before is repaired first.
    ///
    /// # Errors
    /// When the repository on this host cannot be used. A remote that cannot be read, or that refuses, is an outcome.
    pub async fn reconcile(&self, cancel: &Cancel) -> Result<Reconciled, DatasetError> {
        let mut work = self.enter(Depth::Pass, cancel).await?;
        let mut done = match work.repo.pass(cancel).await {
            Err(DatasetError::Git { why, .. }) if remote::is_damage(&why) => {
                drop(work);
                // An app may be working: its uncommitted files stay.
                work = self.enter(Depth::Inspect, cancel).await?;
                work.repo.pass(cancel).await?
            }
            other => other?,
        };
        if self.is_time_to_settle() && done.outcome != Reconcile::FetchFailed {
            work.repo.settle_published(cancel).await?;
        }
        if done.outcome == Reconcile::PushFailed
            && let (Some(there), Some(here)) = (work.repo.tip(&work.repo.fetched_ref(), cancel).await?, &done.to)
        {
            done.is_behind = !work.repo.is_ancestor(there.as_str(), here, cancel).await?;
        }
        if let Some(name) = work.ready.parked.first() {
            done.parked = done.parked.or(Some(format!("conflicts/{name}")));
        }
        work.ready.healed.extend(work.repo.take_notes());
        if !work.ready.healed.is_empty() {
            done.why = Some(work.ready.healed.iter().map(String::as_str).chain(done.why.as_deref()).collect::<Vec<_>>().join(" "));
        }
        Ok(done)
    }

    /// Whether `wanted` is contained in `loaded`, without lock or remote. A name that the repository does not have is not
    /// contained.
    ///
    /// # Errors
    /// When git cannot be run.
    pub async fn contains(&self, wanted: &CommitName, loaded: &Commit, cancel: &Cancel) -> Result<bool, DatasetError> {
        if loaded.as_str() == wanted.as_str() || (wanted.as_str().len() >= SURE_DIGITS && loaded.as_str().starts_with(wanted.as_str())) {
            return Ok(true);
        }
        if let Some(known) = self.known().as_ref().filter(|known| known.of == *loaded) {
            return Ok(known.contains(wanted));
        }
        let Some(repo) = self.open_repo()? else { return Ok(false) };
        if wanted.full().is_some() {
            return repo.is_ancestor(wanted.as_str(), loaded, cancel).await;
        }
        // Only objects whose names begin like this count, never refs that happen to have such a name.
        let begins = repo.git(["rev-parse", &format!("--disambiguate={wanted}")]).text(cancel).await?;
        for object in begins.lines().take(64) {
            if repo.is_ancestor(object, loaded, cancel).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The branch's commit; none if there is no data yet.
    ///
    /// # Errors
    /// When git cannot be run.
    pub async fn head(&self) -> Result<Option<Commit>, DatasetError> {
        match self.open_repo()? {
            Some(repo) => repo.tip(&repo.local_ref(), &Cancel::default()).await,
            None => Ok(None),
        }
    }

    /// The commit that the app loaded last, also before a restart.
    ///
    /// # Errors
    /// When git cannot be run.
    pub async fn loaded(&self) -> Result<Option<Commit>, DatasetError> {
        match self.open_repo()? {
            Some(repo) => repo.tip(LOADED, &Cancel::default()).await,
            None => Ok(None),
        }
    }

    /// Records that the app has loaded `commit`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn set_loaded(&self, commit: &Commit) -> Result<(), DatasetError> {
        let Some(repo) = self.open_repo()? else { return Ok(()) };
        repo.set_ref(LOADED, commit, &Cancel::default()).await?;
        // If the content of the previous commit is known, the new commits are added at once; otherwise in a quiet moment.
        let before = self.known().take();
        if let Some(before) = before
            && repo.is_ancestor(before.of.as_str(), commit, &Cancel::default()).await?
        {
            let lines = repo.git(["rev-list", commit.as_str(), &format!("^{}", before.of)]).text(&Cancel::default()).await?;
            *self.known() = Known::new(commit, &lines, Some(before));
        }
        Ok(())
    }

    /// Forgets what the app has loaded, because it is about to start.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn forget_loaded(&self) -> Result<(), DatasetError> {
        let Some(repo) = self.open_repo()? else { return Ok(()) };
        if let Some(loaded) = repo.tip(LOADED, &Cancel::default()).await? {
            repo.drop_ref(LOADED, &loaded, &Cancel::default()).await?;
        }
        Ok(())
    }

    /// Whether the remote would accept a push, as far as it shows without one; a hook or a protected branch shows only in a
    /// push.
    ///
    /// # Errors
    /// When git cannot be run.
    pub async fn may_push(&self, cancel: &Cancel) -> Result<Push, DatasetError> {
        let head = match self.open_repo()? {
            Some(repo) => repo.tip(&repo.local_ref(), cancel).await?.map(|head| (repo, head)),
            None => None,
        };
        let Some((repo, head)) = head else { return self.may_read(cancel).await };
        Ok(match repo.push_dry(&head, cancel).await {
            // If the branch has moved on, the side of the remote that accepts pushes has told us.
            Pushed::Done | Pushed::Moved | Pushed::Busy(_) => Push::Done,
            Pushed::Refused(why) => Push::Refused { why },
            Pushed::Transient(why) => Push::Waiting { why, next_ms: 0 },
        })
    }

    /// If there is nothing here to push, we can only ask whether the remote has the branch.
    async fn may_read(&self, cancel: &Cancel) -> Result<Push, DatasetError> {
        let settings = &self.0.settings;
        Ok(match remote::ask(settings, settings.fetch_deadline, cancel).await? {
            Ask::There => Push::Behind,
            Ask::NoBranch => Push::Waiting { why: format!("it has no branch {}", settings.branch), next_ms: 0 },
            Ask::Unreachable(why) => Push::Waiting { why, next_ms: 0 },
        })
    }

    /// The dataset's state, without asking the remote.
    ///
    /// # Errors
    /// When git cannot be run.
    pub async fn status(&self, cancel: &Cancel) -> Result<Status, DatasetError> {
        let aside = Place::of(&self.0.settings).map(|place| place.asides()).unwrap_or_default();
        let mut status =
            Status { head: None, remote: None, loaded: None, pending: 0, parked: Vec::new(), kept: Vec::new(), outward: Vec::new(), aside };
        let Some(repo) = self.open_repo()? else { return Ok(status) };
        status.head = repo.tip(&repo.local_ref(), cancel).await?;
        status.remote = repo.tip(&repo.upstream_ref(), cancel).await?;
        status.loaded = repo.tip(LOADED, cancel).await?;
        if let Some(head) = &status.head {
            let seen: Vec<String> = status.remote.iter().map(ToString::to_string).collect();
            let gone = repo.gone(&seen, cancel).await?.tips;
            let had = seen.iter().map(String::as_str).chain(gone.iter().map(Commit::as_str)).map(|had| format!("^{had}"));
            let range: Vec<String> = std::iter::once(head.to_string()).chain(had).collect();
            status.pending = repo.count(&range.iter().map(String::as_str).collect::<Vec<_>>(), cancel).await?;
        }
        for (prefix, published) in [(park::PARKED, false), (park::PUBLISHED, true)] {
            for (name, commit) in repo.refs_below(prefix, cancel).await? {
                status.parked.push(Parked { branch: format!("conflicts/{}", &name[prefix.len()..]), commit, published });
            }
        }
        status.kept = repo.kept(cancel).await?;
        if self.0.settings.publish != config::Publish::InPlace
            && let Some(served) = self.current().await
        {
            status.outward = self.links_out(&served);
        }
        Ok(status)
    }

    /// Keeps the repository fast, for a quiet moment: writes the graph of commits, combines packs, and remembers what the
    /// loaded commit contains for [`Self::contains`].
    ///
    /// # Errors
    /// When the repository cannot be used.
    pub async fn tend(&self, cancel: &Cancel) -> Result<(), DatasetError> {
        let work = self.begin(cancel).await?;
        work.repo.git(["commit-graph", "write", "--reachable", "--split", "--no-progress"]).text(cancel).await?;
        work.repo.pack_up(cancel).await?;
        if let Some(loaded) = work.repo.tip(LOADED, cancel).await?
            && self.known().as_ref().is_none_or(|known| known.of != loaded)
        {
            let lines = work.repo.git(["rev-list", loaded.as_str()]).text(cancel).await?;
            *self.known() = Known::new(&loaded, &lines, None);
        }
        Ok(())
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Option<Known>> {
        self.0.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The repository as it is, for reading while somebody else may be working on it.
    fn open_repo(&self) -> Result<Option<Repo>, DatasetError> {
        Repo::found(&self.0.settings, &self.0.settings.dir, None)
    }

    /// Takes the lock for work that needs a complete repository; the repository may be worked on afterwards.
    async fn begin(&self, cancel: &Cancel) -> Result<Work, DatasetError> {
        self.enter(Depth::Pass, cancel).await
    }

    async fn enter(&self, depth: Depth, cancel: &Cancel) -> Result<Work, DatasetError> {
        let settings = &self.0.settings;
        let turn = tokio::select! {
            turn = Arc::clone(&self.0.turn).lock_owned() => turn,
            () = cancel.cancelled() => return Err(DatasetError::Cancelled),
        };
        let place = Place::of(settings)?;
        let patience = settings.fetch_deadline + settings.push_deadline + settings.local_deadline;
        let lock = tokio::select! {
            lock = place.take_lock(patience) => lock?,
            () = cancel.cancelled() => return Err(DatasetError::Cancelled),
        };
        let ground = Ground { settings: Arc::clone(settings), place, lock };
        let mut ready = Ready::default();
        let repo = ground.heal(depth, &mut ready, cancel).await?;
        Ok(Work { repo, place: ground.place, ready, _turn: turn })
    }

    fn is_time_to_settle(&self) -> bool {
        let mut asked = self.0.asked.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let is_time = asked.is_none_or(|at| at.elapsed() >= SETTLED_EVERY);
        if is_time {
            *asked = Some(std::time::Instant::now());
        }
        is_time
    }
}
