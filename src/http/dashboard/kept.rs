//! What pages show of things that take long to read: it is read in the background, once at a time, and kept for a while.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::watch;
use tokio::time::timeout;

/// What was read last.
#[derive(Debug)]
pub(super) struct Kept<T>(Arc<Mutex<Inner<T>>>);

#[derive(Debug)]
struct Inner<T> {
    last: Option<(Instant, Arc<T>)>,
    /// Told when the reading that is under way has ended.
    reading: Option<watch::Receiver<()>>,
}

/// For how long what was read is good, and how long a page waits for more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) good_for: Duration,
    /// Where nothing was read before.
    pub(super) first: Duration,
    /// Where something older can be shown.
    pub(super) again: Duration,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Inner { last: None, reading: None })))
    }
}

fn held<T>(inner: &Mutex<Inner<T>>) -> MutexGuard<'_, Inner<T>> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Send + Sync + 'static> Kept<T> {
    /// What `read` gives, or gave before; none: nothing was read yet. A reading that gives none changes nothing.
    pub(super) async fn now<F>(&self, patience: Patience, read: impl FnOnce() -> F) -> Option<Arc<T>>
    where
        F: Future<Output = Option<T>> + Send + 'static,
    {
        let (mut reading, wait) = {
            let mut inner = held(&self.0);
            if let Some((_, last)) = inner.last.as_ref().filter(|(at, _)| at.elapsed() < patience.good_for) {
                return Some(Arc::clone(last));
            }
            if inner.reading.is_none() {
                let (over, reading) = watch::channel(());
                inner.reading = Some(reading);
                tokio::spawn(kept(Arc::clone(&self.0), read(), over));
            }
            let wait = if inner.last.is_some() { patience.again } else { patience.first };
            (inner.reading.clone()?, wait)
        };
        let _ = timeout(wait, reading.changed()).await;
        held(&self.0).last.as_ref().map(|(_, last)| Arc::clone(last))
    }
}

/// Ends the reading, however that ends.
struct Over<T>(Arc<Mutex<Inner<T>>>);

impl<T> Drop for Over<T> {
    fn drop(&mut self) {
        held(&self.0).reading = None;
    }
}

/// The reading's end is told when `over` is dropped.
async fn kept<T>(inner: Arc<Mutex<Inner<T>>>, read: impl Future<Output = Option<T>>, over: watch::Sender<()>) {
    let _over = over;
    let end = Over(inner);
    if let Some(read) = read.await {
        held(&end.0).last = Some((Instant::now(), Arc::new(read)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::Notify;

    use super::Kept;
    use super::Patience;

    const PATIENCE: Patience = Patience { good_for: Duration::ZERO, first: Duration::from_millis(10), again: Duration::ZERO };

    #[tokio::test]
    async fn what_is_known_is_shown_while_more_is_read() {
        let kept: Kept<u32> = Kept::default();
        assert_eq!(kept.now(PATIENCE, async || Some(1)).await.as_deref(), Some(&1));
        let gate = Arc::new(Notify::new());
        let slow = Arc::clone(&gate);
        let begun = || async move {
            slow.notified().await;
            Some(2)
        };
        assert_eq!(kept.now(PATIENCE, begun).await.as_deref(), Some(&1), "nobody waits");
        assert_eq!(kept.now(PATIENCE, async || Some(9)).await.as_deref(), Some(&1), "one reads at a time");
        gate.notify_one();
        while kept.now(Patience { good_for: Duration::from_mins(1), ..PATIENCE }, async || None).await.as_deref() != Some(&2) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_is_not_known_is_not_waited_for_long() {
        let kept: Kept<u32> = Kept::default();
        assert!(kept.now(PATIENCE, std::future::pending).await.is_none());
        assert!(kept.now(PATIENCE, async || Some(1)).await.is_none());
    }
}
