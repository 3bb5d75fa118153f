//! Looks that everybody shares who asks at the same time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::Weak;
use std::time::Instant;

use tokio::sync::Semaphore;

/// How many looks of a kind there may be at a time.
const MOST: usize = 4;

/// Looks of one kind, by what is looked at. A look starts programs, so however many ask, each thing is looked at once at a time, and few
/// things are: callers who may only read must not take the machine from those who change something.
#[derive(Debug)]
pub struct Looks<K, T> {
    open: Mutex<HashMap<K, Weak<Last<T>>>>,
    places: Semaphore,
}

/// When the last look was begun, and what was seen. It is locked while somebody looks.
type Last<T> = tokio::sync::Mutex<Option<(Instant, T)>>;

impl<K, T> Default for Looks<K, T> {
    fn default() -> Self {
        Self { open: Mutex::default(), places: Semaphore::new(MOST) }
    }
}

impl<K: Hash + Eq, T: Clone> Looks<K, T> {
    /// What `look` sees of `what`, or what somebody else has seen who began to look after this call.
    pub async fn share(&self, what: K, look: impl Future<Output = T>) -> T {
        let came = Instant::now();
        let last = self.last(what);
        let mut last = last.lock().await;
        if let Some((_, seen)) = last.as_ref().filter(|(begun, _)| *begun >= came) {
            return seen.clone();
        }
        let _place = self.places.acquire().await;
        let begun = Instant::now();
        let seen = look.await;
        *last = Some((begun, seen.clone()));
        seen
    }

    fn last(&self, what: K) -> Arc<Last<T>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = open.get(&what).and_then(Weak::upgrade) {
            return last;
        }
        // What nobody asks about any more is forgotten.
        open.retain(|_, last| last.strong_count() > 0);
        let last = Arc::default();
        open.insert(what, Arc::downgrade(&last));
        last
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering;

    use tokio::task::JoinSet;

    use super::Looks;

    #[derive(Default)]
    struct Counted {
        now: AtomicUsize,
        most: AtomicUsize,
        all: AtomicUsize,
    }

    impl Counted {
        /// The number of the look.
        async fn look(&self) -> usize {
            let number = self.all.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            self.now.fetch_sub(1, Ordering::SeqCst);
            number
        }
    }

    /// How many looks there are at a time and in all, when all of `asked` is asked for at once.
    async fn looks(asked: impl Iterator<Item = u32>) -> (usize, usize) {
        let (looks, counted) = (Arc::new(Looks::default()), Arc::new(Counted::default()));
        let mut callers = JoinSet::new();
        for what in asked {
            let (looks, counted) = (Arc::clone(&looks), Arc::clone(&counted));
            callers.spawn(async move { looks.share(what, counted.look()).await });
        }
        callers.join_all().await;
        let all = counted.all.load(Ordering::SeqCst);
        assert_eq!(looks.share(0, counted.look()).await, all + 1, "whoever comes later does not get what was seen before");
        assert_eq!(looks.open.lock().unwrap().len(), 1, "what nobody asks about any more is forgotten");
        (counted.most.load(Ordering::SeqCst), all)
    }

    #[tokio::test]
    async fn however_many_ask_there_are_few_looks_at_a_time() {
        let (most, all) = looks((0..1000).map(|_| 0)).await;
        assert!(most == 1 && all <= 2, "{most} {all}");
        assert_eq!(looks(0..100).await, (super::MOST, 100));
    }
}
