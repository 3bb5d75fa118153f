//! A deployment as one line of a list.

use crate::api;
use crate::http::dashboard::words;
use crate::http::dashboard::words::Moment;
use crate::http::dashboard::words::Pill;
use crate::http::dashboard::words::Tone;
use crate::model::ServiceName;
use crate::model::State;

/// How much of a reason a line shows.
const MOST_WORDS: usize = 160;

/// A line.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) service: ServiceName,
    pub(super) id: String,
    pub(super) tag: String,
    pub(super) kind: &'static str,
    pub(super) pill: Pill,
    pub(super) why: Option<String>,
    pub(super) at: Moment,
    pub(super) who: String,
    pub(super) took: Option<String>,
}

impl Row {
    pub(super) fn of(one: &api::Deployment) -> Self {
        let pill = Pill::of(one.kind, &one.state);
        // What is as it should be needs no words.
        let why = match &one.state {
            State::Done { .. } if pill.tone == Tone::Good => None,
            State::Done { .. } => one.summary.as_deref(),
            _ => one.waits_why.as_deref(),
        };
        Self {
            service: one.service.clone(),
            id: one.id.to_string(),
            tag: words::tag(one),
            kind: one.kind.as_str(),
            why: why.map(|why| shortened(why, MOST_WORDS)),
            at: Moment(one.ended_ms.or(one.started_ms).unwrap_or(one.created_ms)),
            who: words::who(one),
            took: one.took_ms.map(words::span),
            pill,
        }
    }
}

/// The beginning of `text`.
pub(super) fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn what_is_too_long_ends_with_a_sign() {
        assert_eq!((shortened("äöü", 3), shortened("äö ü", 3)), ("äöü".to_owned(), "äö…".to_owned()));
    }
}
