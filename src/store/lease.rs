//! The right of a run to act on its host.
//!
//! A run belongs to a server as long as the server renews the run's lease, by the database's clock. The server itself uses its own
//! monotonic clock, counts from before it sent the renewal, and ends the run well before the lease expires for other servers. Right before
//! each act the database is asked whether the run still belongs to this server, because a server that was stopped or cut off cannot know
//! that by itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use sqlx::Row as _;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::model::DeploymentId;
use crate::store::Fence;
use crate::store::StoreError;
use crate::store::gate::Gate;

/// How long an expired lease must stay unchanged while this server watches it: a living owner renews it more often than that, so setting
/// the database's clock takes no run from a living server.
const STILL: Duration = Duration::from_secs(5);
/// How soon the database is asked again if it does not answer.
const AGAIN: Duration = Duration::from_millis(250);

/// The right of a run to act on its host, which lasts as long as it is renewed.
#[derive(Debug, Clone)]
pub struct RunLease {
    fence: Fence,
    gate: Arc<Gate>,
    /// When the right ends unless it is renewed; none: no other server can take the run.
    until: Arc<watch::Sender<Option<Instant>>>,
    is_taken_over: bool,
}

/// Permission for one act on the host, given right before the act. Only [`RunLease::leave`] gives it.
#[derive(Debug)]
pub struct Leave {
    until: Option<Instant>,
}

impl Leave {
    /// # Errors
    /// [`StoreError::Fenced`] when it was not used in time.
    pub fn still_holds(&self) -> Result<(), StoreError> {
        if is_over(self.until) { Err(StoreError::Fenced) } else { Ok(()) }
    }
}

fn is_over(until: Option<Instant>) -> bool {
    until.is_some_and(|until| Instant::now() >= until)
}

impl RunLease {
    /// Whether another process had the run before, which this very database now refuses leave.
    #[must_use]
    pub fn is_taken_over(&self) -> bool {
        self.is_taken_over
    }

    /// Gives leave for one act. If the database does not answer, it is asked again until the run's time is over.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when another server has taken the run over, or its lease could not be renewed in time. What the
    /// database said, where nobody else can take the run.
    pub async fn leave(&self) -> Result<Leave, StoreError> {
        loop {
            let until = *self.until.borrow();
            if is_over(until) {
                return Err(StoreError::Fenced);
            }
            match self.ask(until).await {
                // If this process was stopped while it asked, the answer may be out of date, so the time is checked again.
                Ok(state) if state.as_deref() == Some("running") => {
                    let leave = Leave { until };
                    return leave.still_holds().map(|()| leave);
                }
                // The run ended while it belonged to this server, and no server takes over a run that has ended.
                Ok(Some(_)) => return Ok(Leave { until: None }),
                Ok(None) => return Err(StoreError::Fenced),
                Err(error) if until.is_none() => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(deployment = %self.fence.id, %error, "the database did not say whether this run may go on; asking again");
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// The state of the run, if it still belongs to this server.
    async fn ask(&self, until: Option<Instant>) -> Result<Option<String>, sqlx::Error> {
        let mine = sqlx::query("SELECT state FROM runs WHERE deployment = $1 AND run = $2 AND fence = $3");
        let mine = mine.bind(self.fence.id.as_str()).bind(self.fence.run).bind(self.fence.number);
        let asked = self.gate.fetch_optional(mine);
        let row = match until {
            Some(until) => tokio::time::timeout_at(until, asked).await.map_err(|_| sqlx::Error::PoolTimedOut)??,
            None => asked.await?,
        };
        row.map(|row| row.try_get("state")).transpose()
    }

    /// Returns when the lease was not renewed in time: the run must end now, before another server may take it over.
    pub async fn lost(&self) {
        let mut seen = self.until.subscribe();
        loop {
            let until = *seen.borrow_and_update();
            let over = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = over => return,
                _ = seen.changed() => {}
            }
        }
    }

    fn is_of(&self, fence: &Fence) -> bool {
        (&self.fence.id, self.fence.run, self.fence.number) == (&fence.id, fence.run, fence.number)
    }
}

/// A lease as it is stored in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) fence: i64,
    pub(super) lease_ms: Option<i64>,
    /// The database's time.
    pub(super) now_ms: i64,
}

/// A lease of another server, and since when this server has seen it unchanged.
#[derive(Debug)]
struct Seen {
    fence: i64,
    lease_ms: Option<i64>,
    since: Instant,
}

/// The leases of this server's runs, and what this server has seen of those of others.
#[derive(Debug, Default)]
pub(super) struct Leases {
    own: Mutex<Vec<RunLease>>,
    seen: Mutex<HashMap<DeploymentId, Seen>>,
}

impl Leases {
    /// Registers a run that belongs to this server from now on; `asked` is when the database was asked for it.
    pub(super) fn begin(&self, gate: &Arc<Gate>, fence: Fence, asked: Instant, lease: Duration, is_taken_over: bool) {
        // Only one server uses an SQLite database.
        let until = (!gate.is_sqlite()).then(|| end_of(asked, lease));
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.retain(|one| one.fence.id != fence.id);
        own.push(RunLease { fence, gate: Arc::clone(gate), until: Arc::new(watch::Sender::new(until)), is_taken_over });
    }

    pub(super) fn of(&self, fence: &Fence) -> Option<RunLease> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).iter().find(|one| one.is_of(fence)).cloned()
    }

    /// The database has renewed the lease; the renewal was sent at `asked`.
    pub(super) fn renewed(&self, fence: &Fence, asked: Instant, lease: Duration) {
        if let Some(one) = self.of(fence) {
            one.until.send_if_modified(|until| {
                // An expired lease stays expired.
                let is_running = until.is_some() && !is_over(*until);
                *until = if is_running { Some(end_of(asked, lease)) } else { *until };
                is_running
            });
        }
    }

    /// The run ended while it belonged to this server, so no server takes it over any more.
    pub(super) fn end(&self, fence: &Fence) {
        if let Some(one) = self.of(fence) {
            one.until.send_replace(None);
        }
        self.own.lock().unwrap_or_else(PoisonError::into_inner).retain(|one| !one.is_of(fence));
    }

    /// Whether another server has let the lease of this run expire: by the database's clock, and without a renewal while this server
    /// watched; or, whatever happened to that clock, without a renewal for the whole length of the lease.
    pub(super) fn has_run_out(&self, id: &DeploymentId, stored: Stored, lease: Duration) -> bool {
        self.has_run_out_at(Instant::now(), id, stored, lease)
    }

    fn has_run_out_at(&self, now: Instant, id: &DeploymentId, stored: Stored, lease: Duration) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Stored { fence, lease_ms, .. } = stored;
        let one = seen.entry(id.clone()).or_insert(Seen { fence, lease_ms, since: now });
        if (one.fence, one.lease_ms) != (fence, lease_ms) {
            *one = Seen { fence, lease_ms, since: now };
        }
        let still = now - one.since;
        let is_over = lease_ms.is_none_or(|lease_ms| lease_ms < stored.now_ms);
        (is_over && still >= STILL) || still >= lease
    }

    /// Forgets what was seen of runs that are not in `running`.
    pub(super) fn keep(&self, running: &[&DeploymentId]) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| running.contains(&id));
    }
}

/// When a run must end whose lease began at `asked` or later. The rest of the lease is for ending every program that the run has started,
/// and for what Docker was already doing.
fn end_of(asked: Instant, lease: Duration) -> Instant {
    asked + lease * 3 / 4
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use crate::model::DeploymentId;
    use crate::store::lease::Leases;
    use crate::store::lease::Stored;

    const LEASE: Duration = Duration::from_mins(1);

    /// After how many seconds it has, looked at every second.
    fn run_out_after(by_clock: impl Fn(u64) -> Stored) -> u64 {
        let leases = Leases::default();
        let id = DeploymentId::parse(&crate::clock::new_id().to_string()).unwrap();
        let began = Instant::now();
        let has_run_out = |s: &u64| leases.has_run_out_at(began + Duration::from_secs(*s), &id, by_clock(*s), LEASE);
        (0..1000).find(has_run_out).unwrap()
    }

    /// Whoever sets the database's clock takes no run from a server that lives, and lets none stay with one that does not.
    #[test]
    fn a_clock_that_jumps_takes_no_run_from_who_lives() {
        let at = |lease_s: u64, now_s: u64| Stored { fence: 1, lease_ms: Some(lease_s as i64 * 1000), now_ms: now_s as i64 * 1000 };
        assert_eq!(run_out_after(|s| at(60, s)), 60, "it is not renewed any more");
        assert_eq!(run_out_after(|s| at(60, s + 3600)), 5, "the clock was set forward, and it is not renewed");
        assert_eq!(run_out_after(|s| at(7200, s)), 60, "the clock was set back");
        let renewed_until_99 = |s: u64| at(s.min(99) / 2 * 2 + 60, s + 3600 * u64::from(s > 20));
        assert_eq!(run_out_after(renewed_until_99), 98 + 5, "the clock was set forward while it is renewed");
    }
}
