//! Reads times as people write them, from left to right.

use jiff::civil::Date;
use jiff::civil::Time;
use jiff::civil::Weekday;

use crate::zone::Zone;

/// What is left to read.
pub(crate) struct Written<'a> {
    rest: &'a str,
}

/// When on a day something ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// At this time.
    At(Time),
    /// With the day.
    OfTheDay,
}

const DAYS: [(&str, Weekday); 7] = [
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
    ("sunday", Weekday::Sunday),
];

impl<'a> Written<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { rest: text.trim() }
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest.trim_start();
        taken
    }

    /// A day of the week: its English name, or the first three letters of it or more.
    pub(crate) fn weekday(&mut self) -> Option<Weekday> {
        let length = self.rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let word = self.rest[..length].to_ascii_lowercase();
        let (_, day) = DAYS.into_iter().find(|(name, _)| length >= 3 && name.starts_with(&word))?;
        self.take(length);
        Some(day)
    }

    /// A time of the day, `HH:MM`; 24:00 is the end of the day.
    pub(crate) fn time(&mut self) -> Option<End> {
        let length = self.rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b':').count();
        let (hours, minutes) = self.rest[..length].split_once(':')?;
        let number = |text: &str, most: usize| (1..=most).contains(&text.len()).then(|| text.parse::<i8>().ok()).flatten();
        let hours = number(hours, 2)?;
        let minutes = number(minutes, 2).filter(|_| minutes.len() == 2)?;
        let end = if hours == 24 && minutes == 0 { End::OfTheDay } else { End::At(Time::new(hours, minutes, 0, 0).ok()?) };
        self.take(length);
        Some(end)
    }

    /// A date, `YYYY-MM-DD`; a `T` behind it may join it to a time.
    pub(crate) fn date(&mut self) -> Option<Date> {
        let date: Date = self.rest.get(..10)?.parse().ok()?;
        self.take(10);
        if self.rest.starts_with('T') {
            self.take(1);
        }
        Some(date)
    }

    /// What stands between a beginning and an end.
    pub(crate) fn dash(&mut self) -> bool {
        let dash = ["–", "—", "-", "..", "to "].into_iter().find(|dash| self.rest.starts_with(dash));
        dash.map(|dash| self.take(dash.len())).is_some()
    }

    /// The zone that stands at the end, or else the one that is given.
    pub(crate) fn zone(self, given: Option<&Zone>) -> Result<Zone, String> {
        if self.rest.is_empty() {
            let missing = || "no time zone is named; add zone = \"Europe/Paris\", or write one behind it".to_owned();
            return given.cloned().ok_or_else(missing);
        }
        Zone::parse(self.rest.trim_end())
    }
}
