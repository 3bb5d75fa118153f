//! What was seen last of things outside, for those who do not wait until something answers.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::timeout_at;

use crate::clock;

/// What nobody has asked about for so long is forgotten.
const KEPT: Duration = Duration::from_mins(15);

/// What was seen last, by what is looked at. However many ask, each thing is looked at once at a time.
#[derive(Debug)]
pub(super) struct Sights<K, T> {
    all: Arc<Mutex<HashMap<K, Sight<T>>>>,
}

#[derive(Debug)]
struct Sight<T> {
    asked: Instant,
    last: Option<Seen<T>>,
    /// Since when somebody looks, and who is told when that has ended.
    looking: Option<(Instant, watch::Receiver<bool>)>,
}

/// What was seen.
#[derive(Debug, Clone)]
pub(super) struct Seen<T> {
    /// What.
    pub(super) what: T,
    /// When the look was begun.
    pub(super) began: Instant,
    /// When it ended.
    pub(super) ended: Instant,
    /// The same, ms since 1970 (UTC).
    pub(super) at_ms: i64,
}

/// The right to look: whoever has it is the only one. A look that is given up ends with it.
#[derive(Debug)]
pub(super) struct Turn<K: Hash + Eq, T> {
    of: K,
    began: Instant,
    all: Arc<Mutex<HashMap<K, Sight<T>>>>,
    over: watch::Sender<bool>,
}

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code panics while it holds this lock, so the data are consistent.
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K, T> Default for Sights<K, T> {
    fn default() -> Self {
        Self { all: Arc::default() }
    }
}

impl<K: Hash + Eq + Clone, T: Clone> Sights<K, T> {
    /// The right to look at `of`; none: somebody looks already.
    pub(super) fn begin(&self, of: &K) -> Option<Turn<K, T>> {
        let now = Instant::now();
        let mut all = held(&self.all);
        all.retain(|_, sight| sight.looking.is_some() || now.duration_since(sight.asked) < KEPT);
        let sight = all.entry(of.clone()).or_insert_with(|| Sight { asked: now, last: None, looking: None });
        sight.asked = now;
        if sight.looking.is_some() {
            return None;
        }
        let (over, is_over) = watch::channel(false);
        sight.looking = Some((now, is_over));
        Some(Turn { of: of.clone(), began: now, all: Arc::clone(&self.all), over })
    }

    /// Waits until the look at `of` that is under way has ended, until `bound` after it was begun at most.
    pub(super) async fn wait(&self, of: &K, bound: Duration) {
        let looking = held(&self.all).get(of).and_then(|sight| sight.looking.clone());
        let Some((began, mut is_over)) = looking else { return };
        let _ = timeout_at(began + bound, is_over.wait_for(|is_over| *is_over)).await;
    }

    /// What was seen last of `of`, however long ago.
    pub(super) fn last(&self, of: &K) -> Option<Seen<T>> {
        held(&self.all).get(of)?.last.clone()
    }
}

impl<K: Hash + Eq, T> Turn<K, T> {
    /// The look has ended with `what`.
    pub(super) fn seen(self, what: T) {
        let seen = Seen { what, began: self.began, ended: Instant::now(), at_ms: clock::now_ms() };
        if let Some(sight) = held(&self.all).get_mut(&self.of) {
            sight.last = Some(seen);
        }
    }
}

impl<K: Hash + Eq, T> Drop for Turn<K, T> {
    fn drop(&mut self) {
        if let Some(sight) = held(&self.all).get_mut(&self.of) {
            sight.looking = None;
        }
        self.over.send_replace(true);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Sights;

    #[tokio::test]
    async fn one_looks_and_the_others_wait_no_longer_than_they_want() {
        let sights: Sights<&str, u32> = Sights::default();
        let turn = sights.begin(&"a").expect("the first");
        assert!(sights.begin(&"a").is_none() && sights.begin(&"b").is_some());
        let began = Instant::now();
        sights.wait(&"a", Duration::from_millis(50)).await;
        let waited = began.elapsed();
        assert!(waited >= Duration::from_millis(50), "{waited:?}");
        // It is known by now that it takes long: nobody waits once more, however long they would.
        tokio::time::timeout(Duration::from_mins(1), sights.wait(&"a", Duration::from_millis(50))).await.expect("no wait");
        assert!(sights.last(&"a").is_none());
        turn.seen(7);
        assert_eq!(sights.last(&"a").map(|seen| seen.what), Some(7));
        // While somebody looks again, what was seen before stays; and so it does when they give up.
        let again = sights.begin(&"a").expect("a second");
        assert_eq!(sights.last(&"a").map(|seen| seen.what), Some(7));
        drop(again);
        assert_eq!(sights.last(&"a").map(|seen| seen.what), Some(7));
        assert!(sights.begin(&"a").is_some());
    }

    #[tokio::test]
    async fn whoever_waits_is_told_when_it_ends() {
        let sights: Sights<u32, u32> = Sights::default();
        let turn = sights.begin(&1).expect("the first");
        let began = Instant::now();
        let look = async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            turn.seen(1);
        };
        // Far sooner than who waits would wait.
        tokio::join!(look, sights.wait(&1, Duration::from_hours(1)));
        assert!(began.elapsed() >= Duration::from_millis(30));
    }
}
