//! Limits how many large request bodies are read at the same time, because their senders are not authenticated yet. One caller may use all
//! rooms as long as nobody else needs one. When all are taken, the caller with the most rooms gives up the oldest, if the new caller has at
//! least two less, or one less and the body has already had the time that a fast one needs. So slow strangers take rooms from each other,
//! and not from a forge whose webhooks are large.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::Notify;

/// Every body keeps its room for this long.
const TENURE: Duration = Duration::from_millis(500);

/// All rooms.
#[derive(Debug)]
pub struct Rooms {
    most: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    next: u64,
    /// The oldest first.
    rooms: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    owner: String,
    since: Instant,
    /// The body was read completely, so the room is needed until the call was answered.
    is_kept: bool,
    leave: Arc<Notify>,
}

/// One room, which is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Room {
    rooms: Arc<Rooms>,
    number: u64,
    leave: Arc<Notify>,
}

impl Rooms {
    /// `most` rooms.
    #[must_use]
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, held: Mutex::default() })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // No code panics while it holds this lock, so the data are consistent.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A room for `owner`; none if no other owner has to give one up.
    pub(super) fn take(self: &Arc<Self>, owner: &str) -> Option<Room> {
        let mut held = self.held();
        if held.rooms.len() >= self.most && !held.make_room_for(owner) {
            return None;
        }
        Some(self.enter(&mut held, owner))
    }

    /// A room for `owner`, but not the last free one, and nobody has to give one up for it.
    pub(super) fn take_spare(self: &Arc<Self>, owner: &str) -> Option<Room> {
        let mut held = self.held();
        (held.rooms.len() + 1 < self.most).then(|| self.enter(&mut held, owner))
    }

    fn enter(self: &Arc<Self>, held: &mut Held, owner: &str) -> Room {
        let number = held.next;
        let leave = Arc::new(Notify::new());
        held.next += 1;
        held.rooms.insert(number, Entry { owner: owner.to_owned(), since: Instant::now(), is_kept: false, leave: Arc::clone(&leave) });
        Room { rooms: Arc::clone(self), number, leave }
    }
}

impl Held {
    fn count(&self, owner: &str) -> usize {
        self.rooms.values().filter(|entry| entry.owner == owner).count()
    }

    fn make_room_for(&mut self, owner: &str) -> bool {
        let mine = self.count(owner);
        let can_go = |entry: &Entry| {
            let more = self.count(&entry.owner).saturating_sub(mine);
            let is_due = more >= 2 || more == 1 && entry.since.elapsed() >= TENURE;
            (is_due && !entry.is_kept).then_some(more)
        };
        let all = self.rooms.iter().filter_map(|(number, entry)| Some((can_go(entry)?, std::cmp::Reverse(*number))));
        let Some((_, std::cmp::Reverse(number))) = all.max() else { return false };
        if let Some(entry) = self.rooms.remove(&number) {
            entry.leave.notify_one();
        }
        true
    }
}

impl Room {
    /// Returns when the room was given to another owner.
    pub(super) async fn given_away(&self) {
        self.leave.notified().await;
    }

    /// The body was read completely: the room is kept until this value is dropped. Returns false if the room was given away before.
    pub(super) fn keep(&self) -> bool {
        let mut held = self.rooms.held();
        let Some(entry) = held.rooms.get_mut(&self.number) else { return false };
        entry.is_kept = true;
        true
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.rooms.held().rooms.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::Room;
    use super::Rooms;

    fn gone(room: &Room) -> bool {
        room.given_away().now_or_never().is_some()
    }

    #[test]
    fn what_is_spare_is_never_the_last_room() {
        let rooms = Rooms::new(2);
        let spare = rooms.take_spare("spent").expect("room");
        assert!(rooms.take_spare("spent").is_none());
        let right = rooms.take("right").expect("the last room");
        assert!(rooms.take_spare("other").is_none() && !gone(&right) && !gone(&spare));
    }

    #[test]
    fn slow_strangers_take_room_from_each_other_and_not_from_others() {
        let rooms = Rooms::new(3);
        let greedy: Vec<Room> = (0..3).map(|_| rooms.take("greedy").expect("room")).collect();
        assert!(rooms.take("greedy").is_none());
        let forge = rooms.take("forge").expect("room");
        assert_eq!(greedy.iter().map(gone).collect::<Vec<_>>(), [true, false, false]);
        assert!(forge.keep() && !greedy[0].keep());
        drop((greedy, forge));

        // Each has one: only time makes room, for those who have none, and never that of a body that is whole.
        let each: Vec<Room> = ["a", "b", "c"].iter().map(|owner| rooms.take(owner).expect("room")).collect();
        assert!(each[0].keep());
        assert!(rooms.take("forge").is_none());
        std::thread::sleep(super::TENURE);
        assert!(rooms.take("c").is_none(), "it has as much as the others");
        let forge = rooms.take("forge").expect("room");
        assert_eq!(each.iter().map(gone).collect::<Vec<_>>(), [false, true, false]);
        drop(each);
        assert!(forge.keep());
    }
}
