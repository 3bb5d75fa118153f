//! The configuration in force, for everybody who needs it at the moment.

use std::sync::Arc;

use tokio::sync::watch;

/// A value that another may take the place of, whole and at once. Clones share it.
#[derive(Debug)]
pub struct Live<T>(Arc<watch::Sender<Arc<T>>>);

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Live<T> {
    /// `first` is in force.
    #[must_use]
    pub fn new(first: T) -> Self {
        Self(Arc::new(watch::Sender::new(Arc::new(first))))
    }

    /// What is in force now. Anybody who holds it keeps it whole, whatever takes its place meanwhile.
    #[must_use]
    pub fn now(&self) -> Arc<T> {
        Arc::clone(&self.0.borrow())
    }

    /// It was read again: `next` is in force for everybody who asks from now on.
    pub fn read_again(&self, next: T) {
        self.0.send_replace(Arc::new(next));
    }

    /// Changes whenever another takes the place of what is in force.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Arc<T>> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::Live;

    #[test]
    fn who_has_the_old_one_keeps_it_and_who_asks_gets_the_new_one() {
        let live = Live::new(1);
        let (mine, beside) = (live.now(), live.clone());
        live.read_again(2);
        assert_eq!((*mine, *live.now(), *beside.now()), (1, 2, 2));
    }
}
