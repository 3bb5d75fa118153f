//! For how long somebody who was called wants to be left alone.

use std::time::Duration;

use crate::clock;

/// How long from now on a receiver wants to be left alone, from its header `Retry-After`: seconds, or a date.
#[must_use]
pub fn retry_after(header: &str) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(header).ok()?;
    Some(Duration::from_millis(u64::try_from(date.as_millisecond() - clock::now_ms()).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::retry_after;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(retry_after("90"), Some(Duration::from_secs(90)));
        assert_eq!(retry_after(" 0 "), Some(Duration::ZERO));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        let far = retry_after("Tue, 06 Nov 2300 08:49:37 GMT").expect("a date");
        assert!(far > Duration::from_hours(24 * 365 * 100), "{far:?}");
        for wrong in ["", "soon", "-1", "1.5", "2300-11-06"] {
            assert_eq!(retry_after(wrong), None, "{wrong}");
        }
    }
}
