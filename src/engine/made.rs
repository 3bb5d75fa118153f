//! How an engine is made: it looks, until it is told who it acts for.

use std::fs::File;
use std::sync::Arc;

use crate::config::ComposeStack;
use crate::config::Stack;
use crate::engine::calls::Engine;
use crate::engine::compose::Compose;
use crate::engine::compose::Daemon;
use crate::engine::right::Right;
use crate::store::RunLease;

impl Engine {
    /// The engine of `stack`, on `daemon` where it needs one, for looking only; none: the stack is not on this host. Nothing is asked
    /// yet, no lock is held, and nothing is waited for.
    #[must_use]
    pub fn of(daemon: &Daemon, stack: &Stack) -> Option<Self> {
        match stack {
            Stack::Compose(stack) => Some(Self::new(daemon, stack)),
            Stack::Elsewhere(_) => None,
        }
    }

    /// The engine of a stack of Docker Compose on `daemon`, as [`Engine::of`] gives it.
    #[must_use]
    pub fn new(daemon: &Daemon, stack: &ComposeStack) -> Self {
        Self::Compose(Compose::new(daemon, stack.clone()))
    }

    /// The same, whose programs hold `lock`, the host lock's file: one that outlives us still holds it.
    #[must_use]
    pub fn locked(self, lock: Arc<File>) -> Self {
        match self {
            Self::Compose(compose) => Self::Compose(compose.locked(lock)),
        }
    }

    /// The same, which acts for the run that has `lease`: leave is asked for right before each act, and without it nothing is done.
    #[must_use]
    pub fn acting_for(self, lease: RunLease) -> Self {
        match self {
            Self::Compose(compose) => Self::Compose(compose.acting(Right::Run(lease))),
        }
    }

    /// The same, which acts without leave. For whoever has the stack to himself, as the contract suite has.
    #[must_use]
    pub fn acting_alone(self) -> Self {
        match self {
            Self::Compose(compose) => Self::Compose(compose.acting(Right::Alone)),
        }
    }

    /// The same, which waits at most the configured time for an engine that does not answer, and says so by `tell`. As long as it
    /// lives, what happens on the host is listened to, and an outage is noticed, however short.
    #[must_use]
    pub fn patient(self, tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        match self {
            Self::Compose(compose) => Self::Compose(compose.patient(tell)),
        }
    }

    /// The same, whose [`Engine::up`] also makes containers of a pin anew that are not good, restarts others of the stack that are
    /// not, and starts those that do not run.
    #[must_use]
    pub fn mending(&self) -> Self {
        match self {
            Self::Compose(compose) => Self::Compose(compose.mending()),
        }
    }

    /// The same, which waits for nothing.
    #[must_use]
    pub fn impatient(&self) -> Self {
        match self {
            Self::Compose(compose) => Self::Compose(compose.impatient()),
        }
    }
}
