//! Room for images where an engine keeps them.

/// Whether an image has room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Room {
    /// It has.
    Enough,
    /// That cannot be told from here: why, as words for people.
    Unknown(String),
    /// It has not: what is missing and how to make room, as a sentence.
    TooLittle(String),
}
