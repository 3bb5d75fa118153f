//! The push daemon: pushes own commits to the remote without being asked.

use std::io::Read as _;
use std::time::Duration;

use process::Cancel;
use tokio::sync::Notify;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock;
use crate::clock::Backoff;
use crate::dataset::Dataset;
use crate::dataset::DatasetError;
use crate::dataset::Push;
use crate::dataset::beneath::Beneath;
use crate::dataset::git::Repo;
use crate::dataset::git::git_folder;
use crate::dataset::park::PARKED;
use crate::dataset::refusal;
use crate::dataset::remote::Fetched;
use crate::dataset::remote::Pushed;
use crate::model::Commit;

/// How often the branch's file is examined.
const LOOK: Duration = Duration::from_millis(150);
/// A burst of commits has ended when no commit came for so long.
const QUIET: Duration = Duration::from_millis(300);
/// A burst that does not end is pushed after this time.
const LONGEST_BURST: Duration = Duration::from_secs(3);
/// Without any event, the branch is examined again after this time.
const SLOW: Duration = Duration::from_secs(30);
/// The pauses after failures.
const AGAIN: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1)).spread();
/// So long after a refusal has expired, it is certainly over.
const MARGIN: Duration = Duration::from_millis(50);
/// How long the last push may take after the daemon was told to stop.
const GRACE: Duration = Duration::from_secs(8);

impl Dataset {
    /// Pushes own commits and parked work until `cancel`. `wake` cuts a pause short; `tell` reports the present state. After
    /// `cancel` there is one last attempt within a grace period, and a running push may finish.
    ///
    /// After [`Push::Behind`] the caller reconciles and wakes it. Every failure is reported and tried again.
    pub async fn push_forever(&self, wake: &Notify, tell: &watch::Sender<Push>, cancel: &Cancel) {
        let mut again = AGAIN;
        while !cancel.is_cancelled() {
            let before = self.marks();
            tell.send_if_modified(|now| matches!(now, Push::Done).then(|| *now = Push::Working).is_some());
            let now = self.try_push(cancel).await;
            let wait = match &now {
                Push::Done | Push::Working | Push::Behind => {
                    again.reset();
                    SLOW
                }
                Push::Refused { .. } => self.refused_for(),
                Push::Waiting { .. } => again.fail(),
            };
            tell.send_replace(match now {
                Push::Waiting { why, .. } => Push::Waiting { why, next_ms: wait.as_millis() as u64 },
                other => other,
            });
            tokio::select! {
                () = cancel.cancelled() => break,
                () = wake.notified() => {}
                () = tokio::time::sleep(wait) => {}
                () = self.next_commit(&before) => {}
            }
        }
        let last = Cancel::default();
        let now = tokio::time::timeout(GRACE, self.try_push(&last))
            .await
            .unwrap_or(Push::Waiting { why: "tagalong is stopping".to_owned(), next_ms: 0 });
        tell.send_replace(now);
    }

    /// How long until a refused push may be tried again.
    fn refused_for(&self) -> Duration {
        let noted = self.open_repo().ok().flatten().and_then(|repo| repo.next_try());
        noted.map_or_else(|| clock::spread(refusal::WAIT), |wait| wait + MARGIN)
    }

    /// One attempt. `cancel` ends the wait for the lock, but not a running push.
    async fn try_push(&self, cancel: &Cancel) -> Push {
        let waiting = |why: String| Push::Waiting { why, next_ms: 0 };
        let work = match self.begin(cancel).await {
            Ok(work) => work,
            Err(error) => return waiting(error.to_string()),
        };
        let inside = Cancel::default();
        let push = async { work.repo.push_pending(&inside).await };
        let stopped = async {
            cancel.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            pushed = push => pushed.unwrap_or_else(|error| waiting(error.to_string())),
            () = stopped => waiting("tagalong is stopping".to_owned()),
        }
    }

    /// Returns when the branch has moved since `before` and then did not move for a moment.
    async fn next_commit(&self, before: &[Mark]) {
        let mut last = before.to_vec();
        while last == before {
            tokio::time::sleep(LOOK).await;
            last = self.marks();
        }
        let began = Instant::now();
        let mut since = Instant::now();
        while since.elapsed() < QUIET && began.elapsed() < LONGEST_BURST {
            tokio::time::sleep(LOOK / 3).await;
            let now = self.marks();
            if now != last {
                last = now;
                since = Instant::now();
            }
        }
    }

    /// How it shows without a git process that a ref has moved: the files that git writes it to.
    fn marks(&self) -> Vec<Mark> {
        let settings = &self.0.settings;
        let Ok(Some((git_dir, _))) = git_folder(&settings.dir) else { return Vec::new() };
        let Ok(files) = Beneath::open(&git_dir) else { return Vec::new() };
        let branch = format!("refs/heads/{}", settings.branch);
        let mark = |name: &str| {
            let found = files.file(name).and_then(|mut file| {
                let mut text = String::new();
                file.read_to_string(&mut text)?;
                Ok((text, Some(file.metadata()?.modified()?)))
            });
            found.unwrap_or_default()
        };
        [branch.as_str(), "packed-refs", "reftable/tables.list"].into_iter().map(mark).collect()
    }
}

type Mark = (String, Option<std::time::SystemTime>);

impl Repo {
    /// Pushes the commits above the remote's tip as last seen, without a fetch: the lease shows when the remote has moved.
    async fn push_pending(&self, cancel: &Cancel) -> Result<Push, DatasetError> {
        let parked = match self.publish_after_a_look(cancel).await? {
            Ok(parked) => parked,
            Err(push) => return Ok(push),
        };
        loop {
            let local = self.tip(&self.local_ref(), cancel).await?;
            let seen = self.tip(&self.upstream_ref(), cancel).await?;
            let (Some(local), Some(seen)) = (local, seen) else { return Ok(Push::Behind) };
            if !self.is_same_remote() {
                return Ok(Push::Behind);
            }
            // If the operator has set the checkout back, there is nothing to push.
            if local == seen || self.is_ancestor(local.as_str(), &seen, cancel).await? {
                return Ok(match parked {
                    None | Some(Pushed::Done | Pushed::Moved) => Push::Done,
                    Some(Pushed::Refused(why)) => Push::Refused { why },
                    Some(Pushed::Transient(why) | Pushed::Busy(why)) => Push::Waiting { why, next_ms: 0 },
                });
            }
            if !self.is_ancestor(seen.as_str(), &local, cancel).await? || self.holds_gone(&local, &seen, cancel).await? {
                return Ok(Push::Behind);
            }
            match self.push(&local, &self.local_ref(), Some(&seen), self.settings.push_deadline, cancel).await {
                Pushed::Done => self.remember(&local, Some(&seen), cancel).await?,
                Pushed::Moved => return Ok(Push::Behind),
                Pushed::Refused(why) => return Ok(Push::Refused { why }),
                Pushed::Transient(why) | Pushed::Busy(why) => return Ok(Push::Waiting { why, next_ms: 0 }),
            }
        }
    }

    /// Whether anything in `local` above `seen` may come from the remote; in that case a reconcile finds out.
    async fn holds_gone(&self, local: &Commit, seen: &Commit, cancel: &Cancel) -> Result<bool, DatasetError> {
        let gone = self.gone(&[seen.to_string()], cancel).await?;
        if gone.tips.is_empty() {
            return Ok(false);
        }
        let range = [local.to_string(), format!("^{seen}")];
        let above = self.count(&[&range[0], &range[1]], cancel).await?;
        let own: Vec<String> = range.into_iter().chain(gone.tips.iter().map(|tip| format!("^{tip}"))).collect();
        Ok(self.count(&own.iter().map(String::as_str).collect::<Vec<_>>(), cancel).await? < above)
    }

    /// Publishes parked work, after reading the remote's present refs: no lease protects those branches.
    async fn publish_after_a_look(&self, cancel: &Cancel) -> Result<Result<Option<Pushed>, Push>, DatasetError> {
        if !self.may_have_parked() || self.refs_below(PARKED, cancel).await?.is_empty() {
            return Ok(Ok(None));
        }
        match self.fetch(cancel).await? {
            Fetched::Tip(remote) => Ok(Ok(self.publish_parked(&remote, cancel).await?)),
            Fetched::NoBranch => Ok(Err(Push::Behind)),
            Fetched::Unreachable(why) => Ok(Err(Push::Waiting { why, next_ms: 0 })),
        }
    }
}
