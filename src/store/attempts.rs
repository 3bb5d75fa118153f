//! Counts failed attempts by address and minute. They are counted in memory, so that a refusal never waits for the disk, and are written to
//! the database together from time to time. Servers that share a database therefore know each other's counts within a second, and a
//! restarted server reads what was written.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use process::Cancel;
use sqlx::Row as _;

use crate::clock;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::many;

/// How many addresses are counted. If there are more, those with the fewest attempts are forgotten first: whoever has that many addresses
/// is not stopped by a limit for each one.
const MOST_ADDRESSES: usize = 16_384;
/// How many addresses are written at a time, those with the most attempts first.
const MOST_SETTLED: usize = 1024;
/// How many addresses are read from the database at a time.
const MOST_TAKEN: i64 = 4096;
/// How often the counts are written to the database.
const SETTLE_EVERY: Duration = Duration::from_millis(400);
/// How long the database keeps counts, in minutes.
const KEPT_MIN: i64 = 2;

/// The counts of the current minute.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<Minute>);

#[derive(Debug, Default)]
struct Minute {
    /// Minutes since 1970.
    number: i64,
    by_address: HashMap<Box<str>, Count>,
    /// The minute in which older counts were last deleted from the database.
    swept: i64,
    /// Whether the counts in the database were read since this server started.
    is_looked: bool,
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    /// The attempts on all servers, as far as this server knows.
    all: i64,
    /// Those of this server that are not in the database yet.
    open: i64,
}

impl Minute {
    fn turn_to(&mut self, minute: i64) {
        if self.number != minute {
            // Counts of a minute that is over matter no more, whether they were written or not.
            self.by_address.clear();
            self.by_address.shrink_to(MOST_ADDRESSES / 4);
            self.number = minute;
        }
    }

    /// Forgets the half with the fewest attempts.
    fn make_room(&mut self) {
        let mut counts: Vec<i64> = self.by_address.values().map(|count| count.all).collect();
        let middle = counts.len() / 2;
        let (_, median, _) = counts.select_nth_unstable(middle);
        let median = *median;
        let mut equal = self.by_address.len() / 4;
        self.by_address.retain(|_, count| {
            // If many addresses have the median number, some of them are kept.
            let stays = count.all > median || (count.all == median && equal > 0);
            equal = equal.saturating_sub(usize::from(stays && count.all == median));
            stays
        });
    }
}

impl Attempts {
    fn count(&self, address: &str, minute: i64) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        now.turn_to(minute);
        if !now.by_address.contains_key(address) && now.by_address.len() >= MOST_ADDRESSES {
            now.make_room();
        }
        let count = now.by_address.entry(address.into()).or_default();
        count.all += 1;
        count.open += 1;
    }

    fn of(&self, address: &str, minute: i64) -> i64 {
        let now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.number == minute { now.by_address.get(address).map_or(0, |count| count.all) } else { 0 }
    }

    /// What must be written, those with the most attempts first, and whether counts of older minutes must be deleted.
    fn open(&self, minute: i64) -> (Vec<(Box<str>, i64)>, bool) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        now.turn_to(minute);
        let mut open: Vec<(Box<str>, Count)> =
            now.by_address.iter().filter(|(_, count)| count.open > 0).map(|(address, count)| (address.clone(), *count)).collect();
        if open.len() > MOST_SETTLED {
            open.select_nth_unstable_by_key(MOST_SETTLED, |(_, count)| -count.all);
            open.truncate(MOST_SETTLED);
        }
        // The order is always the same, so that two servers do not wait for each other's rows.
        open.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let is_sweep = !open.is_empty() && now.swept != minute;
        (open.into_iter().map(|(address, count)| (address, count.open)).collect(), is_sweep)
    }

    fn is_looked(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_looked
    }

    fn looked(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_looked = true;
    }

    /// Adopts the counts that the database has. `settled` is the part of them that this server has just written.
    fn take(&self, minute: i64, settled: &[(Box<str>, i64)], stored: &[(String, i64)], is_swept: bool) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.number != minute {
            return;
        }
        if is_swept {
            now.swept = minute;
        }
        for (address, many) in settled {
            if let Some(count) = now.by_address.get_mut(address) {
                count.open -= many;
            }
        }
        for (address, many) in stored {
            if !now.by_address.contains_key(address.as_str()) && now.by_address.len() >= MOST_ADDRESSES {
                now.make_room();
            }
            let count = now.by_address.entry(address.as_str().into()).or_default();
            count.all = count.all.max(many + count.open);
        }
    }
}

fn this_minute() -> i64 {
    clock::now_ms() / 60_000
}

impl Store {
    /// Counts one failed attempt of `address` in this minute, in memory.
    pub fn count_failed(&self, address: &str) {
        self.attempts.count(address, this_minute());
    }

    /// How many failed attempts `address` has in this minute, as far as this server knows.
    #[must_use]
    pub fn failed_attempts(&self, address: &str) -> i64 {
        self.attempts.of(address, this_minute())
    }

    /// Writes failed attempts to the database until `stop`, and reads what other servers of the same database have counted.
    pub async fn share_attempts(self, stop: Cancel) {
        let mut is_told = false;
        loop {
            match self.settle_attempts().await {
                Ok(()) => is_told = false,
                Err(error) if !is_told => {
                    tracing::warn!(%error, "failed attempts could not be stored; they are counted only on this server for now");
                    is_told = true;
                }
                Err(_) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(SETTLE_EVERY) => {}
            }
        }
    }

    /// Adds this server's counts to those in the database, and adopts the sums.
    ///
    /// # Errors
    /// When the database does not answer; the counts are added the next time.
    pub async fn settle_attempts(&self) -> Result<(), StoreError> {
        let minute = this_minute();
        let (open, is_sweep) = self.attempts.open(minute);
        if !open.is_empty() {
            let mut tx = self.gate.begin().await?;
            if is_sweep {
                tx.execute(sqlx::query("DELETE FROM attempts WHERE minute < $1").bind(minute - KEPT_MIN)).await?;
            }
            for part in many::parts(&open) {
                let insert = many::insert(
                    "attempts (address, minute, failed)",
                    3,
                    part.len(),
                    " ON CONFLICT (address, minute) DO UPDATE SET failed = attempts.failed + excluded.failed",
                );
                let insert = part.iter().fold(insert, |insert, (address, many)| insert.bind(&**address).bind(minute).bind(*many));
                tx.execute(insert).await?;
            }
            tx.commit().await?;
            // The counts are in the database now, even if reading the sums fails.
            self.attempts.take(minute, &open, &[], is_sweep);
        }
        // Only one server uses an SQLite database, so after the first look it contains nothing that this server does not know.
        if self.is_sqlite && self.attempts.is_looked() {
            return Ok(());
        }
        let all = "SELECT address, failed FROM attempts WHERE minute = $1 ORDER BY failed DESC LIMIT $2";
        let rows = self.gate.fetch_all(sqlx::query(all).bind(minute).bind(MOST_TAKEN)).await?;
        let stored: Result<Vec<(String, i64)>, sqlx::Error> =
            rows.iter().map(|row| Ok((row.try_get("address")?, row.try_get("failed")?))).collect();
        self.attempts.take(minute, &[], &stored?, false);
        self.attempts.looked();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Attempts;
    use super::MOST_ADDRESSES;
    use super::MOST_SETTLED;

    #[test]
    fn a_million_addresses_take_little_room_and_push_out_nobody_who_fails_often() {
        let attempts = Attempts::default();
        for _ in 0..30 {
            attempts.count("192.0.2.1", 7);
        }
        for n in 0..1_000_000 {
            attempts.count(&format!("2001:db8:{n:x}::/64"), 7);
        }
        assert!(attempts.0.lock().expect("whole").by_address.len() <= MOST_ADDRESSES);
        assert_eq!(attempts.of("192.0.2.1", 7), 30);
        assert_eq!(attempts.of("192.0.2.1", 8), 0);
        let (open, _) = attempts.open(7);
        assert_eq!(open.len(), MOST_SETTLED);
        assert!(open.contains(&("192.0.2.1".into(), 30)));
    }

    #[test]
    fn what_is_settled_and_what_others_counted_add_up() {
        let attempts = Attempts::default();
        attempts.count("a", 1);
        attempts.count("a", 1);
        let (open, is_sweep) = attempts.open(1);
        assert_eq!((open.as_slice(), is_sweep), (&[("a".into(), 2)][..], true));
        // One more comes while they are being written; another server had three.
        attempts.count("a", 1);
        attempts.take(1, &open, &[("a".to_owned(), 5), ("b".to_owned(), 9)], true);
        assert_eq!((attempts.of("a", 1), attempts.of("b", 1)), (6, 9));
        assert_eq!(attempts.open(1), (vec![("a".into(), 1)], false));
        // The next minute begins at nothing.
        attempts.count("a", 2);
        assert_eq!((attempts.of("a", 2), attempts.of("b", 2)), (1, 0));
    }
}
