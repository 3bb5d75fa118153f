//! A forge that has limited our calls is left alone until it wants to be called again, whoever wants something of it.

use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering;

use crate::clock;
use crate::forge::call::Answer;
use crate::forge::error::ForgeError;
use crate::forge::error::ForgeErrorKind;

/// Until when a forge wants no calls (ms since 1970, UTC).
#[derive(Debug, Default)]
pub(super) struct Limit(AtomicI64);

impl Limit {
    /// Whether it may be called now.
    ///
    /// # Errors
    /// When it may not.
    pub(super) fn check(&self) -> Result<(), ForgeError> {
        let until_ms = self.0.load(Ordering::Relaxed);
        if until_ms <= clock::now_ms() {
            return Ok(());
        }
        let why = format!("The forge wants no more calls before {}.", clock::utc(until_ms));
        Err(ForgeError::new(ForgeErrorKind::RateLimited { until_ms }, why))
    }

    /// Remembers what an answer says about it.
    pub(super) fn note(&self, answer: &Result<Answer, ForgeError>) {
        if let Err(ForgeError { kind: ForgeErrorKind::RateLimited { until_ms }, .. }) = answer {
            self.0.fetch_max(*until_ms, Ordering::Relaxed);
        }
    }
}
