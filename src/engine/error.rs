//! What can go wrong with a stack or its host, as sentences for people.

use std::path::PathBuf;
use std::time::Duration;

use process::Ended;

use crate::store::StoreError;

/// Why the engine could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The stack's own files stand in the way: a person has to change them.
    #[error("{0}")]
    Stack(String),
    /// The host stands in the way: a program is missing or of a version that must not be used.
    #[error("{0}")]
    Host(String),
    /// The daemon does not answer.
    #[error("the Docker daemon does not answer ({why}): start it (`systemctl start docker`), or set docker.host to the right daemon")]
    Daemon {
        /// What the client said.
        why: String,
    },
    /// A program ended badly.
    #[error("{what} failed: {why}")]
    Failed {
        /// What was being done.
        what: String,
        /// Its last words, secrets masked.
        why: String,
    },
    /// The order was cancelled meanwhile.
    #[error("{what} was stopped because the order was cancelled")]
    Cancelled {
        /// What was being done.
        what: String,
    },
    /// It was made for looking only.
    #[error("this engine only looks and may change nothing")]
    LooksOnly,
    /// The run may not act on the host any more, or whether it may cannot be found out.
    #[error("nothing more may be done on the host: {0}")]
    NoLeave(#[from] StoreError),
    /// It took too long.
    #[error("{what} did not finish within {} s", limit.as_secs())]
    Deadline {
        /// What was being done.
        what: String,
        /// How long it had.
        limit: Duration,
    },
    /// A file could not be read or written; what stood there stands there still.
    #[error("{doing} {} failed: {source}{advice}", path.display())]
    File {
        /// "reading", "writing", …
        doing: &'static str,
        /// Which file or folder.
        path: PathBuf,
        /// What a person can do about it; begins with ": " where there is something.
        advice: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl EngineError {
    /// Whether it is the stack or the host as they are written down, so that trying again changes nothing.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Stack(_) | Self::Host(_))
    }

    /// The same, where `limit` is for more than the one program that met the end of it.
    #[must_use]
    pub fn of_limit(self, limit: Duration) -> Self {
        match self {
            Self::Deadline { what, .. } => Self::Deadline { what, limit },
            other => other,
        }
    }

    pub(crate) fn file(doing: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::File { doing, path: path.into(), advice: String::new(), source }
    }

    /// The error of a program that did not end with status 0; `last_words` are the end of its standard error.
    pub(super) fn ended(what: &str, program: &str, ended: &Ended, last_words: &str) -> Self {
        let what = what.to_owned();
        match ended {
            Ended::Cancelled => Self::Cancelled { what },
            Ended::Deadline(limit) => Self::Deadline { what, limit: *limit },
            Ended::NotStarted(why) => Self::Host(format!(
                "{what} needs the program {program}, which could not be started ({why}): install Docker (`apt-get install docker.io` on Debian and Ubuntu), or set docker.program"
            )),
            Ended::Exit(_) if is_daemon_away(last_words) => Self::Daemon { why: last_words.trim().to_owned() },
            Ended::Exit(_) if is_plugin_missing(last_words) => {
                Self::Host("docker has no compose plugin: install Docker Compose v2 as a plugin of the docker command (`apt-get install docker-compose-plugin` from Docker's own package source)".to_owned())
            }
            Ended::Exit(_) if !last_words.trim().is_empty() => Self::Failed { what, why: last_words.trim().to_owned() },
            ended => Self::Failed { what, why: format!("it {ended}") },
        }
    }
}

fn is_daemon_away(last_words: &str) -> bool {
    ["Cannot connect to the Docker daemon", "error during connect", "failed to connect to the docker API", "Is the docker daemon running"]
        .iter()
        .any(|words| last_words.contains(words))
}

fn is_plugin_missing(last_words: &str) -> bool {
    last_words.contains("'compose' is not a docker command") || last_words.contains("unknown command: docker compose")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use process::Ended;

    use crate::engine::error::EngineError;

    #[test]
    fn ends_become_sentences() {
        let sentence = |ended, words: &str| EngineError::ended("docker pull acme/web", "docker", &ended, words).to_string();
        assert_eq!(sentence(Ended::Cancelled, ""), "docker pull acme/web was stopped because the order was cancelled");
        assert_eq!(sentence(Ended::Deadline(Duration::from_secs(9)), ""), "docker pull acme/web did not finish within 9 s");
        assert_eq!(sentence(Ended::Exit(1), "no such host\n"), "docker pull acme/web failed: no such host");
        assert_eq!(sentence(Ended::Exit(7), ""), "docker pull acme/web failed: it exited with code 7");
        let away = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?";
        assert!(sentence(Ended::Exit(1), away).starts_with("the Docker daemon does not answer (Cannot connect"));
        assert!(EngineError::ended("x", "docker", &Ended::NotStarted("docker: No such file".into()), "").is_refusal());
    }
}
