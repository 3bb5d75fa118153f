//! What a receiver made of what it was told.

use std::time::Duration;

use crate::clock;

/// What a receiver made of what it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It has it.
    Taken,
    /// Not now; it may be another time.
    NotNow {
        /// Why, as a sentence.
        why: String,
        /// For how long the receiver wants to be told nothing, where it says so.
        after: Option<Duration>,
    },
    /// Not as it is, however often it is told.
    Refused {
        /// Why, as a sentence.
        why: String,
    },
    /// There is no such receiver any more.
    Gone,
}

impl Told {
    /// What an answer means that is no success. 401, 403 and 404 may be another tomorrow, when a secret, a right or a route has
    /// come; what finds fault with the call itself stays as it is.
    #[must_use]
    pub fn refusal(status: u16, after: Option<Duration>, why: String) -> Self {
        match status {
            400 | 402 | 405 | 406 | 410 | 411 | 413..=417 | 422 | 426 | 431 | 451 | 501 | 505 => Self::Refused { why },
            _ => Self::NotNow { why, after },
        }
    }
}

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

    use super::Told;
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

    #[test]
    fn only_what_does_not_change_is_refused_for_good() {
        let of = |status| Told::refusal(status, None, String::new());
        for status in [400, 405, 410, 413, 415, 422] {
            assert!(matches!(of(status), Told::Refused { .. }), "{status}");
        }
        for status in [301, 401, 403, 404, 408, 409, 423, 425, 429, 500, 502, 503, 504] {
            assert!(matches!(of(status), Told::NotNow { .. }), "{status}");
        }
    }
}
