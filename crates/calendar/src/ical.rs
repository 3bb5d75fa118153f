//! iCalendar files (RFC 5545): the events of all calendars in one. What is not understood is named, and then nothing is taken from the
//! file: a holiday that was passed over would be a day like any other.

use text::without_controls;

use crate::event::Event;
use crate::line::Line;
use crate::line::unfolded;
use crate::zone::Zone;

/// A larger file is not read.
pub const MOST_BYTES: usize = 1 << 20;
/// More problems are not named one by one.
const MOST_PROBLEMS: usize = 20;
/// Components that are no events: zones are known by their names, and what is to be done, remembered or told is no time of its own.
const NO_EVENTS: [&str; 11] =
    ["VTIMEZONE", "STANDARD", "DAYLIGHT", "VALARM", "VTODO", "VJOURNAL", "VFREEBUSY", "PARTICIPANT", "VLOCATION", "VRESOURCE", "VCARD"];
/// Properties of a calendar that say nothing about when its events are.
const BESIDE: [&str; 14] = [
    "PRODID",
    "VERSION",
    "NAME",
    "DESCRIPTION",
    "UID",
    "LAST-MODIFIED",
    "URL",
    "CATEGORIES",
    "REFRESH-INTERVAL",
    "SOURCE",
    "COLOR",
    "IMAGE",
    "LINK",
    "STRUCTURED-DATA",
];

/// The events of a file. What names no zone is in `zone`.
///
/// # Errors
/// Everything that is not understood, each as one sentence.
pub fn read(text: &str, zone: &Zone) -> Result<Vec<Event>, Vec<String>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { zone, open: Vec::new(), event: Vec::new(), events: Vec::new(), problems: Vec::new(), calendars: 0 };
    for (number, line) in unfolded(text) {
        match Line::parse(number, &line) {
            Ok(line) => reader.take(line),
            Err(why) => reader.problems.push(why),
        }
        if reader.problems.len() > MOST_PROBLEMS {
            reader.problems.push("There is more that is not understood.".to_owned());
            return Err(reader.problems);
        }
    }
    reader.end()
}

struct Reader<'a> {
    zone: &'a Zone,
    /// The components that have begun and not ended.
    open: Vec<String>,
    /// The lines of the event that has begun.
    event: Vec<Line>,
    events: Vec<Event>,
    problems: Vec<String>,
    calendars: usize,
}

impl Reader<'_> {
    fn take(&mut self, line: Line) {
        let value = line.value.to_ascii_uppercase();
        match line.name.as_str() {
            "BEGIN" => self.begin(line.number, value),
            "END" => self.end_of(line.number, &value),
            _ => match self.open.last().map(String::as_str) {
                Some("VEVENT") => self.event.push(line),
                Some("VCALENDAR") => self.problems.extend(calendar_problem(&line)),
                Some(_) => {}
                None => self.problems.push(format!("line {} stands outside of a calendar.", line.number)),
            },
        }
    }

    fn begin(&mut self, number: usize, name: String) {
        let inside = self.open.last().map(String::as_str);
        let is_known = match (inside, name.as_str()) {
            (None, "VCALENDAR") | (Some("VCALENDAR"), "VEVENT") => true,
            (Some(_), other) => NO_EVENTS.contains(&other) || other.starts_with("X-"),
            (None, _) => false,
        };
        if !is_known {
            let name = without_controls(&name);
            self.problems.push(format!("line {number} begins {name}, which is not understood there."));
        }
        self.calendars += usize::from(name == "VCALENDAR");
        self.open.push(name);
    }

    fn end_of(&mut self, number: usize, name: &str) {
        if self.open.last().is_none_or(|open| open != name) {
            let name = without_controls(name);
            self.problems.push(format!("line {number} ends {name}, which had not begun last."));
            return;
        }
        self.open.pop();
        if name == "VEVENT" {
            match Event::read(&std::mem::take(&mut self.event), self.zone) {
                Ok(event) => self.events.push(event),
                Err(problems) => self.problems.extend(problems),
            }
        }
    }

    fn end(mut self) -> Result<Vec<Event>, Vec<String>> {
        if self.calendars == 0 {
            self.problems.push("this is not an iCalendar file: BEGIN:VCALENDAR is missing.".to_owned());
        } else if let Some(open) = self.open.last() {
            self.problems.push(format!("the file ends within {}, so a part of it is missing.", without_controls(open)));
        }
        if self.problems.is_empty() { Ok(replaced(self.events)) } else { Err(self.problems) }
    }
}

fn calendar_problem(line: &Line) -> Option<String> {
    let name = line.name.as_str();
    let value = line.value.trim();
    let is_known = match name {
        "CALSCALE" => value.eq_ignore_ascii_case("GREGORIAN"),
        "METHOD" => value.eq_ignore_ascii_case("PUBLISH"),
        _ => name.starts_with("X-") || BESIDE.contains(&name),
    };
    (!is_known).then(|| format!("line {} has {name}:{}, which is not understood.", line.number, without_controls(value)))
}

/// The events as they are, where single occurrences were moved or cancelled.
fn replaced(mut events: Vec<Event>) -> Vec<Event> {
    let moved: Vec<_> = events.iter().filter_map(|event| Some((event.uid.clone(), event.replaces.clone()?))).collect();
    for (uid, occurrence) in moved {
        for event in events.iter_mut().filter(|event| event.uid == uid && event.replaces.is_none()) {
            event.except.push(occurrence.clone());
        }
    }
    events.retain(|event| !event.is_cancelled);
    events
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::read;
    use crate::zone::Zone;

    fn paris() -> Zone {
        Zone::parse("Europe/Paris").unwrap()
    }

    fn calendar(events: &[&str]) -> String {
        let events: Vec<String> = events.iter().map(|event| format!("BEGIN:VEVENT\r\n{event}\r\nEND:VEVENT\r\n")).collect();
        format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x\r\n{}END:VCALENDAR\r\n", events.concat())
    }

    /// The stretches of 2026 and 2027, in UTC.
    fn stretches(events: &[&str]) -> Vec<String> {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let events = read(&calendar(events), &paris()).unwrap();
        let mut all: Vec<_> =
            events.iter().flat_map(|event| event.between(at("2026-01-01T00:00:00Z"), at("2027-12-31T00:00:00Z"))).collect();
        all.sort_by_key(|stretch| stretch.from);
        let short = |at: Timestamp| at.to_string().replace(":00Z", "");
        all.iter().map(|stretch| format!("{}/{}", short(stretch.from), short(stretch.until))).collect()
    }

    #[test]
    fn events_are_whole_days_or_have_times() {
        for (event, wanted) in [
            ("DTSTART;VALUE=DATE:20261225", "2026-12-24T23:00/2026-12-25T23:00"),
            ("DTSTART:20261225", "2026-12-24T23:00/2026-12-25T23:00"),
            ("DTSTART;VALUE=DATE:20261224\r\nDTEND;VALUE=DATE:20261227", "2026-12-23T23:00/2026-12-26T23:00"),
            ("DTSTART;VALUE=DATE:20261224\r\nDURATION:P3D", "2026-12-23T23:00/2026-12-26T23:00"),
            ("DTSTART:20261225T100000\r\nDTEND:20261225T120000", "2026-12-25T09:00/2026-12-25T11:00"),
            ("DTSTART:20261225T100000Z\r\nDURATION:PT1H30M", "2026-12-25T10:00/2026-12-25T11:30"),
            (
                "DTSTART;TZID=America/New_York:20261225T100000\r\nDTEND;TZID=America/New_York:20261225T120000",
                "2026-12-25T15:00/2026-12-25T17:00",
            ),
            ("DTSTART;TZID=\"Asia/Tokyo\":20261225T100000\r\nDTEND:20261225T020000Z", "2026-12-25T01:00/2026-12-25T02:00"),
            // The day on which the clocks change has 23 hours.
            ("DTSTART;VALUE=DATE:20260329", "2026-03-28T23:00/2026-03-29T22:00"),
            ("DTSTART;VALUE=DATE:20251225\r\nRRULE:FREQ=YEARLY", "2026-12-24T23:00/2026-12-25T23:00 2027-12-24T23:00/2027-12-25T23:00"),
            ("DTSTART;VALUE=DATE:20251225\r\nRRULE:FREQ=YEARLY;UNTIL=20261225", "2026-12-24T23:00/2026-12-25T23:00"),
            ("DTSTART;VALUE=DATE:20251225\r\nRRULE:FREQ=YEARLY\r\nEXDATE;VALUE=DATE:20261225", "2027-12-24T23:00/2027-12-25T23:00"),
            (
                "DTSTART;VALUE=DATE:20240101\r\nRDATE;VALUE=DATE:20260501,20260508",
                "2026-04-30T22:00/2026-05-01T22:00 2026-05-07T22:00/2026-05-08T22:00",
            ),
            // A time stays what clocks show, on both sides of their change.
            (
                "DTSTART:20260328T100000\r\nDTEND:20260328T110000\r\nRRULE:FREQ=DAILY;COUNT=2",
                "2026-03-28T09:00/2026-03-28T10:00 2026-03-29T08:00/2026-03-29T09:00",
            ),
            (
                "DTSTART:20260328T100000\r\nDTEND:20260328T110000\r\nRRULE:FREQ=DAILY;UNTIL=20260329T080000Z",
                "2026-03-28T09:00/2026-03-28T10:00 2026-03-29T08:00/2026-03-29T09:00",
            ),
            (
                "DTSTART:20260328T100000\r\nDTEND:20260328T110000\r\nRRULE:FREQ=DAILY;COUNT=2\r\nEXDATE:20260329T080000Z",
                "2026-03-28T09:00/2026-03-28T10:00",
            ),
            ("DTSTART;VALUE=DATE:20261225\r\nSTATUS:CANCELLED", ""),
            (
                "DTSTART;VALUE=DATE:20261225\r\nTRANSP:TRANSPARENT\r\nX-ODD:1\r\nBEGIN:VALARM\r\nTRIGGER:-PT1H\r\nEND:VALARM",
                "2026-12-24T23:00/2026-12-25T23:00",
            ),
        ] {
            assert_eq!(stretches(&[event]).join(" "), wanted, "{event}");
        }
        let moved = [
            "UID:a\r\nDTSTART;VALUE=DATE:20251225\r\nRRULE:FREQ=YEARLY",
            "UID:a\r\nRECURRENCE-ID;VALUE=DATE:20261225\r\nDTSTART;VALUE=DATE:20261228",
        ];
        assert_eq!(stretches(&moved), ["2026-12-27T23:00/2026-12-28T23:00", "2027-12-24T23:00/2027-12-25T23:00"]);
        let cancelled = [moved[0], "UID:a\r\nRECURRENCE-ID;VALUE=DATE:20261225\r\nDTSTART;VALUE=DATE:20261225\r\nSTATUS:CANCELLED"];
        assert_eq!(stretches(&cancelled), ["2027-12-24T23:00/2027-12-25T23:00"]);
    }

    #[test]
    fn what_is_not_understood_is_named_and_nothing_is_passed_over() {
        for (event, why) in [
            ("SUMMARY:x", "the event \"x\" (line 5) has no DTSTART."),
            ("SUMMARY:x\r\nDTSTART;VALUE=DATE:20261232", "the event \"x\" (line 5) has the DTSTART 20261232, which is not understood."),
            ("DTSTART:20261225T100000", "has neither DTEND nor DURATION"),
            ("DTSTART:20261225T100000\r\nDURATION:-PT1H", "has the DURATION -PT1H, which is not understood"),
            ("DTSTART:20261225T100000\r\nDURATION:PT1H\r\nDTEND:20261225T110000", "has both DTEND and DURATION"),
            ("DTSTART:20261225T100000\r\nDTEND:20261225T100000", "does not end after it begins"),
            ("DTSTART;VALUE=DATE:20261225\r\nDTEND:20261226T000000", "of different kinds"),
            ("DTSTART;TZID=Romance Standard Time:20261225T100000\r\nDURATION:PT1H", "has a TZID that is not understood"),
            ("DTSTART;VALUE=PERIOD:20261225T100000/PT1H", "which is not understood"),
            (
                "DTSTART;VALUE=DATE:20261225\r\nRRULE:FREQ=SECONDLY",
                "has an RRULE that has the part FREQ=SECONDLY, which is not understood.",
            ),
            ("DTSTART;VALUE=DATE:20261225\r\nRRULE:FREQ=YEARLY;BYSETPOS=1", "BYSETPOS=1"),
            ("DTSTART;VALUE=DATE:20261225\r\nEXRULE:FREQ=YEARLY", "has the property EXRULE, which is not understood."),
            ("DTSTART;VALUE=DATE:20261225\r\nRDATE;VALUE=PERIOD:20261225T100000Z/PT1H", "has the RDATE"),
            ("DTSTART;VALUE=DATE:20261225\r\nRECURRENCE-ID;RANGE=THISANDFUTURE:20261225", "with a RANGE, which is not understood"),
            ("DTSTART;VALUE=DATE:20261225\r\nBEGIN:VEVENT\r\nEND:VEVENT", "begins VEVENT, which is not understood there"),
        ] {
            let said = read(&calendar(&["DTSTART;VALUE=DATE:20260101", event]), &paris());
            // The good event before it does not count either.
            let said = said.unwrap_err().join("\n").replace("(line 9)", "(line 5)").replace("(line 8)", "(line 5)");
            assert!(said.contains(why), "{event}: {said}");
        }
        for (text, why) in [
            ("", "this is not an iCalendar file"),
            ("<html></html>", "is no line of a calendar"),
            ("BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20261225", "the file ends within VEVENT, so a part of it is missing"),
            ("BEGIN:VCALENDAR\nCALSCALE:HEBREW\nEND:VCALENDAR", "has CALSCALE:HEBREW"),
            ("BEGIN:VCALENDAR\nMETHOD:CANCEL\nEND:VCALENDAR", "has METHOD:CANCEL"),
            ("BEGIN:VCALENDAR\nBEGIN:VAVAILABILITY\nEND:VAVAILABILITY\nEND:VCALENDAR", "begins VAVAILABILITY"),
            ("BEGIN:VCALENDAR\nEND:VEVENT\nEND:VCALENDAR", "ends VEVENT, which had not begun last"),
        ] {
            let said = read(text, &paris()).unwrap_err().join("\n");
            assert!(said.contains(why), "{text}: {said}");
        }
        assert_eq!(read(&"x\n".repeat(1000), &paris()).unwrap_err().len(), super::MOST_PROBLEMS + 2);
    }

    proptest! {
        #[test]
        fn any_bytes_do_no_harm(text in ".*", rule in "[A-Z0-9=;,-]{0,40}", value in "[0-9TZP:DH-]{0,20}") {
            let _ = read(&text, &paris());
            let event = format!("DTSTART:{value}\r\nDTEND:{value}\r\nDURATION:{value}\r\nRRULE:{rule}\r\nSUMMARY:{text}");
            if let Ok(events) = read(&calendar(&[&event]), &paris()) {
                let at = Timestamp::from_second(1_800_000_000).unwrap();
                for event in events {
                    event.between(at, at);
                }
            }
        }
    }
}
