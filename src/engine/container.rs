//! What of a stack is really there, in words that hold for every engine.

use std::fmt;

/// What Docker's health check says of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It has none.
    Unchecked,
    /// Not yet known.
    Starting,
    /// It passes.
    Healthy,
    /// It fails.
    Unhealthy,
    /// A word that we do not know: nothing is said by it, least of all that all is well.
    Unknown(String),
}

impl Health {
    /// What `word` of the engine means; it writes none, or `none`, where there is no check.
    #[must_use]
    pub fn of(word: &str) -> Self {
        match word {
            "" | "none" => Self::Unchecked,
            "starting" => Self::Starting,
            "healthy" => Self::Healthy,
            "unhealthy" => Self::Unhealthy,
            other => Self::Unknown(other.to_owned()),
        }
    }

    /// The engine's own word; none where there is no check.
    #[must_use]
    pub fn word(&self) -> Option<&str> {
        match self {
            Self::Unchecked => None,
            Self::Starting => Some("starting"),
            Self::Healthy => Some("healthy"),
            Self::Unhealthy => Some("unhealthy"),
            Self::Unknown(word) => Some(word),
        }
    }
}

/// A container that the engine has started again so often does not become good by itself.
const RESTARTS: u64 = 2;
/// Docker waits at most a minute before it starts a container again that ends at once.
const BETWEEN_CRASHES_MS: i64 = 70_000;

/// What a container is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerState {
    /// It was made and never started.
    Created,
    /// It runs.
    Running,
    /// It is stopped in the middle of what it did.
    Paused,
    /// It has ended, and the engine starts it again.
    Restarting,
    /// The engine removes it.
    Removing,
    /// It has ended.
    Exited,
    /// The engine has given it up.
    Dead,
    /// A word that we do not know: it is never taken for good.
    Unknown(String),
}

impl ContainerState {
    /// What `word` of the engine means.
    #[must_use]
    pub fn of(word: &str) -> Self {
        match word {
            "created" => Self::Created,
            "running" => Self::Running,
            "paused" => Self::Paused,
            "restarting" => Self::Restarting,
            "removing" => Self::Removing,
            "exited" => Self::Exited,
            "dead" => Self::Dead,
            other => Self::Unknown(other.to_owned()),
        }
    }

    /// The engine's own word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
            Self::Unknown(word) => word,
        }
    }
}

impl fmt::Display for ContainerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One container of the stack's project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its id, 64 hex digits.
    pub id: String,
    /// Its name, without a leading slash.
    pub name: String,
    /// The service it belongs to.
    pub service: String,
    /// The id of the image it was made from: what really runs.
    pub image_id: String,
    /// The image as the stack named it when the container was made.
    pub image: String,
    /// What it is at.
    pub state: ContainerState,
    /// Its exit code; 0 while it runs.
    pub exit_code: i64,
    /// Whether the kernel ended it for want of memory.
    pub oom_killed: bool,
    /// How often the engine has restarted it.
    pub restarts: u64,
    /// When it was made, as Docker writes it.
    pub created_at: String,
    /// When it was started, as Docker writes it; `0001-01-01T00:00:00Z`: never.
    pub started_at: String,
    /// What its health check says.
    pub health: Health,
    /// What the last health check wrote, masked.
    pub health_output: String,
    /// Why it could not be started, masked; empty in the usual case.
    pub error: String,
    /// Whether it was made by hand for a single command, by `docker compose run`.
    pub is_one_off: bool,
    /// Whether it was made to take the place of another.
    pub is_replacement: bool,
}

/// What is wrong with a container, whatever it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ailment {
    /// It does not run.
    Stopped,
    /// It is stopped in the middle of what it did.
    Paused,
    /// It ends again and again, and the engine starts it again.
    CrashLoop,
    /// Its health check fails, or says what nobody knows.
    Unhealthy,
}

impl Container {
    /// What is wrong with it; none: it runs, and nothing speaks against it.
    #[must_use]
    pub fn ailment(&self, now_ms: i64) -> Option<Ailment> {
        match (&self.state, &self.health) {
            (ContainerState::Restarting, _) => Some(Ailment::CrashLoop),
            (ContainerState::Paused, _) => Some(Ailment::Paused),
            (ContainerState::Running, _) if self.restarts >= RESTARTS && self.is_young(now_ms) => Some(Ailment::CrashLoop),
            (ContainerState::Running, Health::Unhealthy | Health::Unknown(_)) => Some(Ailment::Unhealthy),
            (ContainerState::Running, _) => None,
            _ => Some(Ailment::Stopped),
        }
    }

    /// Whether it was started so lately that it may be between two crashes.
    fn is_young(&self, now_ms: i64) -> bool {
        let started: Option<jiff::Timestamp> = self.started_at.parse().ok();
        started.is_none_or(|started| now_ms - started.as_millisecond() < BETWEEN_CRASHES_MS)
    }

    /// One sentence: it ends again and again, `restarts` times so far.
    #[must_use]
    pub fn crash_loop(&self, restarts: u64) -> String {
        let times = if restarts == 1 { "1 restart".to_owned() } else { format!("{restarts} restarts") };
        match self.exit_code {
            // That of one that runs again just now.
            0 => format!("{} is in a crash loop ({times}).", self.name),
            code => format!("{} is in a crash loop ({times}, last exit code {code}).", self.name),
        }
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.state == ContainerState::Running
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::container::ContainerState;
    use crate::engine::container::Health;

    #[test]
    fn words_of_the_engine_are_read_and_given_back() {
        for word in ["created", "running", "paused", "restarting", "removing", "exited", "dead"] {
            let state = ContainerState::of(word);
            assert!(state.as_str() == word && !matches!(state, ContainerState::Unknown(_)), "{word}");
        }
        for word in ["starting", "healthy", "unhealthy"] {
            let health = Health::of(word);
            assert!(health.word() == Some(word) && !matches!(health, Health::Unknown(_)), "{word}");
        }
        assert_eq!((Health::of("").word(), Health::of("none").word()), (None, None));
    }

    #[test]
    fn an_unknown_word_is_no_good_news() {
        assert_eq!(ContainerState::of("Running"), ContainerState::Unknown("Running".to_owned()));
        assert_eq!(ContainerState::of(""), ContainerState::Unknown(String::new()));
        let health = Health::of("hale");
        assert!(health != Health::Healthy && health != Health::Unchecked && health.word() == Some("hale"));
    }
}
