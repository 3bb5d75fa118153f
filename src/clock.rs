//! The only place that asks for the time of day and for randomness.

mod backoff;
mod silence;

use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use crate::model::DeploymentId;

pub use backoff::{Backoff, spread};
pub use silence::retry_after;

/// Now, in ms since 1970 (UTC).
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// `N` bytes of the system's generator.
///
/// # Panics
/// Never in practice: Linux gives random bytes at any time after boot; without them nothing here could be safe.
#[must_use]
#[allow(clippy::expect_used, reason = "going on without randomness would be worse than ending")]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0_u8; N];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

/// A new deployment id of this moment.
#[must_use]
pub fn new_id() -> DeploymentId {
    DeploymentId::from_parts(now_ms() as u64, u128::from_le_bytes(random_bytes::<16>()))
}

/// `at_ms` as RFC 3339 in UTC with seconds, `2026-11-21T03:00:00Z`.
#[must_use]
pub fn utc(at_ms: i64) -> String {
    let second = jiff::Timestamp::from_millisecond(at_ms).unwrap_or_default().as_second();
    jiff::Timestamp::from_second(second).unwrap_or_default().to_string()
}

/// `at_ms` in the zone of this terminal, `2026-11-21 04:00:00`.
#[must_use]
pub fn local(at_ms: i64) -> String {
    let zoned = jiff::Timestamp::from_millisecond(at_ms).unwrap_or_default().to_zoned(jiff::tz::TimeZone::system());
    zoned.strftime("%Y-%m-%d %H:%M:%S").to_string()
}
