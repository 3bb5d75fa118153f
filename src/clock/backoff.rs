//! How long to wait before what has failed is tried again.

use std::time::Duration;

use crate::clock;

/// Waits between tries that fail: each is twice as long as the one before, up to a longest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    is_spread: bool,
    failures: u32,
}

impl Backoff {
    /// Waits from `first` to `longest`.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, is_spread: false, failures: 0 }
    }

    /// The same, each wait [`spread`].
    #[must_use]
    pub const fn spread(self) -> Self {
        Self { is_spread: true, ..self }
    }

    /// The wait after one more failure.
    pub fn fail(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.after(self.failures)
    }

    /// The next failure is the first of its row.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait after so many failures in a row, for anybody who keeps the count elsewhere.
    #[must_use]
    pub fn after(&self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        let doubled = 2_u32.checked_pow(doublings).and_then(|times| self.first.checked_mul(times));
        let wait = doubled.map_or(self.longest, |wait| wait.min(self.longest));
        if self.is_spread { spread(wait) } else { wait }
    }
}

/// `wait`, up to a quarter shorter or longer, so that many do not come at once.
#[must_use]
pub fn spread(wait: Duration) -> Duration {
    let [random] = clock::random_bytes::<1>();
    wait.mul_f64(0.75 + f64::from(random) / 512.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Backoff;

    const WAITS: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));

    #[test]
    fn it_doubles_up_to_the_longest_and_begins_anew() {
        let mut waits = WAITS;
        let seen: Vec<u64> = (0..8).map(|_| waits.fail().as_secs()).collect();
        assert_eq!(seen, [1, 2, 4, 8, 16, 32, 60, 60]);
        waits.reset();
        assert_eq!(waits.fail(), Duration::from_secs(1));
        assert_eq!(
            (waits.after(0), waits.after(3), waits.after(u32::MAX)),
            (Duration::ZERO, Duration::from_secs(4), Duration::from_mins(1))
        );
    }

    #[test]
    fn a_spread_wait_is_a_quarter_off_at_most_and_not_always_the_same() {
        let waits: Vec<Duration> = (0..64).map(|_| WAITS.spread().after(3)).collect();
        assert!(waits.iter().all(|wait| (3.0..=5.0).contains(&wait.as_secs_f64())), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait != waits[0]), "{waits:?}");
    }
}
