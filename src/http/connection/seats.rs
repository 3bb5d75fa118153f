//! Who has a place among the connections. A new connection gets a place as long as another one can be closed for it: first the oldest
//! unauthenticated connection of the address that has the most of them, then the connection that has been idle for longest. So strangers
//! take places from each other, and never from a call that is being answered.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::Notify;

use crate::http::connection::Capacity;

/// Every connection keeps its place for this long, so that a call that is sent at once arrives.
const TENURE: Duration = Duration::from_millis(50);

/// All places.
#[derive(Debug)]
pub(in crate::http) struct Seats {
    capacity: Capacity,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    next: u64,
    /// By number, the oldest first; a place whose owner or standing changes gets a new number.
    seats: BTreeMap<u64, Entry>,
    /// How many unauthenticated connections each owner has.
    strangers: HashMap<Owner, usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Owner {
    Subscriber(String),
    /// A connection of a trusted proxy that has not yet named its caller.
    Proxy(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Not authenticated.
    Stranger,
    /// Waits for another call, after the last one was authenticated.
    Idle,
    /// Its call was read completely, and is being authenticated or answered.
    Served,
}

#[derive(Debug)]
struct Entry {
    owner: Owner,
    standing: Standing,
    since: Instant,
    leave: Arc<Notify>,
}

/// One place, which is free again when this is dropped.
#[derive(Debug)]
pub(in crate::http) struct Seat {
    seats: Arc<Seats>,
    number: AtomicU64,
    is_proxy: bool,
    leave: Arc<Notify>,
}

impl Seats {
    pub(in crate::http) fn new(capacity: Capacity) -> Arc<Self> {
        Arc::new(Self { capacity, held: Mutex::default() })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // No code panics while it holds this lock, so the data are consistent.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection from `peer`; none if every place is held by a call that is being answered, or by a connection that has only
    /// just been accepted.
    pub(in crate::http) fn take(self: &Arc<Self>, peer: IpAddr, is_proxy: bool) -> Option<Seat> {
        let mut held = self.held();
        let owner = if is_proxy { Owner::Proxy(held.next) } else { Owner::Subscriber(subscriber(peer)) };
        if held.count(&owner) >= self.capacity.of_one_address {
            held.evict_oldest_of(&owner, None);
        }
        if held.seats.len() >= self.capacity.connections && !held.evict() {
            return None;
        }
        let leave = Arc::new(Notify::new());
        let number = held.insert(Entry { owner, standing: Standing::Stranger, since: Instant::now(), leave: Arc::clone(&leave) });
        Some(Seat { seats: Arc::clone(self), number: AtomicU64::new(number), is_proxy, leave })
    }
}

impl Held {
    fn count(&self, owner: &Owner) -> usize {
        self.strangers.get(owner).copied().unwrap_or(0)
    }

    fn insert(&mut self, entry: Entry) -> u64 {
        let number = self.next;
        self.next += 1;
        if entry.standing == Standing::Stranger {
            *self.strangers.entry(entry.owner.clone()).or_default() += 1;
        }
        self.seats.insert(number, entry);
        number
    }

    fn remove(&mut self, number: u64) -> Option<Entry> {
        let entry = self.seats.remove(&number)?;
        if entry.standing == Standing::Stranger
            && let Some(count) = self.strangers.get_mut(&entry.owner)
        {
            *count -= 1;
            if *count == 0 {
                self.strangers.remove(&entry.owner);
            }
        }
        Some(entry)
    }

    fn turn_out(&mut self, number: u64) {
        if let Some(entry) = self.remove(number) {
            entry.leave.notify_one();
        }
    }

    fn evict_oldest_of(&mut self, owner: &Owner, but: Option<u64>) {
        let is_one =
            |(number, entry): &(&u64, &Entry)| entry.standing == Standing::Stranger && entry.owner == *owner && Some(**number) != but;
        if let Some(oldest) = self.seats.iter().find(is_one).map(|(number, _)| *number) {
            self.turn_out(oldest);
        }
    }

    /// Closes the oldest connection of the owner that has the most unauthenticated ones, or else the one that has been idle for longest.
    /// Returns false if all of them are too new to be closed.
    fn evict(&mut self) -> bool {
        let mut most = 0;
        let mut victim = None;
        for (number, entry) in self.seats.iter().filter(|(_, entry)| entry.may_go(Standing::Stranger)) {
            let count = self.count(&entry.owner);
            if count > most {
                most = count;
                victim = Some(*number);
            }
        }
        let idle = || self.seats.iter().find(|(_, entry)| entry.may_go(Standing::Idle)).map(|(number, _)| *number);
        let Some(victim) = victim.or_else(idle) else { return false };
        self.turn_out(victim);
        true
    }
}

impl Entry {
    fn may_go(&self, standing: Standing) -> bool {
        self.standing == standing && self.since.elapsed() >= TENURE
    }
}

impl Seat {
    /// A trusted proxy names `subscriber` as the caller. Does nothing for a direct connection, whose own address counts.
    pub(in crate::http) fn is_for(&self, subscriber: &str) {
        if self.is_proxy {
            let owner = Owner::Subscriber(subscriber.to_owned());
            let most = self.seats.capacity.of_one_address;
            if let Some((number, mut held)) = self.change(|entry| entry.owner = owner.clone())
                && held.count(&owner) > most
            {
                held.evict_oldest_of(&owner, Some(number));
            }
        }
    }

    /// The call was read completely, so the place is kept until it is answered. Returns false if the place was given away before.
    pub(in crate::http) fn serve(&self) -> bool {
        self.change(|entry| entry.standing = Standing::Served).is_some()
    }

    /// The call was answered. `stays` says whether the connection is kept open for another one.
    pub(in crate::http) fn answered(&self, stays: bool) {
        let mut owner = None;
        if self.is_proxy {
            owner = Some(Owner::Proxy(self.number.load(Ordering::SeqCst)));
        }
        self.change(|entry| {
            entry.standing = if stays { Standing::Idle } else { Standing::Stranger };
            entry.owner = owner.take().unwrap_or_else(|| entry.owner.clone());
        });
    }

    fn change(&self, change: impl FnOnce(&mut Entry)) -> Option<(u64, MutexGuard<'_, Held>)> {
        let mut held = self.seats.held();
        let mut entry = held.remove(self.number.load(Ordering::SeqCst))?;
        change(&mut entry);
        let number = held.insert(entry);
        self.number.store(number, Ordering::SeqCst);
        Some((number, held))
    }

    /// Returns when the place was given to another connection.
    pub(in crate::http) async fn given_away(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let number = self.number.load(Ordering::SeqCst);
        self.seats.held().remove(number);
    }
}

/// The address, or the /64 of an IPv6 address.
pub(in crate::http) fn subscriber(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V6(ip) => {
            let s = ip.segments();
            format!("{:x}:{:x}:{:x}:{:x}::/64", s[0], s[1], s[2], s[3])
        }
        IpAddr::V4(ip) => ip.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt as _;

    use super::Seat;
    use super::Seats;
    use crate::http::connection::Capacity;

    fn seats(connections: usize, of_one_address: usize) -> Arc<Seats> {
        Seats::new(Capacity { connections, of_one_address, over_socket: 0, followers: 0, agents: 0 })
    }

    fn take(seats: &Arc<Seats>, peer: &str) -> Option<Seat> {
        seats.take(peer.parse().expect("an address"), false)
    }

    fn gone(seat: &Seat) -> bool {
        seat.given_away().now_or_never().is_some()
    }

    #[test]
    fn one_address_gives_up_its_own_oldest_and_a_64_is_one_address() {
        let seats = seats(10, 2);
        let all: Vec<Seat> =
            ["2001:db8::1", "2001:db8::2", "192.0.2.1", "2001:db8::3"].iter().map(|peer| take(&seats, peer).expect("a place")).collect();
        assert_eq!(all.iter().map(gone).collect::<Vec<_>>(), [true, false, false, false]);
    }

    #[test]
    fn the_largest_crowd_makes_room_then_the_longest_idle_and_never_a_call_that_is_answered() {
        let seats = seats(4, 3);
        let wait = || std::thread::sleep(super::TENURE);
        let idle = take(&seats, "192.0.2.1").expect("a place");
        assert!(idle.serve());
        idle.answered(true);
        let proven = take(&seats, "192.0.2.2").expect("a place");
        assert!(proven.serve());
        let crowd: Vec<Seat> = (0..2).map(|_| take(&seats, "192.0.2.3").expect("a place")).collect();
        assert!(take(&seats, "192.0.2.4").is_none(), "nobody has been there for long");
        wait();
        let good = take(&seats, "192.0.2.4").expect("a place");
        assert!(gone(&crowd[0]) && !gone(&crowd[1]));
        assert!(good.serve() && crowd[1].serve());
        wait();
        let last = take(&seats, "192.0.2.5").expect("a place");
        assert!(gone(&idle) && last.serve());
        assert!(take(&seats, "192.0.2.6").is_none(), "all four are proven");
        // A connection that lost its place before it was authenticated is told so, and orders nothing.
        assert!(!idle.serve() && !crowd[0].serve());
        drop(proven);
        assert!(take(&seats, "192.0.2.6").is_some());
    }

    #[test]
    fn behind_a_proxy_each_caller_is_bounded_and_the_proxy_is_not() {
        let seats = seats(100, 2);
        let proxy = || seats.take("10.0.0.1".parse().expect("an address"), true).expect("a place");
        let all: Vec<Seat> = (0..10).map(|_| proxy()).collect();
        assert!(!all.iter().any(gone));
        for (at, seat) in all.iter().enumerate() {
            seat.is_for(if at < 5 { "192.0.2.1" } else { "192.0.2.2" });
        }
        let left: Vec<bool> = all.iter().map(gone).collect();
        assert_eq!(left, [true, true, true, false, false, true, true, true, false, false]);
        all[4].answered(true);
        assert!(!gone(&all[4]));
    }
}
