//! One event of a calendar: when it comes first, and when again.

use jiff::SignedDuration;
use jiff::Span;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::civil::DateTime;
use jiff::civil::Time;
use text::without_controls;

use crate::line::Line;
use crate::rule::Rule;
use crate::stretch::Stretch;
use crate::zone::Zone;

/// An event of an iCalendar file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub(crate) uid: String,
    first: When,
    length: SignedDuration,
    rule: Option<(Rule, Last)>,
    also: Vec<When>,
    pub(crate) except: Vec<When>,
    /// The occurrence of another event, of the same uid, whose place it takes.
    pub(crate) replaces: Option<When>,
    pub(crate) is_cancelled: bool,
    name: String,
}

/// A beginning: a whole day, or what a clock of a zone shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct When {
    shown: DateTime,
    is_day: bool,
    zone: Zone,
}

/// When an event comes for the last time.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Last {
    Never,
    On(Date),
    At(Timestamp),
}

/// Properties that say nothing about when an event is.
const BESIDE: [&str; 34] = [
    "ATTACH",
    "ATTENDEE",
    "CALENDAR-ADDRESS",
    "CATEGORIES",
    "CLASS",
    "COLOR",
    "COMMENT",
    "CONCEPT",
    "CONFERENCE",
    "CONTACT",
    "CREATED",
    "DESCRIPTION",
    "DTSTAMP",
    "GEO",
    "IMAGE",
    "LAST-MODIFIED",
    "LINK",
    "LOCATION",
    "LOCATION-TYPE",
    "ORGANIZER",
    "PARTICIPANT-TYPE",
    "PRIORITY",
    "REFID",
    "RELATED-TO",
    "REQUEST-STATUS",
    "RESOURCES",
    "RESOURCE-TYPE",
    "SEQUENCE",
    "STRUCTURED-DATA",
    "STYLED-DESCRIPTION",
    "SUMMARY",
    "TRANSP",
    "UID",
    "URL",
];
/// An event that comes again may not be longer.
const MOST_DAYS: i64 = 366;

impl Event {
    /// The event whose lines these are; what names no zone is in `zone`.
    ///
    /// # Errors
    /// Everything of it that is not understood.
    pub(crate) fn read(lines: &[Line], zone: &Zone) -> Result<Self, Vec<String>> {
        let one = |name: &str| lines.iter().find(|line| line.name == name);
        let name = one("SUMMARY").map_or_else(|| "an event without a name".to_owned(), |line| without_controls(&line.text()));
        let number = lines.first().map_or(0, |line| line.number);
        let said = |why: String| format!("the event \"{name}\" (line {number}) {why}.");
        let mut problems: Vec<String> = lines.iter().filter_map(not_understood).map(&said).collect();
        let Some(start) = one("DTSTART") else {
            problems.push(said("has no DTSTART".to_owned()));
            return Err(problems);
        };
        let parts = When::read(start, zone).and_then(|first| {
            let length = length(&first, one("DTEND"), one("DURATION"), zone)?;
            let rule = one("RRULE").map(|line| read_rule(&line.value, &first, length)).transpose()?;
            let also = read_all(lines, "RDATE", &first, zone)?;
            let except = read_all(lines, "EXDATE", &first, zone)?;
            let replaces = one("RECURRENCE-ID").map(|line| When::read(line, zone)).transpose()?;
            Ok(Self {
                uid: one("UID").map_or_else(String::new, |line| line.value.clone()),
                first,
                length,
                rule,
                also,
                except,
                replaces,
                is_cancelled: one("STATUS").is_some_and(|line| line.value.eq_ignore_ascii_case("CANCELLED")),
                name: name.clone(),
            })
        });
        match parts {
            Ok(event) if problems.is_empty() => Ok(event),
            Ok(_) => Err(problems),
            Err(why) => {
                problems.push(said(why));
                Err(problems)
            }
        }
    }

    /// When it comes between two moments, and in which stretches it is then.
    pub(crate) fn between(&self, from: Timestamp, to: Timestamp) -> Vec<Stretch> {
        let mut begins: Vec<When> = std::iter::once(self.first.clone()).chain(self.also.iter().cloned()).collect();
        if let Some((rule, last)) = &self.rule {
            let zone = &self.first.zone;
            let day = zone.date_at(from).saturating_sub(Span::new().days(self.length.as_hours() / 24 + 2));
            let until = zone.date_at(to).saturating_add(Span::new().days(1));
            let days = day.max(self.first.shown.date()).series(Span::new().days(1)).take_while(|day| *day <= until);
            let comes = days.filter(|day| *day != self.first.shown.date() && rule.falls_on(self.first.shown.date(), *day));
            begins.extend(comes.map(|day| self.first.on(day)).filter(|begin| last.allows(begin)));
        }
        begins.retain(|begin| !self.except.contains(begin));
        let stretches = begins.iter().filter_map(|begin| begin.lasting(self.length, &self.name));
        stretches.filter(|stretch| stretch.from <= to && stretch.until > from).collect()
    }
}

impl Last {
    fn allows(&self, begin: &When) -> bool {
        match self {
            Self::Never => true,
            Self::On(last) => begin.shown.date() <= *last,
            Self::At(last) => begin.zone.earliest(begin.shown).is_some_and(|at| at <= *last),
        }
    }
}

impl When {
    fn read(line: &Line, zone: &Zone) -> Result<Self, String> {
        if line.parameter("RANGE").is_some() {
            return Err(format!("has a {} with a RANGE, which is not understood", line.name));
        }
        Self::parse(line, &line.value, zone)
    }

    fn parse(line: &Line, value: &str, zone: &Zone) -> Result<Self, String> {
        let odd = || format!("has the {} {}, which is not understood", line.name, without_controls(value));
        let named = line.parameter("TZID").map(|name| Zone::parse(name).map_err(|why| format!("has a TZID that is not understood: {why}")));
        let named = named.transpose().map_err(|why| why.trim_end_matches(['.', '?']).to_owned())?;
        let wants_day = line.parameter("VALUE").is_some_and(|kind| kind.eq_ignore_ascii_case("DATE"));
        if !wants_day && line.parameter("VALUE").is_some_and(|kind| !kind.eq_ignore_ascii_case("DATE-TIME")) {
            return Err(odd());
        }
        let (date, time) = value.split_once('T').map_or((value, None), |(date, time)| (date, Some(time)));
        let date = day(date).ok_or_else(odd)?;
        let Some(time) = time.filter(|_| !wants_day) else {
            // Some write a day without saying that it is one.
            let is_day = time.is_none();
            let begin = DateTime::from_parts(date, Time::midnight());
            return if is_day { Ok(Self { shown: begin, is_day, zone: zone.clone() }) } else { Err(odd()) };
        };
        let is_utc = time.ends_with('Z');
        let shown = DateTime::from_parts(date, clock(time.trim_end_matches('Z')).ok_or_else(odd)?);
        let zone = if is_utc { Zone::utc() } else { named.unwrap_or_else(|| zone.clone()) };
        Ok(Self { shown, is_day: false, zone })
    }

    /// The same on another day.
    fn on(&self, day: Date) -> Self {
        Self { shown: DateTime::from_parts(day, self.shown.time()), ..self.clone() }
    }

    fn lasting(&self, length: SignedDuration, name: &str) -> Option<Stretch> {
        Stretch::between(&self.zone, self.shown, self.shown.checked_add(length).ok()?, name)
    }
}

/// What of a line is not understood, as words behind the name of the event.
fn not_understood(line: &Line) -> Option<String> {
    const UNDERSTOOD: [&str; 8] = ["DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE", "RECURRENCE-ID", "STATUS"];
    let name = line.name.as_str();
    let is_known = name.starts_with("X-") || BESIDE.contains(&name) || UNDERSTOOD.contains(&name);
    (!is_known).then(|| format!("has the property {name}, which is not understood"))
}

/// How long an event is by clock and calendar, so that one of a day takes a day of 23 hours as well.
fn length(first: &When, end: Option<&Line>, duration: Option<&Line>, zone: &Zone) -> Result<SignedDuration, String> {
    let length = match (end, duration) {
        (Some(_), Some(_)) => return Err("has both DTEND and DURATION".to_owned()),
        (Some(end), None) => {
            let end = When::read(end, zone)?;
            if end.is_day != first.is_day {
                return Err("has a DTSTART and a DTEND of different kinds".to_owned());
            }
            if end.zone == first.zone {
                first.shown.duration_until(end.shown)
            } else {
                let at = |when: &When| when.zone.earliest(when.shown).ok_or_else(|| "has a time that does not exist".to_owned());
                at(first)?.duration_until(at(&end)?)
            }
        }
        (None, Some(line)) => {
            let odd = || format!("has the DURATION {}, which is not understood", without_controls(&line.value));
            lasting(&line.value).ok_or_else(odd)?
        }
        (None, None) if first.is_day => SignedDuration::from_hours(24),
        (None, None) => return Err("has neither DTEND nor DURATION".to_owned()),
    };
    let is_whole = !first.is_day || length.as_secs() % 86_400 == 0;
    if length.is_positive() && is_whole { Ok(length) } else { Err("does not end after it begins, or not with a day".to_owned()) }
}

fn read_rule(given: &str, first: &When, length: SignedDuration) -> Result<(Rule, Last), String> {
    let rule = Rule::parse(given).map_err(|why| format!("has an RRULE that {why}"))?;
    if length > SignedDuration::from_hours(24 * MOST_DAYS) {
        return Err(format!("comes again and is longer than {MOST_DAYS} days, which is not understood"));
    }
    let counted = rule.last(first.shown.date()).map_err(|why| format!("has an RRULE that {why}"))?;
    let last = match (counted, &rule.until) {
        (Some(_), Some(_)) => return Err("has an RRULE with both COUNT and UNTIL".to_owned()),
        (Some(day), None) => Last::On(day),
        (None, Some(until)) => end_of(until, first).ok_or_else(|| format!("has an RRULE with UNTIL={until}, which is not understood"))?,
        (None, None) => Last::Never,
    };
    Ok((rule, last))
}

/// When a rule ends by its UNTIL: a day, or a moment.
fn end_of(until: &str, first: &When) -> Option<Last> {
    let (date, time) = until.split_once('T').map_or((until, None), |(date, time)| (date, Some(time)));
    let date = day(date)?;
    let Some(time) = time.filter(|_| !first.is_day) else { return Some(Last::On(date)) };
    let zone = if time.ends_with('Z') { Zone::utc() } else { first.zone.clone() };
    zone.latest(DateTime::from_parts(date, clock(time.trim_end_matches('Z'))?)).map(Last::At)
}

/// The times of all lines of that name, which must be of the kind of the first one.
fn read_all(lines: &[Line], name: &str, first: &When, zone: &Zone) -> Result<Vec<When>, String> {
    let mut all = Vec::new();
    for line in lines.iter().filter(|line| line.name == name) {
        for value in line.value.split(',') {
            let when = When::parse(line, value, zone)?;
            if when.is_day != first.is_day {
                return Err(format!("has a DTSTART and an {name} of different kinds"));
            }
            // One moment may be written in several zones.
            let same = when.zone.earliest(when.shown).map(|at| first.zone.date_at(at)).map(|day| first.on(day));
            let is_same = |same: &When| same.zone.earliest(same.shown) == when.zone.earliest(when.shown);
            all.push(same.filter(|same| !when.is_day && is_same(same)).unwrap_or(when));
        }
    }
    Ok(all)
}

fn digits(text: &str, length: usize) -> Option<i16> {
    (text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

fn day(text: &str) -> Option<Date> {
    let two = |from: usize| i8::try_from(digits(text.get(from..from + 2)?, 2)?).ok();
    if text.len() != 8 {
        return None;
    }
    Date::new(digits(text.get(..4)?, 4)?, two(4)?, two(6)?).ok()
}

fn clock(text: &str) -> Option<Time> {
    let two = |from: usize| i8::try_from(digits(text.get(from..from + 2)?, 2)?).ok();
    // A leap second is the last one of its minute.
    if text.len() == 6 { Time::new(two(0)?, two(2)?, two(4)?.min(59), 0).ok() } else { None }
}

/// A duration like `P1DT2H`.
fn lasting(text: &str) -> Option<SignedDuration> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let (days, time) = text.strip_prefix('P')?.split_once('T').map_or((text.strip_prefix('P')?, ""), |parts| parts);
    let mut seconds: i64 = 0;
    for (part, units) in [(days, &[('W', 604_800), ('D', 86_400)][..]), (time, &[('H', 3600), ('M', 60), ('S', 1)][..])] {
        let mut rest = part;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit())?;
            let unit = rest[end..].chars().next()?;
            let (_, length) = units.iter().find(|(name, _)| *name == unit)?;
            seconds = seconds.checked_add(rest[..end].parse::<i64>().ok()?.checked_mul(*length)?)?;
            rest = &rest[end + 1..];
        }
    }
    (seconds < 400 * 86_400).then(|| SignedDuration::from_secs(seconds))
}
