//! The lock of a stack's folder: one run at a time, no matter who carries it out.
//!
//! What tagalong itself holds it for is an order that ends by itself, so it is waited for. What a stranger holds it for nobody can
//! know: the journal names him, and he is waited for as long as an order may wait at all.

use std::path::Path;
use std::time::Duration;

use process::HostLock;
use process::LockError;
use tokio::time::Instant;

use crate::landing::site::Site;
use crate::landing::stop::Fault;
use crate::landing::stop::Stop;
use crate::model::CancelledBy;
use crate::model::DeploymentId;
use crate::model::State;

/// How long one attempt lasts; between attempts, tagalong checks who holds the lock and whether the order was cancelled.
const BOUT: Duration = Duration::from_secs(1);
/// How often the journal says that the deployment is still waiting for the lock.
const SAY: Duration = Duration::from_secs(30);
/// How long until a lock file that cannot be opened is tried again; it becomes twice as long each time, up to the second.
const AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// What remains unfinished if a run does not get the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stake {
    /// Nothing: the run has changed nothing.
    Nothing,
    /// A change by this order, which must be finished or undone.
    Own,
    /// A change by a deployment that this order stopped.
    PreEmpted,
}

/// Takes the lock.
///
/// # Errors
/// When it cannot be had within the time that an order may wait, or the order is cancelled meanwhile and leaves nothing undone
/// that is not somebody else's by now.
pub(super) async fn take(site: &mut Site<'_>, stake: Stake) -> Result<HostLock, Stop> {
    let dir = site.engine.dir().to_owned();
    let mut wait = Wait { began: Instant::now(), last_line: None, pause: AGAIN.0 };
    loop {
        end_leavings_of_ended(site, &dir).await;
        let error = match HostLock::take(&dir, site.record.id().as_str(), BOUT).await {
            Ok(lock) => return Ok(lock),
            Err(error) => error,
        };
        if site.cancel.is_cancelled() && may_go(site, stake).await? {
            return Err(Stop::Cancelled);
        }
        match &error {
            // With nothing changed it is better said at once.
            LockError::File(..) if stake == Stake::Nothing => return Err(Fault::Lock(error).into()),
            LockError::File(..) => {
                wait.say(site, &format!("{error} The rollback of what was changed waits for the lock, for at most {}", bound(site)));
                wait.rest().await;
            }
            LockError::Taken(..) if site.lease.is_taken_over() => {
                match HostLock::take_from_stopped(&dir, site.record.id().as_str()).await {
                    Ok(Some(lock)) => {
                        site.record
                            .journal
                            .warning("the server that carried this out is stopped; its programs were ended, and its lock was replaced");
                        return Ok(lock);
                    }
                    Ok(None) => wait.say(site, &format!("{error} It is waited for, at most {}", bound(site))),
                    Err(error) => return Err(Fault::Lock(error).into()),
                }
            }
            LockError::Taken(..) if is_ours(site, &dir).await => {
                wait.say(site, &format!("{} is still locked by another order; waiting for it", dir.display()));
                continue;
            }
            LockError::Taken(..) => {
                wait.say(site, &format!("{error} Waiting for the lock, for at most {}", bound(site)));
            }
        }
        if wait.began.elapsed() >= site.service.max_wait {
            return Err(Fault::Lock(error).into());
        }
    }
}

fn bound(site: &Site<'_>) -> String {
    format!("{} s (max_wait_s)", site.service.max_wait.as_secs())
}

/// How long the run has been waiting, and what the journal says about it.
struct Wait {
    began: Instant,
    /// The last words of it, and when.
    last_line: Option<(String, Instant)>,
    /// How long until the next try.
    pause: Duration,
}

impl Wait {
    /// Says it when it is new, or was not said for a while.
    fn say(&mut self, site: &mut Site<'_>, words: &str) {
        let is_known = self.last_line.as_ref().is_some_and(|(known, at)| known == words && at.elapsed() < SAY);
        if !is_known {
            site.record.journal.warning(words);
            self.last_line = Some((words.to_owned(), Instant::now()));
        }
    }

    async fn rest(&mut self) {
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(AGAIN.1);
    }
}

/// Whether a cancelled order may end without the lock: nothing is left undone, or the rollback that stops it takes it up.
async fn may_go(site: &Site<'_>, stake: Stake) -> Result<bool, Stop> {
    Ok(stake == Stake::Nothing || matches!(site.record.cancelled_by().await?, CancelledBy::Rollback(_)))
}

/// Whether a running tagalong holds the lock for an order of this database.
async fn is_ours(site: &Site<'_>, dir: &Path) -> bool {
    let Some(id) = process::work_under_way(dir).and_then(|work| DeploymentId::parse(&work).ok()) else { return false };
    // A server over a copy of the data folder may be at this very order, and is a stranger.
    id != *site.record.id() && site.record.state_of(&id).await.is_some()
}

/// Stops the programs that tagalong left running for this order before its last restart: they inherited the lock's descriptor and
/// are found by it.
pub(super) async fn end_left_behind(site: &mut Site<'_>) {
    let ended = process::end_left_behind(site.engine.dir(), site.record.id().as_str()).await;
    let left = match ended {
        0 => String::new(),
        1 => " after stopping a process that was left running".to_owned(),
        more => format!(" after stopping {more} processes that were left running"),
    };
    site.record.journal.warning(format!("tagalong was stopped during this deployment; continuing{left}"));
}

/// tagalong may have been killed just after it stored an outcome, with a program of that deployment still running. A deployment that
/// has ended is not recovered, so the next one that wants the lock stops what is left.
async fn end_leavings_of_ended(site: &Site<'_>, dir: &Path) {
    let Some(work) = process::work_left_behind(dir) else { return };
    let Ok(id) = DeploymentId::parse(&work) else { return };
    if matches!(site.record.state_of(&id).await, Some(State::Done { .. })) {
        process::end_left_behind(dir, &work).await;
    }
}
