//! Marks in a commit's message that ask for nothing to be done.

/// The marker in `message`, if it has one. Case does not matter. One of the form `name: value` is a trailer: a line of the last
/// paragraph.
pub(super) fn marker<'m>(message: &str, markers: &'m [String]) -> Option<&'m str> {
    let message = message.to_lowercase().replace("\r\n", "\n");
    let last = message.trim_end().rsplit("\n\n").next().unwrap_or_default();
    let is_there = |marker: &&String| match trailer(marker) {
        Some(wanted) => last.lines().any(|line| trailer(line).as_ref() == Some(&wanted)),
        None => message.contains(&marker.to_lowercase()),
    };
    markers.iter().find(is_there).map(String::as_str)
}

/// Name and value of a trailer.
fn trailer(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    is_name.then(|| (name.to_lowercase(), value.trim().to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::marker;

    #[test]
    fn a_marker_stands_anywhere_and_a_trailer_at_the_end() {
        let markers = ["[skip ci]", "***NO_CI***", "skip-checks: true"].map(str::to_owned);
        for (message, found) in [
            ("fix [skip ci]", Some("[skip ci]")),
            ("fix\n\nbody [Skip CI] more", Some("[skip ci]")),
            ("fix ***no_ci***", Some("***NO_CI***")),
            ("fix\n\n\nskip-checks: true", Some("skip-checks: true")),
            ("fix\n\nbody\n\n\nSigned-off-by: a\nskip-checks:true\n", Some("skip-checks: true")),
            ("fix\r\n\r\nskip-checks: true\r\n", Some("skip-checks: true")),
            ("fix", None),
            ("skip ci", None),
            ("fix\n\nskip-checks: true is a trailer", None),
            ("fix\n\nskip-checks: true\n\nmore words", None),
            ("fix\n\nskip-checks: false", None),
            ("", None),
        ] {
            assert_eq!(marker(message, &markers), found, "{message:?}");
        }
        assert_eq!(marker("fix [skip ci]", &[]), None);
    }
}
