//! What one receiver is told at once.

use serde_json::Map;
use serde_json::Value;
use url::Url;

/// What one receiver is told at once, in words; every service shows it in its own way.
#[derive(Debug, Clone)]
pub struct Message {
    /// The same however often the message is sent, and of no other message: 1 to 64 letters, digits, `_` and `-`.
    pub id: String,
    /// What kind of message it is, for programs: `event.failed`, for instance.
    pub kind: String,
    /// When what it tells happened (ms since 1970, UTC).
    pub at_ms: i64,
    /// How it is meant.
    pub tone: Tone,
    /// What it is about, in a line.
    pub title: String,
    /// What it says, in order.
    pub pieces: Vec<Piece>,
    /// What programs get of it beside its words.
    pub data: Map<String, Value>,
}

/// How a message is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Something is wrong.
    Bad,
    /// Somebody should look.
    Careful,
    /// All is well.
    Good,
}

/// A part of a message, each on a line of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A sentence.
    Text(String),
    /// A command or a code: shown as it is written, to be copied.
    Code(String),
    /// An address to open.
    Link(Url),
}

impl Piece {
    /// Its words.
    pub(super) fn words(&self) -> &str {
        match self {
            Self::Text(words) | Self::Code(words) => words,
            Self::Link(url) => url.as_str(),
        }
    }
}

impl Message {
    /// The first address to open.
    pub(super) fn link(&self) -> Option<&Url> {
        self.pieces.iter().find_map(|piece| if let Piece::Link(url) = piece { Some(url) } else { None })
    }
}
