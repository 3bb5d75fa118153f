//! Events as messages: what happened, why, where, and the one command to run next.

use std::sync::Arc;

use serde_json::Map;
use serde_json::Value;
use sha2::Digest as _;
use sha2::Sha256;
use text::Mask;

use crate::clock;
use crate::config::Config;
use crate::model::Event;
use crate::model::EventKind;
use crate::model::EventName;
use crate::notify::Message;
use crate::notify::Piece;
use crate::notify::Tone;
use crate::notify::line;

/// What an event needs at least to say what a person needs.
const LEAST_BYTES: usize = 400;
/// More events are not read in one message.
const MOST_EVENTS: usize = 12;
/// What an event says at most where there is room.
const MOST_BYTES: usize = 3000;
/// A sentence of what happened, and a command.
const SENTENCE_BYTES: usize = 200;
/// What is told so long after it happened says when that was.
const LATE_MS: i64 = 5 * 60_000;

/// What stands around every message.
pub(super) struct Frame {
    /// Hides secrets, wherever they may have come from.
    mask: Arc<Mask>,
    /// The host, which is one of several that somebody may have.
    host: String,
}

impl Frame {
    pub(super) fn of(config: &Config) -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { mask: Arc::clone(&config.mask), host }
    }

    fn hidden(&self, words: &str, most_bytes: usize) -> String {
        line(&self.mask.hide(words), most_bytes)
    }
}

/// How many events a message with so much room tells.
pub(super) fn most_events(room_bytes: usize) -> usize {
    (room_bytes / LEAST_BYTES).clamp(1, MOST_EVENTS)
}

/// The message that tells `events`, of which there is at least one.
pub(super) fn message(events: &[Event], room_bytes: Option<usize>, frame: &Frame) -> Message {
    let share = room_bytes.map_or(MOST_BYTES, |room| (room / events.len().max(1)).min(MOST_BYTES));
    let mut message = match events {
        [event] => single(event, share, frame),
        events => group(events, share, frame),
    };
    message.pieces.push(Piece::Text(format!("On {}.", frame.host)));
    message
}

fn single(event: &Event, share: usize, frame: &Frame) -> Message {
    let mut pieces = details(event, share, frame);
    if clock::now_ms() - event.at_ms > LATE_MS {
        pieces.insert(0, Piece::Text(format!("This happened at {}.", clock::utc(event.at_ms))));
    }
    Message {
        id: event.name.id(),
        kind: format!("event.{}", event.name.kind.as_str()),
        at_ms: event.at_ms,
        tone: tone(event.name.kind),
        title: frame.hidden(&event.what, SENTENCE_BYTES),
        pieces,
        data: data(event, frame),
    }
}

fn group(events: &[Event], share: usize, frame: &Frame) -> Message {
    let mut digest = Sha256::new();
    let mut pieces = Vec::new();
    for event in events {
        digest.update(event.name.id());
        let what = frame.hidden(&event.what, SENTENCE_BYTES);
        pieces.push(Piece::Text(format!("{} {what}", clock::utc(event.at_ms))));
        pieces.extend(details(event, share, frame));
    }
    let is_bad = events.iter().filter(|event| event.name.kind.is_bad()).count();
    let bad = if is_bad == 0 { String::new() } else { format!(", {is_bad} of them bad") };
    Message {
        id: format!("grp_{}", &text::hex(&digest.finalize())[..32]),
        kind: "events".to_owned(),
        at_ms: events.iter().map(|event| event.at_ms).max().unwrap_or_default(),
        tone: if is_bad > 0 { Tone::Bad } else { Tone::Careful },
        title: format!("{} things happened{bad}.", events.len()),
        pieces,
        data: Map::new(),
    }
}

/// Why it happened and what to run next, within what is left of `share` beside what happened.
fn details(event: &Event, share: usize, frame: &Frame) -> Vec<Piece> {
    let next = event.next.as_ref().map(|next| frame.hidden(next, SENTENCE_BYTES / 2));
    let used = event.what.len().min(SENTENCE_BYTES) + next.as_ref().map_or(0, String::len) + 60;
    let why = frame.hidden(&event.why, share.saturating_sub(used));
    let why = (!why.is_empty()).then_some(Piece::Text(why));
    why.into_iter().chain(next.map(Piece::Code)).collect()
}

/// What a program gets.
fn data(event: &Event, frame: &Frame) -> Map<String, Value> {
    let text = |words: &str| Value::from(frame.hidden(words, MOST_BYTES));
    let mut data = Map::new();
    data.insert("event".to_owned(), event.name.kind.as_str().into());
    data.insert("about".to_owned(), text(&event.name.of));
    data.insert("service".to_owned(), event.service.as_ref().map(ToString::to_string).into());
    data.insert("at_ms".to_owned(), event.at_ms.into());
    data.insert("what".to_owned(), text(&event.what));
    data.insert("why".to_owned(), text(&event.why));
    data.insert("next".to_owned(), event.next.as_deref().map_or(Value::Null, text));
    data.insert("host".to_owned(), frame.host.as_str().into());
    data
}

fn tone(kind: EventKind) -> Tone {
    match kind {
        EventKind::Recovered | EventKind::Live | EventKind::IncidentClosed | EventKind::ApprovalGiven => Tone::Good,
        EventKind::ApprovalWanted | EventKind::ApprovalExpired | EventKind::Refused => Tone::Careful,
        EventKind::Failed | EventKind::RolledBack | EventKind::IncidentOpened | EventKind::Parked | EventKind::Debt => Tone::Bad,
    }
}

/// A message by which somebody tries whether a notifier works, as long as a real one may be.
#[must_use]
pub fn trial(config: &Config) -> Message {
    let now_ms = clock::now_ms();
    let event = Event {
        name: EventName { kind: EventKind::Live, of: format!("test {now_ms}") },
        service: None,
        at_ms: now_ms,
        what: "This is a test message of tagalong.".to_owned(),
        why: "Nothing has happened. Somebody ran the command below to see whether messages arrive.".to_owned(),
        next: Some("tagalong notify test".to_owned()),
    };
    Message { kind: "test".to_owned(), ..message(&[event], None, &Frame::of(config)) }
}
