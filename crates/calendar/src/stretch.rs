//! A stretch of time.

use jiff::SignedDuration;
use jiff::Timestamp;
use jiff::civil::DateTime;

use crate::zone::Zone;

/// A stretch of time, without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// Its first moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub until: Timestamp,
    /// What it is, as it was written.
    pub name: String,
    /// The zone in which it was written.
    pub zone: Zone,
}

impl Stretch {
    /// From the first moment at which a clock of `zone` shows `from` to the last one at which it shows `until`.
    pub(crate) fn between(zone: &Zone, from: DateTime, until: DateTime, name: &str) -> Option<Self> {
        let stretch = Self { from: zone.earliest(from)?, until: zone.latest(until)?, name: name.to_owned(), zone: zone.clone() };
        (stretch.from < stretch.until).then_some(stretch)
    }

    /// Whether the moment is in it.
    #[must_use]
    pub fn contains(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.until
    }

    /// How long it is.
    #[must_use]
    pub fn length(&self) -> SignedDuration {
        self.until.duration_since(self.from)
    }
}
