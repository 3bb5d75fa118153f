//! How states and times are said on pages.

use std::fmt;

use crate::api;
use crate::api::Word;
use crate::clock;
use crate::model::OrderKind;
use crate::model::Outcome;
use crate::model::State;
use crate::model::WaitsFor;
use crate::orders::SeenWhen;

/// How a word is shown: by a colour and a shape, since not everybody sees the colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Warn,
    Bad,
    Busy,
    Wait,
    Still,
}

impl fmt::Display for Tone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Busy => "busy",
            Self::Wait => "wait",
            Self::Still => "still",
        })
    }
}

/// A word with its tone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pill {
    pub(super) tone: Tone,
    pub(super) word: String,
}

impl Pill {
    pub(super) fn new(tone: Tone, word: impl Into<String>) -> Self {
        Self { tone, word: word.into() }
    }

    /// Where a deployment stands.
    pub(super) fn of(kind: OrderKind, state: &State) -> Self {
        match state {
            State::Waiting { waits_for: WaitsFor::Turn } => Self::new(Tone::Wait, "waits for its turn"),
            State::Waiting { waits_for: WaitsFor::Approval } => Self::new(Tone::Wait, "waits for approval"),
            State::Waiting { waits_for: WaitsFor::Window } => Self::new(Tone::Wait, "waits for a window"),
            State::Waiting { waits_for: WaitsFor::Checks } => Self::new(Tone::Wait, "waits for checks"),
            State::Waiting { waits_for: WaitsFor::Host } => Self::new(Tone::Wait, "waits for its host"),
            State::Running { step } if step.is_unwinding() => Self::new(Tone::Warn, format!("restoring: {}", spaced(step.as_str()))),
            State::Running { step } => Self::new(Tone::Busy, spaced(step.as_str())),
            State::Done { outcome } => Self::ended(kind, outcome.name()),
        }
    }

    /// How a deployment has ended, by the outcome's name.
    pub(super) fn ended(kind: OrderKind, outcome: &str) -> Self {
        let tone = match outcome {
            "live" => Tone::Good,
            "rolled_back" => Tone::Warn,
            "rollback_failed" | "failed" | "broken" | "needs_operator" => Tone::Bad,
            _ => Tone::Still,
        };
        let word = match (kind, outcome) {
            (OrderKind::Rollback, "live") => "restored".to_owned(),
            (OrderKind::Repair, "live") => "repaired".to_owned(),
            (OrderKind::Adopt, "live") => "adopted".to_owned(),
            (_, "needs_operator") => "needs an operator".to_owned(),
            (_, other) => spaced(other),
        };
        Self::new(tone, word)
    }

    /// How a service stands.
    pub(super) fn standing(word: Word) -> Self {
        match word {
            Word::Ok => Self::new(Tone::Good, "ok"),
            Word::Deploying => Self::new(Tone::Busy, "deploying"),
            Word::Empty => Self::new(Tone::Still, "nothing yet"),
            Word::Unknown => Self::new(Tone::Warn, "unknown"),
            Word::Drift => Self::new(Tone::Bad, "drift"),
            Word::Unhealthy => Self::new(Tone::Bad, "unhealthy"),
            Word::Down => Self::new(Tone::Bad, "down"),
        }
    }
}

/// Of when it is what is shown of a host, where that is not now.
pub(super) fn seen(when: SeenWhen) -> Option<String> {
    match when {
        SeenWhen::Now => None,
        SeenWhen::Before(at_ms) => Some(format!("as it was seen {}; its host has not answered since", Moment(at_ms).ago())),
        SeenWhen::NotYet => Some("its host has not answered yet".to_owned()),
    }
}

/// A word of the record as people read it.
pub(super) fn spaced(word: &str) -> String {
    word.replace('_', " ")
}

/// A moment, ms since 1970 (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(pub(super) i64);

impl Moment {
    /// For programs.
    pub(super) fn iso(self) -> String {
        clock::utc(self.0)
    }

    /// In UTC, to the minute.
    pub(super) fn utc(self) -> String {
        let iso = self.iso();
        match (iso.get(..10), iso.get(11..16)) {
            (Some(day), Some(minute)) => format!("{day} {minute} UTC"),
            _ => iso,
        }
    }

    /// How long ago, as of now. The script says it in the same words.
    pub(super) fn ago(self) -> String {
        let seconds = (clock::now_ms() - self.0).max(0) / 1000;
        match seconds {
            0..60 => format!("{seconds} s ago"),
            60..3600 => format!("{} min ago", seconds / 60),
            3600..86_400 => format!("{} h ago", seconds / 3600),
            86_400..1_209_600 => format!("{} d ago", seconds / 86_400),
            _ => self.utc(),
        }
    }
}

/// `text` with an upper-case letter at its begin and a full stop at its end.
pub(super) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), letters.as_str().trim_end_matches('.'))
}

/// A length of time as people say it: `340 ms`, `4.2 s`, `3 min 5 s`, `2 h 10 min`.
pub(super) fn span(ms: i64) -> String {
    let ms = ms.max(0);
    let seconds = ms / 1000;
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..10_000 => format!("{}.{} s", seconds, ms % 1000 / 100),
        10_000..60_000 => format!("{seconds} s"),
        60_000..3_600_000 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600_000..172_800_000 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// Who ordered it: the person or job behind it where that is proven, else what proved the call.
pub(super) fn who(deployment: &api::Deployment) -> String {
    deployment.actor.clone().unwrap_or_else(|| caller(&deployment.caller))
}

/// A caller as people say it: `user:ada` is ada.
pub(super) fn caller(caller: &str) -> String {
    caller.strip_prefix("user:").unwrap_or(caller).to_owned()
}

/// What is shown of a deployment's tag.
pub(super) fn tag(deployment: &api::Deployment) -> String {
    deployment.tag.as_ref().map_or_else(|| "(no tag)".to_owned(), ToString::to_string)
}

/// The beginning of a commit or of a digest.
pub(super) fn short(name: &str) -> &str {
    let name = name.strip_prefix("sha256:").unwrap_or(name);
    name.get(..12).unwrap_or(name)
}

/// An image with the beginning of its digest, for places where the whole is too long to be read.
pub(super) fn image(name: &str) -> String {
    match name.split_once("@sha256:") {
        Some((name, digest)) => format!("{name}@{}…", short(digest)),
        None => name.to_owned(),
    }
}

/// Whether the page was not looked at when the release went live.
pub(super) fn is_unseen(live: &api::Deployment) -> bool {
    matches!(&live.state, State::Done { outcome: Outcome::Live { page_seen: false, .. } })
}

/// How many there are, in words: `1 service`, `3 services`.
pub(super) fn many(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

/// How many entries a trail has, in words.
pub(super) fn many_entries(count: i64) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}

#[cfg(test)]
mod tests {
    use super::Moment;
    use super::Pill;
    use super::Tone;
    use super::short;
    use super::span;
    use crate::model::OrderKind;
    use crate::model::Outcome;

    #[test]
    fn spans_are_as_exact_as_they_are_short() {
        let said: Vec<String> = [-5, 0, 999, 1000, 9_949, 10_000, 59_999, 60_000, 3_599_999, 3_600_000, 172_799_999, 172_800_000]
            .into_iter()
            .map(span)
            .collect();
        assert_eq!(
            said,
            ["0 ms", "0 ms", "999 ms", "1.0 s", "9.9 s", "10 s", "59 s", "1 min 0 s", "59 min 59 s", "1 h 0 min", "47 h 59 min", "2 d 0 h"]
        );
    }

    #[test]
    fn only_what_holds_looks_good() {
        for name in Outcome::NAMES {
            assert_eq!(Pill::ended(OrderKind::Deploy, name).tone == Tone::Good, name == "live", "{name}");
        }
        assert_eq!(Pill::ended(OrderKind::Rollback, "live").word, "restored");
        assert_eq!(Pill::ended(OrderKind::Deploy, "rollback_failed").word, "rollback failed");
    }

    #[test]
    fn moments_and_names_are_short() {
        assert_eq!(Moment(0).utc(), "1970-01-01 00:00 UTC");
        assert_eq!(Moment(0).ago(), "1970-01-01 00:00 UTC");
        assert_eq!((short("sha256:0123456789abcdef"), short("v1")), ("0123456789ab", "v1"));
    }
}
