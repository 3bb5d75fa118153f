//! Hours in which nobody is to be disturbed.

use jiff::Timestamp;
use jiff::Zoned;
use jiff::civil::Time;
use jiff::tz::TimeZone;

/// Hours of every day, in a time zone. They may reach over midnight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuietHours {
    from: Time,
    to: Time,
    zone: TimeZone,
}

impl QuietHours {
    /// Takes `given` as hours: `22:00-07:00 Europe/Paris`.
    ///
    /// # Errors
    /// When it is not two different times of a day and the name of a time zone.
    pub fn parse(given: &str) -> Result<Self, String> {
        let error = |why: &str| format!("\"{}\" {why}; write \"22:00-07:00 Europe/Paris\".", given.escape_default());
        let (hours, zone) = given.split_once(' ').ok_or_else(|| error("does not name hours and a time zone"))?;
        let (from, to) = hours.split_once('-').ok_or_else(|| error("does not name two times with a - between them"))?;
        let time = |text: &str| minute(text).ok_or_else(|| error("has a time that is none"));
        let zone = TimeZone::get(zone.trim()).map_err(|_| error("names a time zone that is not known"))?;
        let hours = Self { from: time(from)?, to: time(to)?, zone };
        if hours.from == hours.to { Err(error("begins when it ends")) } else { Ok(hours) }
    }

    /// When they end that `at_ms` (ms since 1970, UTC) lies in; none: it lies in none.
    #[must_use]
    pub fn end_ms(&self, at_ms: i64) -> Option<i64> {
        let now = Timestamp::from_millisecond(at_ms).ok()?.to_zoned(self.zone.clone());
        let is_within = if self.from < self.to {
            self.from <= now.time() && now.time() < self.to
        } else {
            self.from <= now.time() || now.time() < self.to
        };
        if is_within { self.end_after(&now).map(|end| end.timestamp().as_millisecond()) } else { None }
    }

    fn end_after(&self, now: &Zoned) -> Option<Zoned> {
        let day = if now.time() < self.to { now.date() } else { now.date().tomorrow().ok()? };
        day.to_datetime(self.to).to_zoned(self.zone.clone()).ok()
    }
}

/// `7:30` or `07:30`.
fn minute(text: &str) -> Option<Time> {
    let (hour, minute) = text.trim().split_once(':')?;
    let is_number = |part: &str| (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    if !is_number(hour) || !is_number(minute) {
        return None;
    }
    Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::QuietHours;

    fn ms(time: &str) -> i64 {
        time.parse::<jiff::Timestamp>().expect("a time").as_millisecond()
    }

    #[test]
    fn they_end_at_their_own_clock_also_when_that_is_changed() {
        let night = QuietHours::parse("22:00-07:00 Europe/Paris").expect("hours");
        for (now, end) in [
            ("2026-06-01T19:59:59Z", None),
            ("2026-06-01T20:00:00Z", Some("2026-06-02T05:00:00Z")),
            ("2026-06-02T04:59:59Z", Some("2026-06-02T05:00:00Z")),
            ("2026-06-02T05:00:00Z", None),
            ("2026-01-01T21:30:00Z", Some("2026-01-02T06:00:00Z")),
            // The clocks are put back in this night, and forward in the other.
            ("2026-10-24T20:30:00Z", Some("2026-10-25T06:00:00Z")),
            ("2026-03-28T21:30:00Z", Some("2026-03-29T05:00:00Z")),
        ] {
            assert_eq!(night.end_ms(ms(now)), end.map(ms), "{now}");
        }
        let lunch = QuietHours::parse("12:00-13:30 UTC").expect("hours");
        assert_eq!(lunch.end_ms(ms("2026-06-01T12:10:00Z")), Some(ms("2026-06-01T13:30:00Z")));
        assert_eq!(lunch.end_ms(ms("2026-06-01T13:30:00Z")), None);
        // An end that a changed clock passes over is when it would have been.
        let spring = QuietHours::parse("01:00-02:30 Europe/Paris").expect("hours");
        assert_eq!(spring.end_ms(ms("2026-03-29T00:30:00Z")), Some(ms("2026-03-29T01:30:00Z")));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (given, part) in [
            ("", "does not name hours"),
            ("22:00-07:00", "does not name hours and a time zone"),
            ("22:00 Europe/Paris", "two times with a -"),
            ("22-07 Europe/Paris", "has a time that is none"),
            ("24:00-07:00 UTC", "has a time that is none"),
            ("22:00-07:60 UTC", "has a time that is none"),
            ("+2:00-07:00 UTC", "has a time that is none"),
            ("22:00-07:00 Europe/Nowhere", "names a time zone that is not known"),
            ("07:00-07:00 UTC", "begins when it ends"),
        ] {
            let said = QuietHours::parse(given).expect_err(given);
            assert!(said.contains(part), "{given}: {said}");
        }
    }
}
