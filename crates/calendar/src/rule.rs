//! Rules by which an event comes again (RRULE): every year, month, week or day.

use jiff::Span;
use jiff::civil::Date;
use jiff::civil::Weekday;
use text::without_controls;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Every {
    Year,
    Month,
    Week,
    Day,
}

/// When an event comes again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    every: Every,
    interval: i64,
    months: Vec<i8>,
    days_of_month: Vec<i8>,
    /// Days of the week, and which of them in the month or year: the first, the last but one (-2).
    weekdays: Vec<(Option<i8>, Weekday)>,
    week_begins: Weekday,
    /// The end, as it is written.
    pub(crate) until: Option<String>,
    count: Option<u32>,
}

/// How far ahead a rule with a count is followed.
const MOST_DAYS: i64 = 36_600;
const WEEKDAYS: [(&str, Weekday); 7] = [
    ("MO", Weekday::Monday),
    ("TU", Weekday::Tuesday),
    ("WE", Weekday::Wednesday),
    ("TH", Weekday::Thursday),
    ("FR", Weekday::Friday),
    ("SA", Weekday::Saturday),
    ("SU", Weekday::Sunday),
];

impl Rule {
    /// Reads `FREQ=YEARLY;BYMONTH=5;BYDAY=-1MO`.
    ///
    /// # Errors
    /// What of it is not understood, as the words behind "RRULE".
    pub(crate) fn parse(given: &str) -> Result<Self, String> {
        let mut every = None;
        let mut rule = Self {
            every: Every::Year,
            interval: 1,
            months: Vec::new(),
            days_of_month: Vec::new(),
            weekdays: Vec::new(),
            week_begins: Weekday::Monday,
            until: None,
            count: None,
        };
        for part in given.split(';').filter(|part| !part.is_empty()) {
            let odd = || format!("has the part {}, which is not understood", without_controls(part));
            let (key, value) = part.split_once('=').ok_or_else(odd)?;
            let value = value.to_ascii_uppercase();
            match key.to_ascii_uppercase().as_str() {
                "FREQ" => every = Some(frequency(&value).ok_or_else(odd)?),
                "INTERVAL" => rule.interval = value.parse().ok().filter(|interval| (1..=10_000).contains(interval)).ok_or_else(odd)?,
                "COUNT" => rule.count = Some(value.parse().ok().filter(|count| *count > 0).ok_or_else(odd)?),
                "UNTIL" => rule.until = Some(value),
                "BYMONTH" => rule.months = all_of(&value, |text| number(text, 12).filter(|month| *month > 0)).ok_or_else(odd)?,
                "BYMONTHDAY" => rule.days_of_month = all_of(&value, |text| number(text, 31)).ok_or_else(odd)?,
                "BYDAY" => rule.weekdays = all_of(&value, weekday).ok_or_else(odd)?,
                "WKST" => rule.week_begins = weekday(&value).filter(|(nth, _)| nth.is_none()).ok_or_else(odd)?.1,
                _ => return Err(odd()),
            }
        }
        rule.every = every.ok_or_else(|| "names no FREQ".to_owned())?;
        let has_nth = rule.weekdays.iter().any(|(nth, _)| nth.is_some());
        if has_nth && matches!(rule.every, Every::Week | Every::Day) {
            return Err("counts days of the week in a week or day, which is not understood".to_owned());
        }
        if rule.every == Every::Week && !rule.days_of_month.is_empty() {
            return Err("names days of the month for a week, which is not understood".to_owned());
        }
        Ok(rule)
    }

    /// The last day on which an event comes that comes first on `first` and a number of times; none: it is not counted.
    ///
    /// # Errors
    /// When it comes too seldom to be followed to the end.
    pub(crate) fn last(&self, first: Date) -> Result<Option<Date>, String> {
        let Some(count) = self.count else { return Ok(None) };
        let mut left = count;
        let mut day = first;
        for _ in 0..MOST_DAYS {
            if day == first || self.falls_on(first, day) {
                left -= 1;
                if left == 0 {
                    return Ok(Some(day));
                }
            }
            day = day.tomorrow().map_err(|error| error.to_string())?;
        }
        Err(format!("does not come COUNT={count} times within a hundred years, which is not understood"))
    }

    /// Whether an event that comes first on `first` comes on `day` as well, whatever its end.
    pub(crate) fn falls_on(&self, first: Date, day: Date) -> bool {
        day >= first && self.is_in_step(first, day) && self.is_in_month(first, day) && self.is_on_day(first, day)
    }

    /// Whether the year, month, week or day is one of those, of which some may be left out.
    fn is_in_step(&self, first: Date, day: Date) -> bool {
        let months = |date: Date| i64::from(date.year()) * 12 + i64::from(date.month());
        let days = |from: Date, to: Date| i64::from(from.until(to).map_or(0, |span| span.get_days()));
        let passed = match self.every {
            Every::Year => i64::from(day.year()) - i64::from(first.year()),
            Every::Month => months(day) - months(first),
            Every::Week => {
                let week = |date: Date| date.saturating_sub(Span::new().days(i64::from(date.weekday().since(self.week_begins))));
                days(week(first), week(day)) / 7
            }
            Every::Day => days(first, day),
        };
        passed % self.interval == 0
    }

    fn is_in_month(&self, first: Date, day: Date) -> bool {
        if self.months.is_empty() {
            let is_any = self.every != Every::Year || !self.weekdays.is_empty() || !self.days_of_month.is_empty();
            return is_any || day.month() == first.month();
        }
        self.months.contains(&day.month())
    }

    fn is_on_day(&self, first: Date, day: Date) -> bool {
        let from_the_end = day.day() - day.days_in_month() - 1;
        let is_day_of_month =
            self.days_of_month.is_empty() || self.days_of_month.contains(&day.day()) || self.days_of_month.contains(&from_the_end);
        let is_weekday = self.weekdays.is_empty() || self.weekdays.iter().any(|(nth, weekday)| self.is_nth(*nth, *weekday, day));
        if !self.weekdays.is_empty() || !self.days_of_month.is_empty() {
            return is_day_of_month && is_weekday;
        }
        match self.every {
            Every::Year | Every::Month => day.day() == first.day(),
            Every::Week => day.weekday() == first.weekday(),
            Every::Day => true,
        }
    }

    fn is_nth(&self, nth: Option<i8>, weekday: Weekday, day: Date) -> bool {
        if day.weekday() != weekday {
            return false;
        }
        let Some(nth) = nth else { return true };
        let is_in_month = self.every == Every::Month || !self.months.is_empty();
        let (at, length) =
            if is_in_month { (i16::from(day.day()), i16::from(day.days_in_month())) } else { (day.day_of_year(), day.days_in_year()) };
        let from_begin = (at - 1) / 7 + 1;
        let from_end = -((length - at) / 7 + 1);
        [from_begin, from_end].contains(&i16::from(nth))
    }
}

fn frequency(word: &str) -> Option<Every> {
    [("YEARLY", Every::Year), ("MONTHLY", Every::Month), ("WEEKLY", Every::Week), ("DAILY", Every::Day)]
        .into_iter()
        .find_map(|(name, every)| (name == word).then_some(every))
}

fn all_of<T>(list: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    list.split(',').map(parse).collect()
}

/// A number that is not 0 and not further from it than `most`.
fn number(text: &str, most: i8) -> Option<i8> {
    text.parse::<i8>().ok().filter(|number| *number != 0 && (-most..=most).contains(number))
}

fn weekday(text: &str) -> Option<(Option<i8>, Weekday)> {
    let (nth, day) = text.split_at_checked(text.len().checked_sub(2)?)?;
    let (_, day) = WEEKDAYS.into_iter().find(|(name, _)| *name == day)?;
    let nth = if nth.is_empty() { None } else { Some(number(nth, 53)?) };
    Some((nth, day))
}

#[cfg(test)]
mod tests {
    use jiff::civil::Date;

    use super::Rule;

    /// The first days on which an event comes that comes first on `first`.
    fn days(rule: &str, first: &str, most: usize) -> Vec<String> {
        let rule = Rule::parse(rule).unwrap();
        let first: Date = first.parse().unwrap();
        let last = rule.last(first).unwrap();
        let is_it = |day: &Date| (*day == first || rule.falls_on(first, *day)) && last.is_none_or(|last| *day <= last);
        first.series(jiff::Span::new().days(1)).take(20_000).filter(is_it).take(most).map(|day| day.to_string()).collect()
    }

    #[test]
    fn events_come_again() {
        for (rule, first, wanted) in [
            ("FREQ=YEARLY", "2024-12-25", "2024-12-25 2025-12-25 2026-12-25"),
            ("FREQ=YEARLY", "2024-02-29", "2024-02-29 2028-02-29 2032-02-29"),
            ("FREQ=YEARLY;INTERVAL=2", "2024-05-01", "2024-05-01 2026-05-01 2028-05-01"),
            ("FREQ=YEARLY;COUNT=2", "2024-05-01", "2024-05-01 2025-05-01"),
            ("FREQ=YEARLY;BYMONTH=5;BYDAY=-1MO", "2024-05-27", "2024-05-27 2025-05-26 2026-05-25"),
            ("FREQ=YEARLY;BYMONTH=11;BYDAY=4TH", "2024-11-28", "2024-11-28 2025-11-27 2026-11-26"),
            ("FREQ=YEARLY;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8", "2024-11-05", "2024-11-05 2025-11-04 2026-11-03"),
            ("FREQ=YEARLY;BYMONTH=1,7", "2024-01-01", "2024-01-01 2024-07-01 2025-01-01"),
            ("FREQ=YEARLY;BYDAY=1MO", "2024-01-01", "2024-01-01 2025-01-06 2026-01-05"),
            ("FREQ=YEARLY;BYDAY=-1SU", "2024-12-29", "2024-12-29 2025-12-28 2026-12-27"),
            ("FREQ=MONTHLY", "2024-01-31", "2024-01-31 2024-03-31 2024-05-31"),
            ("FREQ=MONTHLY;BYMONTHDAY=-1", "2024-01-31", "2024-01-31 2024-02-29 2024-03-31"),
            ("FREQ=MONTHLY;BYDAY=2TU", "2024-01-09", "2024-01-09 2024-02-13 2024-03-12"),
            ("FREQ=WEEKLY;BYDAY=SA,SU;COUNT=3", "2024-01-06", "2024-01-06 2024-01-07 2024-01-13"),
            // RFC 5545: the week begins on another day.
            ("FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO", "1997-08-05", "1997-08-05 1997-08-10 1997-08-19 1997-08-24"),
            ("FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU", "1997-08-05", "1997-08-05 1997-08-17 1997-08-19 1997-08-31"),
            ("FREQ=DAILY;INTERVAL=10;COUNT=3", "2024-12-30", "2024-12-30 2025-01-09 2025-01-19"),
        ] {
            let wanted: Vec<&str> = wanted.split(' ').collect();
            assert_eq!(days(rule, first, wanted.len() + usize::from(rule.contains("COUNT"))), wanted, "{rule}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (bad, why) in [
            ("", "names no FREQ"),
            ("INTERVAL=1", "names no FREQ"),
            ("FREQ=HOURLY", "FREQ=HOURLY"),
            ("FREQ=YEARLY;BYSETPOS=-1", "BYSETPOS=-1"),
            ("FREQ=YEARLY;BYWEEKNO=20", "BYWEEKNO=20"),
            ("FREQ=YEARLY;BYYEARDAY=100", "BYYEARDAY=100"),
            ("FREQ=DAILY;BYHOUR=9", "BYHOUR=9"),
            ("FREQ=YEARLY;INTERVAL=0", "INTERVAL=0"),
            ("FREQ=YEARLY;BYMONTH=13", "BYMONTH=13"),
            ("FREQ=YEARLY;BYMONTH=-1", "BYMONTH=-1"),
            ("FREQ=YEARLY;BYDAY=XX", "BYDAY=XX"),
            ("FREQ=YEARLY;BYDAY=é", "BYDAY=é"),
            ("FREQ=YEARLY;RSCALE", "RSCALE"),
            ("FREQ=WEEKLY;BYDAY=1MO", "counts days of the week in a week"),
            ("FREQ=WEEKLY;BYMONTHDAY=1", "days of the month for a week"),
        ] {
            let said = Rule::parse(bad).unwrap_err();
            assert!(said.contains(why), "{bad}: {said}");
        }
        let never = Rule::parse("FREQ=YEARLY;COUNT=1000").unwrap();
        assert!(never.last("2024-02-29".parse().unwrap()).is_err());
    }
}
