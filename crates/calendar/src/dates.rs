//! Dates, and stretches from one to another.

use jiff::civil::Date;
use jiff::civil::DateTime;
use jiff::civil::Time;
use text::without_controls;

use crate::stretch::Stretch;
use crate::written::End;
use crate::written::Written;
use crate::zone::Zone;

/// A stretch of dates that comes once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dates(pub(crate) Stretch);

const FORM: &str = "write \"2026-12-24\", \"2026-12-24–2027-01-03\" or \"2026-12-24 12:00–2027-01-04 08:00\"";

impl Dates {
    /// Reads `2026-12-24–2027-01-03 Europe/Paris`. Without a time both days are whole; without a zone it is in `zone`.
    ///
    /// # Errors
    /// What is wrong with it, as one sentence.
    pub fn parse(given: &str, zone: Option<&Zone>) -> Result<Self, String> {
        let shown = || without_controls(given);
        let wrong = || format!("\"{}\" is not a date; {FORM}.", shown());
        let mut written = Written::new(given);
        let day = written.date().ok_or_else(wrong)?;
        let begins = written.time();
        let (last, end) = if written.dash() {
            (written.date().ok_or_else(wrong)?, written.time().unwrap_or(End::OfTheDay))
        } else if begins.is_none() {
            (day, End::OfTheDay)
        } else {
            return Err(wrong());
        };
        let zone =
            written.zone(zone).map_err(|why| format!("\"{}\": {why}{}", shown(), if why.ends_with(['.', '?']) { "" } else { "." }))?;
        let until = moment(last, end).ok_or_else(wrong)?;
        let from = begins.map_or_else(|| Some(DateTime::from_parts(day, Time::midnight())), |begins| moment(day, begins));
        let stretch = from.filter(|from| *from < until).and_then(|from| Stretch::between(&zone, from, until, given.trim()));
        stretch.map(Self).ok_or_else(|| format!("\"{}\" does not end after it begins.", shown()))
    }
}

fn moment(day: Date, end: End) -> Option<DateTime> {
    match end {
        End::At(time) => Some(DateTime::from_parts(day, time)),
        End::OfTheDay => Some(DateTime::from_parts(day.tomorrow().ok()?, Time::midnight())),
    }
}

#[cfg(test)]
mod tests {
    use super::Dates;
    use crate::zone::Zone;

    fn of(given: &str) -> String {
        let Dates(stretch) = Dates::parse(given, Zone::parse("Europe/Paris").ok().as_ref()).unwrap();
        format!("{} {}", stretch.from, stretch.until)
    }

    #[test]
    fn dates_are_whole_days_where_no_time_is_written() {
        assert_eq!(of("2026-12-24"), "2026-12-23T23:00:00Z 2026-12-24T23:00:00Z");
        for same in ["2026-12-24–2027-01-03", "2026-12-24-2027-01-03", "2026-12-24..2027-01-03", "2026-12-24 to 2027-01-03 Europe/Paris"]
        {
            assert_eq!(of(same), "2026-12-23T23:00:00Z 2027-01-03T23:00:00Z", "{same}");
        }
        for same in ["2026-12-24 12:00 – 2027-01-04 08:00", "2026-12-24T12:00-2027-01-04T08:00"] {
            assert_eq!(of(same), "2026-12-24T11:00:00Z 2027-01-04T07:00:00Z", "{same}");
        }
        // The days on which the clocks change have 23 and 25 hours.
        assert_eq!(of("2026-03-29"), "2026-03-28T23:00:00Z 2026-03-29T22:00:00Z");
        assert_eq!(of("2026-10-25"), "2026-10-24T22:00:00Z 2026-10-25T23:00:00Z");
    }

    #[test]
    fn what_is_no_date_is_said() {
        let zone = Zone::parse("Europe/Paris").ok();
        for (bad, why) in [
            ("", "is not a date"),
            ("24.12.2026", "is not a date"),
            ("2026-02-30", "is not a date"),
            ("2026-12-24 12:00", "is not a date"),
            ("2026-12-24–", "is not a date"),
            ("2026-12-24–2026-12-23", "does not end after it begins"),
            ("2026-12-24 12:00–2026-12-24 12:00", "does not end after it begins"),
            ("2026-12-24 noon", "is not a time zone"),
        ] {
            let said = Dates::parse(bad, zone.as_ref()).unwrap_err();
            assert!(said.contains(why), "{bad}: {said}");
        }
    }
}
