//! How a service is looked at after it was deployed: its release for some time, and its page on a schedule.

use std::time::Duration;

use crate::config::reader::Section;

/// How a service is looked at after it was deployed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watch {
    /// How the release is watched after it is live; none: not at all.
    pub release: Option<WatchTerms>,
    /// How the service is looked at on a schedule; none: not at all.
    pub looks: Option<LookTerms>,
}

/// How a release is watched after it is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchTerms {
    /// For how long.
    pub length: Duration,
    /// How often it is looked at.
    pub every: Duration,
}

/// How a service is looked at on a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookTerms {
    /// How often.
    pub every: Duration,
    /// A certificate with fewer days left is an incident.
    pub certificate_days: i64,
}

impl Watch {
    /// Reads `[service.x.watch]`.
    pub(super) fn read(mut from: Section) -> Self {
        let looks = from.section("looks").map(read_looks);
        let length = from.seconds("watch_s", 0.0, 0.0..=604_800.0);
        let every = from.seconds("every_s", 15.0, 0.1..=3600.0);
        if length.is_zero() && looks.is_none() {
            from.problem(
                "watch_s",
                "it is missing or 0 and there is no table looks, so nothing is looked at; set watch_s = 600, for instance.",
            );
        }
        if !length.is_zero() && length < every * 2 {
            let why = "two bad looks running are needed to go back, so the time must be long enough for two";
            from.problem("watch_s", format!("{} s is too short for every_s = {}: {why}.", length.as_secs_f64(), every.as_secs_f64()));
        }
        from.finish();
        Self { release: (!length.is_zero()).then_some(WatchTerms { length, every }), looks }
    }
}

fn read_looks(mut from: Section) -> LookTerms {
    let looks =
        LookTerms { every: from.seconds("every_s", 300.0, 1.0..=86_400.0), certificate_days: from.whole("certificate_days", 14, 0..=3650) };
    from.finish();
    looks
}
