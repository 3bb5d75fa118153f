//! What is owed to others: on which lane, and what they are to be told.

use std::fmt;

use crate::model::Commit;
use crate::model::DatasetName;
use crate::model::DeploymentId;
use crate::model::EventName;
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
    /// The places at forges where results are shown; any server of the database tells them.
    Forges,
    /// The notifiers that tell people what happened; any server of the database tells them.
    Notifiers,
}

impl Lane {
    /// Reads the text form that [`Display`](fmt::Display) writes.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        match given {
            "forges" => Ok(Self::Forges),
            "notifiers" => Ok(Self::Notifiers),
            _ => {
                let error = || WordError::new("The lane", given, "it is forges, notifiers or peers/EXECUTOR/DATASET");
                let (executor, dataset) = given.strip_prefix("peers/").and_then(|rest| rest.rsplit_once('/')).ok_or_else(error)?;
                Ok(Self::Peers { executor: executor.to_owned(), dataset: DatasetName::parse(dataset)? })
            }
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peers { executor, dataset } => write!(f, "peers/{executor}/{dataset}"),
            Self::Forges => f.write_str("forges"),
            Self::Notifiers => f.write_str("notifiers"),
        }
    }
}

/// What a receiver is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// This is the newest commit.
    Commit(Commit),
    /// The commit of a deployment gets a status.
    Status(News),
    /// The deployment gets its like at the forge, or that gets another state.
    Deployment(News),
    /// This happened.
    Event(EventName),
}

/// What there is to say of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// The deployment.
    pub of: DeploymentId,
    /// What is said of it.
    pub says: Says,
}

/// What is said of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// It waits.
    Queued,
    /// It is being carried out.
    InProgress,
    /// It has ended; its outcome says how.
    Ended,
    /// Another release serves in place of the one that it landed.
    Replaced,
}

impl Says {
    const ALL: [Self; 4] = [Self::Queued, Self::InProgress, Self::Ended, Self::Replaced];

    /// The text form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::Ended => "ended",
            Self::Replaced => "replaced",
        }
    }
}

impl News {
    fn parse(given: &str) -> Result<Self, WordError> {
        let error = || WordError::new("The message", given, "it is the id of a deployment and what is said of it");
        let (id, word) = given.split_once(' ').ok_or_else(error)?;
        let says = Says::ALL.into_iter().find(|says| says.as_str() == word).ok_or_else(error)?;
        Ok(Self { of: DeploymentId::parse(id)?, says })
    }
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.of, self.says.as_str())
    }
}

impl Message {
    /// Takes `given` as a message.
    ///
    /// # Errors
    /// When it is none of the text forms.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        match given.split_once(' ') {
            Some(("commit", name)) => Commit::parse(name).map(Self::Commit),
            Some(("status", news)) => News::parse(news).map(Self::Status),
            Some(("deployment", news)) => News::parse(news).map(Self::Deployment),
            Some(("event", name)) => EventName::parse(name).map(Self::Event),
            _ => Err(WordError::new("The message", given, "it begins with commit, status, deployment or event")),
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit(commit) => write!(f, "commit {commit}"),
            Self::Status(news) => write!(f, "status {news}"),
            Self::Deployment(news) => write!(f, "deployment {news}"),
            Self::Event(name) => write!(f, "event {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Lane;
    use super::Message;
    use super::News;
    use super::Says;
    use crate::model::Commit;
    use crate::model::DatasetName;
    use crate::model::DeploymentId;
    use crate::model::EventKind;
    use crate::model::EventName;

    #[test]
    fn a_lane_has_one_text_form() {
        let peers = Lane::Peers { executor: "a/b".to_owned(), dataset: DatasetName::parse("notes").expect("a name") };
        for lane in [peers, Lane::Forges, Lane::Notifiers] {
            assert_eq!(Lane::parse(&lane.to_string()), Ok(lane));
        }
        for wrong in ["", "peers", "peers/x", "forge"] {
            assert!(Lane::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_message_has_one_text_form() {
        let commit = Message::Commit(Commit::parse(&"1f".repeat(20)).expect("a commit"));
        assert_eq!(Message::parse(&commit.to_string()), Ok(commit));
        let of = DeploymentId::from_parts(1, 2);
        for says in Says::ALL {
            for message in [Message::Status(News { of: of.clone(), says }), Message::Deployment(News { of: of.clone(), says })] {
                assert_eq!(Message::parse(&message.to_string()), Ok(message));
            }
        }
        let event = Message::Event(EventName { kind: EventKind::Failed, of: of.to_string() });
        assert_eq!(Message::parse(&event.to_string()), Ok(event));
        let unknown = format!("status {of} fine");
        for wrong in ["", "commit", "commit ", "commit main", "tag 1", "1f", "status", "status queued", "deployment x queued", &unknown] {
            assert!(Message::parse(wrong).is_err(), "{wrong}");
        }
    }
}
