//! Why a story stops before its end.

use std::time::Duration;

use process::Ended;
use process::LockError;

use crate::dataset::DepotError;
use crate::engine::EngineError;
use crate::landing::claimed::Objection;
use crate::model::FaultKind;
use crate::model::Guard;
use crate::registry::RegistryError;
use crate::store::StoreError;

/// Why the story stops before its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// A guard refuses; nothing was changed yet.
    Refused(Objection),
    /// Something failed.
    Fault(Fault),
    /// The page has a fault that it had before anything changed: no reason to undo, and no success either.
    OldFault(String),
    /// It was cancelled.
    Cancelled,
    /// Another server has taken over, or the database is gone: this run must not write any more.
    Lost(StoreError),
}

impl Stop {
    pub(super) fn refused(guard: Guard, why: impl Into<String>) -> Self {
        Self::Refused(Objection { guard, why: why.into() })
    }
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(Objection { why, .. }) | Self::OldFault(why) => f.write_str(why),
            Self::Fault(fault) => fault.fmt(f),
            Self::Cancelled => f.write_str("it was cancelled."),
            Self::Lost(error) => error.fmt(f),
        }
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Lost(error)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<EngineError> for Stop {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Cancelled { .. } => Self::Cancelled,
            EngineError::NoLeave(error) => Self::Lost(error),
            EngineError::Stack(why) => Self::refused(Guard::Stack, why),
            error => Self::Fault(Fault::Engine(error)),
        }
    }
}

impl From<RegistryError> for Stop {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::NotFound(_) => Self::refused(Guard::NotFound, error.to_string()),
            RegistryError::Platform { .. } => Self::refused(Guard::Platform, error.to_string()),
            RegistryError::Password { .. }
            | RegistryError::Unauthorized(_)
            | RegistryError::Unreachable { .. }
            | RegistryError::Odd { .. } => Self::Fault(Fault::Registry(error)),
        }
    }
}

/// What failed, as one sentence.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The engine did not do what it was asked.
    #[error(transparent)]
    Engine(EngineError),
    /// The repository of the stack's files did not, or what is kept of it.
    #[error(transparent)]
    Files(DepotError),
    /// The registry did not.
    #[error(transparent)]
    Registry(RegistryError),
    /// Something did not answer in time.
    #[error("{who} did not answer within {} s.", limit.as_secs())]
    Silence {
        /// Who.
        who: &'static str,
        /// How long.
        limit: Duration,
    },
    /// The images are not available on this host.
    #[error("{0}")]
    Image(String),
    /// The login for a pull cannot be handed to docker.
    #[error("the registry's login could not be passed to docker: {0}.")]
    Login(#[source] std::io::Error),
    /// The lock of the stack could not be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A hook failed that decides about the deployment.
    #[error("the {name}-hook {ended}.")]
    Hook {
        /// Which.
        name: &'static str,
        /// How.
        ended: Ended,
    },
    /// A container does not become healthy.
    #[error("{0}")]
    Container(String),
    /// The page has an error.
    #[error("{rule}: {message}{more}")]
    Page {
        /// The rule that found it.
        rule: String,
        /// What it found.
        message: String,
        /// How many more there are, in words.
        more: String,
    },
    /// The record of the order or of its pin does not say what is needed.
    #[error("{0}")]
    Record(String),
    /// tagalong was stopped again and again during this deployment.
    #[error("tagalong was stopped {0} times during this deployment; retry it when the host is stable.")]
    EndedOften(i64),
}

impl Fault {
    /// What kind of thing failed.
    pub(super) fn kind(&self) -> FaultKind {
        match self {
            Self::Container(_) => FaultKind::Container,
            Self::Engine(_) | Self::Silence { .. } => FaultKind::Engine,
            Self::Files(_) => FaultKind::Files,
            Self::Hook { .. } => FaultKind::Hook,
            Self::Image(_) => FaultKind::Image,
            Self::Page { .. } => FaultKind::Page,
            Self::Registry(_) | Self::Login(_) => FaultKind::Registry,
            Self::Lock(_) | Self::Record(_) | Self::EndedOften(_) => FaultKind::Tagalong,
        }
    }
}
