//! The lines of an iCalendar file (RFC 5545): folded ones put together, each taken apart.

use text::without_controls;

/// `NAME;PARAMETER=VALUE:VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Where it begins in the file.
    pub(crate) number: usize,
    /// In upper case.
    pub(crate) name: String,
    /// By names in upper case.
    parameters: Vec<(String, String)>,
    pub(crate) value: String,
}

impl Line {
    /// Reads a whole line.
    pub(crate) fn parse(number: usize, text: &str) -> Result<Self, String> {
        let wrong = || format!("line {number} is no line of a calendar: \"{}\".", without_controls(&shortened(text)));
        let (head, value) = split_outside_quotes(text, ':').ok_or_else(wrong)?;
        let mut parts = split_all_outside_quotes(head, ';').into_iter();
        let name = parts.next().filter(|name| is_name(name)).ok_or_else(wrong)?.to_ascii_uppercase();
        let mut parameters = Vec::new();
        for part in parts {
            let (key, value) = part.split_once('=').filter(|(key, _)| is_name(key)).ok_or_else(wrong)?;
            parameters.push((key.to_ascii_uppercase(), value.trim_matches('"').to_owned()));
        }
        Ok(Self { number, name, parameters, value: value.to_owned() })
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Its value with what was escaped in a text.
    pub(crate) fn text(&self) -> String {
        self.value.replace("\\n", " ").replace("\\N", " ").replace("\\,", ",").replace("\\;", ";").replace("\\\\", "\\")
    }
}

/// The lines of a file, each with its number; a line that begins with a blank goes on with the one before it.
pub(crate) fn unfolded(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (at, line) in text.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        match (line.strip_prefix([' ', '\t']), lines.last_mut()) {
            (Some(more), Some((_, last))) => last.push_str(more),
            _ if line.is_empty() => {}
            _ => lines.push((at + 1, line.to_owned())),
        }
    }
    lines
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn split_outside_quotes(text: &str, at: char) -> Option<(&str, &str)> {
    let mut is_quoted = false;
    let place = text.char_indices().find_map(|(place, c)| {
        is_quoted ^= c == '"';
        (c == at && !is_quoted).then_some(place)
    })?;
    Some((&text[..place], &text[place + at.len_utf8()..]))
}

fn split_all_outside_quotes(text: &str, at: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((part, more)) = split_outside_quotes(rest, at) {
        parts.push(part);
        rest = more;
    }
    parts.push(rest);
    parts
}

fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::Line;
    use super::unfolded;

    #[test]
    fn lines_are_put_together_and_taken_apart() {
        let lines = unfolded("SUMMARY:Christ\r\n mas\r\n\r\nDTSTART;VALUE=DATE;X-A=\"a:b;c\":20261225\n");
        assert_eq!(lines, [(1, "SUMMARY:Christmas".to_owned()), (4, "DTSTART;VALUE=DATE;X-A=\"a:b;c\":20261225".to_owned())]);
        let line = Line::parse(4, &lines[1].1).unwrap();
        assert_eq!((line.name.as_str(), line.parameter("VALUE"), line.value.as_str()), ("DTSTART", Some("DATE"), "20261225"));
        assert_eq!(line.parameter("X-A"), Some("a:b;c"));
        for bad in ["", "no colon", ":value", "NA ME:x", "A;=b:c", "A;b:c", "\"A:b"] {
            assert!(Line::parse(7, bad).unwrap_err().starts_with("line 7 is no line of a calendar"), "{bad}");
        }
    }
}
