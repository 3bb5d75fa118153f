//! What is owed to others: on which lane, and what they are to be told.

use std::fmt;

use crate::model::Commit;
use crate::model::DatasetName;
use crate::model::word::WordError;

/// A kind of receivers, and who tells them: one part of one server, or the same part of each server of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lane {
    /// The peers of a dataset; the executor that has followed it tells them.
    Peers {
        /// Whose checkout it is.
        executor: String,
        /// Of which data.
        dataset: DatasetName,
    },
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peers { executor, dataset } => write!(f, "peers/{executor}/{dataset}"),
        }
    }
}

/// What a receiver is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// This is the newest commit.
    Commit(Commit),
}

impl Message {
    /// Takes `given` as a message.
    ///
    /// # Errors
    /// When it is none of the text forms.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        match given.split_once(' ') {
            Some(("commit", name)) => Commit::parse(name).map(Self::Commit),
            _ => Err(WordError::new("The message", given, "it is \"commit\" and the name of one")),
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit(commit) => write!(f, "commit {commit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Message;
    use crate::model::Commit;

    #[test]
    fn a_message_has_one_text_form() {
        let commit = Message::Commit(Commit::parse(&"1f".repeat(20)).expect("a commit"));
        assert_eq!(Message::parse(&commit.to_string()), Ok(commit));
        for wrong in ["", "commit", "commit ", "commit main", "tag 1", "1f"] {
            assert!(Message::parse(wrong).is_err(), "{wrong}");
        }
    }
}
