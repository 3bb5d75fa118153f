//! Times that come every week.

use jiff::Span;
use jiff::civil::Date;
use jiff::civil::DateTime;
use jiff::civil::Time;
use jiff::civil::Weekday;
use text::without_controls;

use crate::stretch::Stretch;
use crate::written::End;
use crate::written::Written;
use crate::zone::Zone;

/// A time that comes every week, from one moment of it to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weekly {
    day: Weekday,
    from: Time,
    /// How many days after the first one it ends.
    days: i64,
    until: Time,
    name: String,
    pub(crate) zone: Zone,
}

const FORM: &str = "write \"Fri 16:00–Mon 08:00\", \"Sat–Sun\" or \"Mon 12:00–14:00\"";

impl Weekly {
    /// Reads `Fri 16:00–Mon 08:00 Europe/Paris`. Without a time it is the whole day; without a zone it is in `zone`.
    ///
    /// # Errors
    /// What is wrong with it, as one sentence.
    pub fn parse(given: &str, zone: Option<&Zone>) -> Result<Self, String> {
        let shown = || without_controls(given);
        let wrong = || format!("\"{}\" is not a time of the week; {FORM}.", shown());
        let mut written = Written::new(given);
        let day = written.weekday().ok_or_else(wrong)?;
        let begins = written.time();
        let ends = if written.dash() { Some((written.weekday(), written.time())) } else { None };
        let (last, end) = match (begins, ends) {
            (None, None) => (day, End::OfTheDay),
            (_, Some((Some(last), end))) => (last, end.unwrap_or(End::OfTheDay)),
            (Some(_), Some((None, Some(end)))) => (day, end),
            _ => return Err(wrong()),
        };
        let from = match begins {
            Some(End::At(time)) => time,
            Some(End::OfTheDay) => return Err(format!("\"{}\" begins at 24:00; write 00:00 of the day after.", shown())),
            None => Time::midnight(),
        };
        let is_one_day = !matches!(ends, Some((Some(_), _)));
        let mut days = i64::from(last.since(day));
        let until = match end {
            End::At(time) => time,
            End::OfTheDay => {
                days += 1;
                Time::midnight()
            }
        };
        if days == 0 && until <= from {
            if is_one_day || until == from {
                let why = "does not end after it begins; name the day on which it ends, as in \"Mon 22:00–Tue 06:00\"";
                return Err(format!("\"{}\" {why}.", shown()));
            }
            days = 7;
        }
        let zone =
            written.zone(zone).map_err(|why| format!("\"{}\": {why}{}", shown(), if why.ends_with(['.', '?']) { "" } else { "." }))?;
        Ok(Self { day, from, days, until, name: given.trim().to_owned(), zone })
    }

    /// How many days it may reach behind the one on which it begins.
    pub(crate) const MOST_DAYS: i64 = 8;

    /// The one that begins on that day.
    pub(crate) fn on(&self, day: Date) -> Option<Stretch> {
        if day.weekday() != self.day {
            return None;
        }
        let last = day.checked_add(Span::new().days(self.days)).ok()?;
        let at = |date: Date, time: Time| DateTime::from_parts(date, time);
        Stretch::between(&self.zone, at(day, self.from), at(last, self.until), &self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::Weekly;
    use crate::zone::Zone;

    /// From when to when the one is that begins on that day, in UTC.
    fn on(given: &str, day: &str) -> String {
        let weekly = Weekly::parse(given, Zone::parse("Europe/Paris").ok().as_ref()).unwrap();
        weekly.on(day.parse().unwrap()).map_or_else(|| "none".to_owned(), |stretch| format!("{} {}", stretch.from, stretch.until))
    }

    #[test]
    fn times_of_the_week_are_read_as_people_write_them() {
        for same in [
            "Fri 16:00–Mon 08:00",
            "Fri 16:00-Mon 08:00",
            "fri 16:00 - mon 8:00",
            "Friday 16:00 — Monday 08:00 Europe/Paris",
            " FRI 16:00 to MON 08:00 ",
        ] {
            assert_eq!(on(same, "2026-11-20"), "2026-11-20T15:00:00Z 2026-11-23T07:00:00Z", "{same}");
            assert_eq!(on(same, "2026-11-21"), "none");
        }
        assert_eq!(on("Fri 16:00-Mon 08:00 America/New_York", "2026-11-20"), "2026-11-20T21:00:00Z 2026-11-23T13:00:00Z");
        assert_eq!(on("Sat", "2026-11-21"), "2026-11-20T23:00:00Z 2026-11-21T23:00:00Z");
        assert_eq!(on("Sat-Sun", "2026-11-21"), "2026-11-20T23:00:00Z 2026-11-22T23:00:00Z");
        assert_eq!(on("Sat 12:00-Sun 24:00", "2026-11-21"), "2026-11-21T11:00:00Z 2026-11-22T23:00:00Z");
        assert_eq!(on("Mon 12:00–14:00", "2026-11-23"), "2026-11-23T11:00:00Z 2026-11-23T13:00:00Z");
        assert_eq!(on("Mon 08:00–Mon 07:00", "2026-11-23"), "2026-11-23T07:00:00Z 2026-11-30T06:00:00Z");
    }

    /// The clocks of Paris go from 02:00 to 03:00 on 2026-03-29, and from 03:00 to 02:00 on 2026-10-25.
    #[test]
    fn the_clocks_change_within_it_and_at_its_ends() {
        assert_eq!(on("Fri 16:00–Mon 08:00", "2026-03-27"), "2026-03-27T15:00:00Z 2026-03-30T06:00:00Z");
        assert_eq!(on("Fri 16:00–Mon 08:00", "2026-10-23"), "2026-10-23T14:00:00Z 2026-10-26T07:00:00Z");
        // A time that never comes.
        assert_eq!(on("Sun 02:30–Sun 12:00", "2026-03-29"), "2026-03-29T00:30:00Z 2026-03-29T10:00:00Z");
        assert_eq!(on("Sat 12:00–Sun 02:30", "2026-03-28"), "2026-03-28T11:00:00Z 2026-03-29T01:30:00Z");
        // A time that comes twice.
        assert_eq!(on("Sun 02:30–Sun 12:00", "2026-10-25"), "2026-10-25T00:30:00Z 2026-10-25T11:00:00Z");
        assert_eq!(on("Sat 12:00–Sun 02:30", "2026-10-24"), "2026-10-24T10:00:00Z 2026-10-25T01:30:00Z");
    }

    #[test]
    fn what_is_no_time_of_the_week_is_said() {
        let zone = Zone::parse("Europe/Paris").ok();
        for (bad, why) in [
            ("", "is not a time of the week"),
            ("16:00–18:00", "is not a time of the week"),
            ("Fr 16:00–Mon 08:00", "is not a time of the week"),
            ("Fri 16:00", "is not a time of the week"),
            ("Fri 16:00–", "is not a time of the week"),
            ("Fri 25:00–Mon 08:00", "is not a time"),
            ("Fri 16:00–Mon 08:00 Europe/Pariss", "did you mean Europe/Paris?"),
            ("Fri 16:00–Mon 08:00 and more", "is not a time zone"),
            ("Mon 22:00–06:00", "name the day on which it ends"),
            ("Mon 08:00–Mon 08:00", "does not end after it begins"),
            ("Mon 24:00–Tue 08:00", "begins at 24:00"),
        ] {
            let said = Weekly::parse(bad, zone.as_ref()).unwrap_err();
            assert!(said.contains(why), "{bad}: {said}");
        }
        assert!(Weekly::parse("Sat", None).unwrap_err().contains("no time zone is named"));
    }
}
