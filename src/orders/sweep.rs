//! The sweep: what is older than it is to be kept is forgotten, a little at a time and beside everything else. It takes no input,
//! and the next one is its retry.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use process::Cancel;
use tokio::time::Instant;

use crate::clock;
use crate::orders::Deployer;
use crate::store::Ended;
use crate::store::Old;
use crate::store::Place;
use crate::store::Reach;
use crate::store::StoreError;

/// How often old things are forgotten.
const SWEEP: Duration = Duration::from_hours(1);
/// How long it is known what was told to whom, which is longer than anything is owed and than is looked back.
const REMEMBERED: Duration = Duration::from_hours(30 * 24);
/// How long each look is kept by itself.
const SINGLE_LOOKS: Duration = Duration::from_hours(48);
/// How many lines are forgotten at a time.
const LINES: i64 = 1000;
/// After each time the database is left alone for so many times as long as that took, and for so long at least.
const REST: (u32, Duration) = (4, Duration::from_millis(20));

/// What is to be forgotten at a time.
#[derive(Debug, Default)]
struct Batch<'a> {
    lines: i64,
    lines_of: Vec<&'a str>,
    whole: Vec<&'a str>,
}

impl Deployer {
    /// Forgets what is old, again and again, until `stop`.
    pub async fn sweep(self: Arc<Self>, stop: Cancel) {
        loop {
            let swept = tokio::select! {
                () = stop.cancelled() => return,
                swept = self.forget_what_is_old() => swept,
            };
            if let Err(error) = swept {
                tracing::warn!(%error, "old journals and deployments could not be deleted; trying again in an hour");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(SWEEP) => {}
            }
        }
    }

    async fn forget_what_is_old(&self) -> Result<(), StoreError> {
        let config = self.config.now();
        let retention = config.retention.clone();
        let dashboard = &config.dashboard;
        let now_ms = clock::now_ms();
        let before = |kept: Duration| now_ms - kept.as_millis() as i64;
        self.forget_ended_before(before(retention.journal)).await?;
        for old in Old::ALL {
            let before = match old {
                Old::Deliveries => before(retention.deliveries),
                Old::Events | Old::Noticed | Old::Results => before(REMEMBERED),
                Old::Looks => before(SINGLE_LOOKS),
                Old::HoursOfLooks => before(retention.looks),
                Old::Incidents | Old::Watches => before(retention.journal),
                Old::Attempts => now_ms / 60_000 - 60,
            };
            while at_leisure(self.store.forget_old(old, before)).await? {}
        }
        self.store.forget_sessions(before(dashboard.longest), before(dashboard.idle), now_ms).await?;
        self.store.forget_lost_watches(before(retention.journal)).await
    }

    /// Journals end, and with them the deployments that no rollback can need.
    async fn forget_ended_before(&self, before_ms: i64) -> Result<(), StoreError> {
        let mut reaches: HashMap<String, Reach> = HashMap::new();
        let mut place = Place::default();
        loop {
            let page = at_leisure(self.store.ended_before(before_ms, &place)).await?;
            let Some(last) = page.last() else { return Ok(()) };
            place = last.place();
            for ended in &page {
                if !reaches.contains_key(&ended.service) {
                    reaches.insert(ended.service.clone(), self.store.reach(&ended.service).await?);
                }
            }
            self.forget_page(&page, &reaches).await?;
        }
    }

    async fn forget_page(&self, page: &[Ended], reaches: &HashMap<String, Reach>) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        for ended in page {
            let is_old = reaches.get(&ended.service).is_some_and(|reach| may_go(ended, reach));
            if ended.is_running || (!is_old && ended.lines() == 0) {
                continue;
            }
            if batch.lines + ended.lines() > LINES {
                self.forget_batch(std::mem::take(&mut batch)).await?;
            }
            // A journal may be longer than all others together.
            for position in (ended.first_line.unwrap_or(0) + LINES..=ended.last_line).step_by(LINES as usize) {
                at_leisure(self.store.forget_lines(&ended.id, position)).await?;
            }
            batch.lines += ended.lines().min(LINES);
            batch.lines_of.push(&ended.id);
            if is_old {
                batch.whole.push(&ended.id);
            }
        }
        self.forget_batch(batch).await
    }

    async fn forget_batch(&self, batch: Batch<'_>) -> Result<(), StoreError> {
        if batch.lines_of.is_empty() {
            return Ok(());
        }
        at_leisure(self.store.forget_ended(&batch.lines_of, &batch.whole)).await
    }
}

/// Whether nothing needs the record of a deployment any more that is older than journals are kept.
fn may_go(ended: &Ended, reach: &Reach) -> bool {
    let is_within_reach = ended.is_verified && reach.oldest.as_ref().is_none_or(|oldest| ended.id >= *oldest);
    !ended.is_running && !is_within_reach && reach.last_change.as_ref() != Some(&ended.id)
}

/// Does `work`, and rests for some time after it.
async fn at_leisure<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let began = Instant::now();
    let done = work.await;
    let (times, least) = REST;
    tokio::time::sleep((began.elapsed() * times).max(least)).await;
    done
}

#[cfg(test)]
mod tests {
    use super::may_go;
    use crate::store::Ended;
    use crate::store::Reach;

    fn ended(id: &str, is_verified: bool, is_running: bool) -> Ended {
        Ended { id: id.into(), service: "web".into(), ended_ms: 1, is_verified, is_running, first_line: None, last_line: 0 }
    }

    #[test]
    fn what_a_rollback_may_need_stays() {
        let reach = Reach { oldest: Some("C".into()), last_change: Some("A".into()) };
        let goes = |id, is_verified, is_running| may_go(&ended(id, is_verified, is_running), &reach);
        // A release that it may choose, the last change, and what a run is still at.
        assert!(!goes("C", true, false) && !goes("D", true, false) && !goes("A", false, false) && !goes("B", false, true));
        assert!(goes("B", true, false) && goes("B", false, false) && goes("D", false, false));
        // With few releases all of them can be chosen.
        assert!(!may_go(&ended("B", true, false), &Reach::default()) && may_go(&ended("B", false, false), &Reach::default()));
    }
}
