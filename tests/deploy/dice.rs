//! The dice of the storms: what they throw can be thrown again, by the seed that each storm prints.

use std::time::Duration;
use std::time::SystemTime;

/// The number that a variable of the environment gives.
pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A small generator.
pub(crate) struct Dice(u64);

impl Dice {
    /// Dice whose seed is the number that the variable `name` gives, else another one each time; and that seed.
    pub(crate) fn seeded_by(name: &str) -> (Self, u64) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time").as_nanos() as u64;
        // All throws of a generator at 0 are 0.
        let seed = number(name).unwrap_or(now).max(1);
        (Self(seed), seed)
    }

    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    pub(crate) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.roll(all.len() as u64) as usize]
    }

    /// Waits for less than `most_ms`.
    pub(crate) async fn pause(&mut self, most_ms: u64) {
        tokio::time::sleep(Duration::from_millis(self.roll(most_ms))).await;
    }
}
