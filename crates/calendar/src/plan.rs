//! Everything that a moment may be among.

use jiff::SignedDuration;
use jiff::Span;
use jiff::Timestamp;

use crate::dates::Dates;
use crate::event::Event;
use crate::stretch::Stretch;
use crate::weekly::Weekly;

/// Times of the week, dates and events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Times that come every week.
    pub weekly: Vec<Weekly>,
    /// Dates that come once.
    pub dates: Vec<Dates>,
    /// Events of calendars.
    pub events: Vec<Event>,
}

/// What a plan says of a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It is in none of the stretches.
    Free {
        /// The next one that begins within a week.
        next: Option<Stretch>,
    },
    /// It is in at least one.
    Within {
        /// The one that ends last.
        stretch: Stretch,
        /// The first moment that is in none; none: there is none within two years.
        until: Option<Timestamp>,
    },
}

/// How far ahead the next stretch is looked for.
const AHEAD: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How far ahead the end of stretches is looked for that follow each other without a pause.
const FAR: SignedDuration = SignedDuration::from_hours(2 * 366 * 24);

impl Plan {
    /// What it says of a moment.
    #[must_use]
    pub fn at(&self, at: Timestamp) -> Seen {
        let Some(stretch) = self.last_to_end(at) else {
            let ahead = at.checked_add(AHEAD).unwrap_or(at);
            let next = self.between(at, ahead).into_iter().filter(|one| one.from > at).min_by_key(|one| one.from);
            return Seen::Free { next };
        };
        let mut until = stretch.until;
        while let Some(more) = self.last_to_end(until) {
            until = more.until;
            if until.duration_since(at) > FAR {
                return Seen::Within { stretch, until: None };
            }
        }
        Seen::Within { stretch, until: Some(until) }
    }

    fn last_to_end(&self, at: Timestamp) -> Option<Stretch> {
        self.between(at, at).into_iter().filter(|one| one.contains(at)).max_by_key(|one| one.until)
    }

    /// Every stretch that has a part between the two moments.
    fn between(&self, from: Timestamp, to: Timestamp) -> Vec<Stretch> {
        let mut all: Vec<Stretch> = self.dates.iter().map(|dates| dates.0.clone()).collect();
        for weekly in &self.weekly {
            let day = weekly.zone.date_at(from).saturating_sub(Span::new().days(Weekly::MOST_DAYS));
            let last = weekly.zone.date_at(to);
            let days = day.series(Span::new().days(1)).take_while(|day| *day <= last);
            all.extend(days.filter_map(|day| weekly.on(day)));
        }
        all.extend(self.events.iter().flat_map(|event| event.between(from, to)));
        all.retain(|one| one.from <= to && one.until > from);
        all
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::Plan;
    use super::Seen;
    use crate::dates::Dates;
    use crate::ical;
    use crate::weekly::Weekly;
    use crate::zone::Zone;

    fn plan(weekly: &[&str], dates: &[&str]) -> Plan {
        let zone = Zone::parse("Europe/Paris").unwrap();
        let weekly = weekly.iter().map(|text| Weekly::parse(text, Some(&zone)).unwrap()).collect();
        Plan { weekly, dates: dates.iter().map(|text| Dates::parse(text, Some(&zone)).unwrap()).collect(), events: Vec::new() }
    }

    /// Until when the moment is within the plan, or from when on the next one is.
    fn at(plan: &Plan, at: &str) -> String {
        match plan.at(at.parse().unwrap()) {
            Seen::Free { next: None } => "free".to_owned(),
            Seen::Free { next: Some(next) } => format!("free until {}", next.from),
            Seen::Within { stretch, until } => {
                format!("{} until {}", stretch.name, until.map_or("ever".to_owned(), |until| until.to_string()))
            }
        }
    }

    #[test]
    fn a_moment_is_within_or_free_to_the_second() {
        let plan = plan(&["Fri 16:00–Mon 08:00"], &[]);
        assert_eq!(at(&plan, "2026-11-20T14:59:59Z"), "free until 2026-11-20T15:00:00Z");
        assert_eq!(at(&plan, "2026-11-20T15:00:00Z"), "Fri 16:00–Mon 08:00 until 2026-11-23T07:00:00Z");
        assert_eq!(at(&plan, "2026-11-23T06:59:59Z"), "Fri 16:00–Mon 08:00 until 2026-11-23T07:00:00Z");
        assert_eq!(at(&plan, "2026-11-23T07:00:00Z"), "free until 2026-11-27T15:00:00Z");
    }

    /// Seen from both sides of the change, in spring and in autumn, the end is where clocks then show it.
    #[test]
    fn the_clocks_may_change_meanwhile() {
        let plan = plan(&["Sat 22:00–Sun 02:30", "Sun 05:00–Sun 06:00"], &[]);
        for (moment, wanted) in [
            // 02:30 never comes: 02:00 is 03:00.
            ("2026-03-29T00:59:59Z", "Sat 22:00–Sun 02:30 until 2026-03-29T01:30:00Z"),
            ("2026-03-29T01:29:59Z", "Sat 22:00–Sun 02:30 until 2026-03-29T01:30:00Z"),
            ("2026-03-29T01:30:00Z", "free until 2026-03-29T03:00:00Z"),
            // 02:30 comes twice, and the second time counts.
            ("2026-10-25T00:30:00Z", "Sat 22:00–Sun 02:30 until 2026-10-25T01:30:00Z"),
            ("2026-10-25T01:29:59Z", "Sat 22:00–Sun 02:30 until 2026-10-25T01:30:00Z"),
            ("2026-10-25T01:30:00Z", "free until 2026-10-25T04:00:00Z"),
        ] {
            assert_eq!(at(&plan, moment), wanted, "{moment}");
        }
    }

    #[test]
    fn stretches_that_follow_each_other_end_together() {
        let mut plan = plan(&["Sat–Sun"], &["2026-12-24–2026-12-25", "2026-12-28"]);
        assert_eq!(at(&plan, "2026-12-24T12:00:00Z"), "2026-12-24–2026-12-25 until 2026-12-28T23:00:00Z");
        assert_eq!(at(&plan, "2026-12-22T12:00:00Z"), "free until 2026-12-23T23:00:00Z");
        let text = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART;VALUE=DATE:20201229\nRRULE:FREQ=YEARLY\nSUMMARY:Stocktaking\nEND:VEVENT\nEND:VCALENDAR\n";
        plan.events = ical::read(text, &Zone::parse("Europe/Paris").unwrap()).unwrap();
        assert_eq!(at(&plan, "2026-12-28T12:00:00Z"), "2026-12-28 until 2026-12-29T23:00:00Z");
        assert_eq!(at(&plan, "2026-12-29T12:00:00Z"), "Stocktaking until 2026-12-29T23:00:00Z");
        assert_eq!(at(&Plan::default(), "2026-12-29T12:00:00Z"), "free");
    }

    #[test]
    fn what_never_ends_is_said_to_last() {
        let plan = plan(&["Mon–Sun"], &[]);
        assert_eq!(at(&plan, "2026-12-24T12:00:00Z"), "Mon–Sun until ever");
        let _ = plan.at(Timestamp::MAX);
        let _ = plan.at(Timestamp::MIN);
    }
}
