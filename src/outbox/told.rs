//! What a receiver made of what it was told.

use std::time::Duration;

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
    /// Not yet, though nothing is wrong: it is told when this is over.
    Later {
        /// Why, as a sentence.
        why: String,
        /// How long that is.
        wait: Duration,
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

#[cfg(test)]
mod tests {
    use super::Told;

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
