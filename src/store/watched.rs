//! Rows of what is watched, and which of them somebody gets who wants to look.

use std::time::Duration;

use sqlx::Row as _;
use sqlx::any::AnyRow;
use tokio::time::Instant;

use crate::model::DeploymentId;
use crate::model::LookResult;
use crate::model::ServiceName;
use crate::model::WatchState;
use crate::store::StoreError;
use crate::store::columns;

/// How the row of a page begins.
pub(super) const PAGE: &str = "page ";

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    /// The release that this deployment has landed.
    Release(DeploymentId),
    /// The service, on a schedule.
    Page,
}

/// A watch as it is stored.
#[derive(Debug, Clone)]
pub struct Watch {
    pub(super) id: String,
    /// What is watched.
    pub watched: Watched,
    /// Its service.
    pub service: ServiceName,
    /// How it stands.
    pub state: WatchState,
    /// Since when (ms since 1970, UTC).
    pub since_ms: i64,
    /// Until when; none: without end.
    pub until_ms: Option<i64>,
    /// How often it is looked at.
    pub every: Duration,
    /// How many looks there were.
    pub looks: i64,
    /// How many of the last looks that saw something saw it bad.
    pub bad: i64,
    /// When the last look was.
    pub last_ms: Option<i64>,
    /// What it has come to.
    pub last: Option<LookResult>,
    /// What it saw, or why the watch has ended.
    pub why: Option<String>,
    /// How often each container had been restarted by the last look, as whoever looks writes it.
    pub restarts: Option<String>,
    /// The order that it has placed.
    pub placed: Option<DeploymentId>,
    pub(super) turn: i64,
    holder: Option<String>,
    lease_ms: i64,
    next_ms: i64,
    /// The database's time when the row was read, and ours.
    now_ms: i64,
    read_at: Instant,
}

impl Watch {
    /// Its name among all watches.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether its time is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let now_ms = self.now_ms + self.read_at.elapsed().as_millis() as i64;
        self.until_ms.is_some_and(|until_ms| until_ms <= now_ms)
    }

    /// Whether somebody looks just now; what an earlier process of `claim`'s holder has left counts no more.
    fn is_held(&self, claim: &Claim<'_>) -> bool {
        let is_left = self.holder.as_deref() == Some(claim.holder) && !claim.busy.contains(&self.id);
        self.holder.is_some() && !is_left && self.lease_ms > self.now_ms
    }

    fn of_row(row: &AnyRow) -> Result<Self, StoreError> {
        let id: String = row.try_get("id")?;
        let watched = if id.starts_with(PAGE) {
            Watched::Page
        } else {
            Watched::Release(columns::parsed(row, "watches", "id", DeploymentId::parse)?)
        };
        let every_ms: i64 = row.try_get("every_ms")?;
        Ok(Self {
            watched,
            service: columns::parsed(row, "watches", "service", ServiceName::parse)?,
            state: columns::parsed(row, "watches", "state", WatchState::parse)?,
            since_ms: row.try_get("since_ms")?,
            until_ms: row.try_get("until_ms")?,
            every: Duration::from_millis(u64::try_from(every_ms).unwrap_or_default()),
            looks: row.try_get("looks")?,
            bad: row.try_get("bad")?,
            last_ms: row.try_get("last_ms")?,
            last: columns::parsed_if_any(row, "watches", "last", LookResult::parse)?,
            why: row.try_get("why")?,
            restarts: row.try_get("restarts")?,
            placed: columns::parsed_if_any(row, "watches", "placed", DeploymentId::parse)?,
            turn: row.try_get("turn")?,
            holder: row.try_get("holder")?,
            lease_ms: row.try_get("lease_ms")?,
            next_ms: row.try_get("next_ms")?,
            now_ms: row.try_get("now_ms")?,
            read_at: Instant::now(),
            id,
        })
    }
}

/// Who wants to look, and at how much.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// A name of this server alone.
    pub holder: &'a str,
    /// What it looks at already.
    pub busy: &'a [String],
    /// At how many more it may look.
    pub most: usize,
    /// How long nobody else may, without a sign of life.
    pub lease: Duration,
}

/// What its holder is to look at now.
#[derive(Debug, Default)]
pub struct Due {
    /// What was taken.
    pub watches: Vec<Watch>,
    /// How long until something else may be due; none: nothing is watched.
    pub wait: Option<Duration>,
}

/// The rows that read. One that does not is said, and left to a person.
pub(super) fn readable(rows: &[AnyRow]) -> Vec<Watch> {
    let read = |row: &AnyRow| Watch::of_row(row).inspect_err(|error| tracing::error!(%error, "something is not watched")).ok();
    rows.iter().filter_map(read).collect()
}

/// Of `all`, those that `claim` gets now, the longest due first. A service whose release is watched is not looked at on a schedule as well,
/// and nothing of a service is looked at twice at once.
pub(super) fn chosen(all: &[Watch], claim: &Claim<'_>, is_wanted: &impl Fn(&Watch) -> bool) -> Due {
    let is_busy = |service: &ServiceName| all.iter().any(|one| one.service == *service && one.is_held(claim));
    let is_replaced = |watch: &Watch| {
        watch.watched == Watched::Page && all.iter().any(|one| one.service == watch.service && one.watched != Watched::Page)
    };
    let mut due = Due::default();
    for watch in all.iter().filter(|watch| is_wanted(watch) && !is_replaced(watch)) {
        let wait_ms = if is_busy(&watch.service) { watch.next_ms.max(watch.now_ms + 1000) } else { watch.next_ms } - watch.now_ms;
        match u64::try_from(wait_ms).ok().filter(|wait_ms| *wait_ms > 0) {
            None => due.watches.push(watch.clone()),
            Some(wait_ms) => {
                let wait = Duration::from_millis(wait_ms);
                due.wait = Some(due.wait.map_or(wait, |other| other.min(wait)));
            }
        }
    }
    due.watches.sort_by_key(|watch| watch.next_ms);
    due.watches.truncate(claim.most);
    due
}
