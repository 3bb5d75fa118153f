//! Limits how many clients follow journals. One caller may have all places as long as nobody else needs one. When all are taken, the oldest
//! follower of the caller who has the most is disconnected, if that caller has at least two more than the new one. A disconnected follower
//! connects again and continues after the last line that it has.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use tokio::sync::Notify;
use tokio::sync::watch;

/// All followers.
#[derive(Debug, Default)]
pub struct Followers {
    held: Mutex<Held>,
    /// How often something has changed that may end the right of one of them.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Held {
    next: u64,
    /// The oldest first.
    places: BTreeMap<u64, (String, Arc<Notify>)>,
}

/// One place, which is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    followers: Arc<Followers>,
    number: u64,
    leave: Arc<Notify>,
}

impl Followers {
    fn held(&self) -> MutexGuard<'_, Held> {
        // No code panics while it holds this lock, so the data are consistent.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keys, policies, users or sessions have changed: every follower whose right has ended with that is disconnected.
    pub fn look_again(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Tells of every such change; the number itself means nothing.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// A place for `caller`, of at most `most` in all. None if no other caller has enough places to give one up.
    pub(super) fn take(self: &Arc<Self>, caller: &str, most: usize) -> Option<Place> {
        let mut held = self.held();
        if held.places.len() >= most && !held.make_room_for(caller) {
            return None;
        }
        let number = held.next;
        let leave = Arc::new(Notify::new());
        held.next += 1;
        held.places.insert(number, (caller.to_owned(), Arc::clone(&leave)));
        Some(Place { followers: Arc::clone(self), number, leave })
    }
}

impl Held {
    fn make_room_for(&mut self, caller: &str) -> bool {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for (holder, _) in self.places.values() {
            *counts.entry(holder).or_default() += 1;
        }
        let mine = counts.get(caller).copied().unwrap_or(0);
        // At least two more: with one more, the two callers would take the place from each other again and again.
        let largest = counts.iter().max_by_key(|(_, count)| **count).filter(|(_, count)| **count >= mine + 2);
        let Some((largest, _)) = largest else { return false };
        let oldest = self.places.iter().find(|(_, (holder, _))| holder == largest).map(|(number, _)| *number);
        if let Some((_, leave)) = oldest.and_then(|number| self.places.remove(&number)) {
            leave.notify_one();
        }
        true
    }
}

impl Place {
    /// Returns when the place was given to another caller.
    pub(super) async fn given_away(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.followers.held().places.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt as _;

    use super::Followers;
    use super::Place;

    #[test]
    fn one_caller_may_have_all_places_and_keeps_none_from_another() {
        let followers = Arc::new(Followers::default());
        let take = |caller: &str| followers.take(caller, 4);
        let gone = |place: &Place| place.given_away().now_or_never().is_some();
        let greedy: Vec<Place> = (0..4).map(|_| take("greedy").expect("a place")).collect();
        assert!(take("greedy").is_none());
        let other = take("other").expect("a place");
        assert_eq!(greedy.iter().map(gone).collect::<Vec<_>>(), [true, false, false, false]);
        let second = take("other").expect("a place");
        assert!(take("other").is_none() && take("greedy").is_none(), "two and two");
        // A third gets one of theirs, and then everybody has what is fair.
        let third = take("third").expect("a place");
        assert!(take("third").is_none());
        drop((third, other));
        assert!(take("greedy").is_some());
        drop(second);
    }
}
