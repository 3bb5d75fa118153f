//! The calls that landing makes, over every engine.
//!
//! Each says what holds afterwards, whichever engine it is. The suite `tests/engine.rs` calls nothing else, and runs with compose.
//!
//! * What a call *changes* may be done twice: a second time changes nothing and is no fault.
//! * A call that ends with an error has changed nothing, unless its words here say what may have changed.
//! * Whatever is not named by a pin (a database, a worker, its volumes) has the same life before and after every call.
//! * What is *observed* is shown and waited for; what decides an outcome is a look of its own.
//! * Without leave ([`Engine::acting_for`]) nothing is changed.
//! * A call ends soon after its `cancel`, and then nothing that it started runs any more.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use process::Cancel;
use process::Command;
use process::Ended;
use process::Stream;

use crate::engine::compose::Compose;
use crate::engine::compose::Forgotten;
use crate::engine::compose::HookPlace;
use crate::engine::compose::Images;
use crate::engine::compose::LocalImage;
use crate::engine::compose::Observed;
use crate::engine::compose::PinBytes;
use crate::engine::compose::PinnedNow;
use crate::engine::compose::Resolved;
use crate::engine::compose::Server;
use crate::engine::compose::Version;
use crate::engine::container::Container;
use crate::engine::error::EngineError;
use crate::engine::room::Room;
use crate::engine::words::Words;
use crate::model::ImageRef;
use crate::model::Repository;
use crate::model::ServiceName;

/// A stack on what it runs on.
#[derive(Debug, Clone)]
pub enum Engine {
    /// Docker Compose on one daemon.
    Compose(Compose),
}

/// Whether it is there.
impl Engine {
    /// What it calls its things, for sentences that people read.
    #[must_use]
    pub fn words(&self) -> Words {
        match self {
            Self::Compose(_) => Compose::WORDS,
        }
    }

    /// The folder of the stack, which its lock belongs to.
    #[must_use]
    pub fn dir(&self) -> &Path {
        match self {
            Self::Compose(compose) => compose.dir(),
        }
    }

    /// Waits until the engine answers; at once where it does, or where it is not patient.
    ///
    /// # Errors
    /// [`EngineError::Daemon`] when it does not within the configured time, [`EngineError::Cancelled`] when the order was
    /// cancelled meanwhile.
    pub async fn ready(&self, cancel: &Cancel) -> Result<(), EngineError> {
        match self {
            Self::Compose(compose) => compose.ready(cancel).await,
        }
    }

    /// How many outages were seen so far; pass it to [`Engine::was_away`].
    #[must_use]
    pub fn outages(&self) -> u32 {
        match self {
            Self::Compose(compose) => compose.outages(),
        }
    }

    /// Whether the engine was away at a time after `since`, or is away now. One that was waited for without success counts no more.
    pub async fn was_away(&self, since: u32) -> bool {
        match self {
            Self::Compose(compose) => compose.was_away(since).await,
        }
    }

    /// Platform and version of the engine, and where images are kept.
    ///
    /// # Errors
    /// [`EngineError::Daemon`] when nobody does.
    pub async fn server(&self, cancel: &Cancel) -> Result<Server, EngineError> {
        match self {
            Self::Compose(compose) => compose.server(cancel).await,
        }
    }

    /// The version of the programs that drive it; they may be used.
    ///
    /// # Errors
    /// [`EngineError::Host`] when they are missing, or of a version that must not be used.
    pub async fn version(&self, cancel: &Cancel) -> Result<Version, EngineError> {
        match self {
            Self::Compose(compose) => compose.version(cancel).await,
        }
    }
}

/// The stack and its pin.
impl Engine {
    /// Resolves the stack and proves how it can be pinned; nothing is changed. `key` is what secrets in
    /// [`Resolved::config_with`] are fingerprinted with.
    ///
    /// # Errors
    /// [`EngineError::Stack`] when it cannot be pinned as configured, with what to change in it.
    pub async fn resolve(&self, key: &[u8], cancel: &Cancel) -> Result<Resolved, EngineError> {
        match self {
            Self::Compose(compose) => compose.resolve(key, cancel).await,
        }
    }

    /// What of the stack is not as `resolved` has it any more, with `refs` pinned, as words for people; none: it is unchanged,
    /// wherever it is written. `key` is the one that `resolved` was made with.
    ///
    /// # Errors
    /// When that cannot be found out. What the engine does not accept any more is a change.
    pub async fn edited(&self, resolved: &Resolved, refs: &[ImageRef], key: &[u8], cancel: &Cancel) -> Result<Option<String>, EngineError> {
        match self {
            Self::Compose(compose) => compose.edited(resolved, refs, key, cancel).await,
        }
    }

    /// The current pins, in the stack's order.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn current(&self) -> Result<Vec<PinnedNow>, EngineError> {
        match self {
            Self::Compose(compose) => compose.current().await,
        }
    }

    /// The exact content of everything that a pin can change.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub async fn snapshot(&self) -> Result<PinBytes, EngineError> {
        match self {
            Self::Compose(compose) => compose.snapshot().await,
        }
    }

    /// Pins `refs`, one for each image that changes; the others stay as they are. What runs goes on. Take an
    /// [`Engine::snapshot`] first.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn pin(&self, resolved: &Resolved, refs: &[ImageRef]) -> Result<(), EngineError> {
        match self {
            Self::Compose(compose) => compose.pin(resolved, refs).await,
        }
    }

    /// Afterwards it is proven that `refs` are what a person's own command would bring up.
    ///
    /// # Errors
    /// [`EngineError::Stack`] when they are not; [`Engine::unpin`] then.
    pub async fn prove(&self, resolved: &Resolved, refs: &[ImageRef], cancel: &Cancel) -> Result<(), EngineError> {
        match self {
            Self::Compose(compose) => compose.prove(resolved, refs, cancel).await,
        }
    }

    /// Restores what [`Engine::snapshot`] saw, no matter what is there now.
    ///
    /// # Errors
    /// When something cannot be written; what came before it is as it was.
    pub async fn restore(&self, bytes: &PinBytes) -> Result<(), EngineError> {
        match self {
            Self::Compose(compose) => compose.restore(bytes).await,
        }
    }

    /// Takes the pin of `refs` back where `before` had another; what somebody else has written since stays.
    ///
    /// # Errors
    /// When something cannot be read or written.
    pub async fn unpin(&self, before: &PinBytes, refs: &[ImageRef]) -> Result<(), EngineError> {
        match self {
            Self::Compose(compose) => compose.unpin(before, refs).await,
        }
    }
}

/// Images.
impl Engine {
    /// Whether `image`, which is `packed_bytes` long at its registry, has room where `server` keeps images.
    ///
    /// # Errors
    /// When nobody waits for the answer any more.
    pub async fn room_for(&self, server: &Server, image: &Repository, packed_bytes: u64) -> Result<Room, EngineError> {
        match self {
            Self::Compose(compose) => compose.room_for(server, image, packed_bytes).await,
        }
    }

    /// The image called `name` (a reference or an id) where the stack runs; none if it is not there.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn image(&self, name: &str, cancel: &Cancel) -> Result<Option<LocalImage>, EngineError> {
        match self {
            Self::Compose(compose) => compose.image(name, cancel).await,
        }
    }

    /// All images that are there, seen just now or a moment ago.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn images(&self, cancel: &Cancel) -> Result<Images, EngineError> {
        match self {
            Self::Compose(compose) => compose.images(cancel).await,
        }
    }

    /// Afterwards the content of `reference` is there, by its digest. `credentials` is a folder with the login to use instead of the
    /// host's own.
    ///
    /// # Errors
    /// When it is not there afterwards: the registry's words.
    pub async fn pull(
        &self,
        reference: &ImageRef,
        credentials: Option<&Path>,
        deadline: Duration,
        cancel: &Cancel,
        each: impl FnMut(Stream, String),
    ) -> Result<(), EngineError> {
        match self {
            Self::Compose(compose) => compose.pull(reference, credentials, deadline, cancel, each).await,
        }
    }

    /// Afterwards whatever [`Engine::up`] will start besides the pinned images is there, so that it needs no registry. Gives back
    /// the services whose images were pulled.
    ///
    /// # Errors
    /// When one cannot be pulled.
    pub async fn pull_missing(
        &self,
        resolved: &Resolved,
        deadline: Duration,
        cancel: &Cancel,
        each: impl FnMut(Stream, String),
    ) -> Result<Vec<String>, EngineError> {
        match self {
            Self::Compose(compose) => compose.pull_missing(resolved, deadline, cancel, each).await,
        }
    }

    /// Afterwards the image survives a routine clean-up, for `service`.
    ///
    /// # Errors
    /// When the image is not there.
    pub async fn keep(&self, service: &ServiceName, reference: &ImageRef, cancel: &Cancel) -> Result<(), EngineError> {
        match self {
            Self::Compose(compose) => compose.keep(service, reference, cancel).await,
        }
    }

    /// Afterwards the tag of a loaded image names this very content, whatever was loaded under it since.
    ///
    /// # Errors
    /// When the image is not there.
    pub async fn name_loaded(&self, reference: &ImageRef, cancel: &Cancel) -> Result<(), EngineError> {
        match self {
            Self::Compose(compose) => compose.name_loaded(reference, cancel).await,
        }
    }

    /// Which of `wanted` there is still something of that [`Engine::forget`] may take away for `service`.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn left_of<'a>(
        &self,
        service: &ServiceName,
        wanted: &'a [ImageRef],
        cancel: &Cancel,
    ) -> Result<Vec<&'a ImageRef>, EngineError> {
        match self {
            Self::Compose(compose) => compose.left_of(service, wanted, cancel).await,
        }
    }

    /// Afterwards `service` keeps the image no longer, and it is gone unless something else needs it. One that a container uses
    /// stays whole; nothing is ever forced.
    ///
    /// # Errors
    /// When the engine does not do it.
    pub async fn forget(&self, service: &ServiceName, reference: &ImageRef, cancel: &Cancel) -> Result<Forgotten, EngineError> {
        match self {
            Self::Compose(compose) => compose.forget(service, reference, cancel).await,
        }
    }
}

/// The running containers.
impl Engine {
    /// Afterwards what is pinned is up, or the error says why it is not. Nothing is pulled. Only what uses a pin (and what lives
    /// in it) is touched, after the dependencies of theirs that do not run; where nothing of it was there, the whole stack is
    /// started. What an earlier call left half done is finished first.
    ///
    /// # Errors
    /// When it ends badly: a dependency that does not become healthy, a port that is taken, a missing image. Some of what is
    /// pinned may run by then.
    pub async fn up(
        &self,
        resolved: &Resolved,
        deadline: Duration,
        cancel: &Cancel,
        each: impl FnMut(Stream, String),
    ) -> Result<(), EngineError> {
        match self {
            Self::Compose(compose) => compose.up(resolved, deadline, cancel, each).await,
        }
    }

    /// Every container of the stack, running or not, by service and name, from a look that was begun by this call.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn containers(&self, cancel: &Cancel) -> Result<Vec<Container>, EngineError> {
        match self {
            Self::Compose(compose) => compose.containers(cancel).await,
        }
    }

    /// The same from memory, with its age, where nothing has happened since and it is not older than `at_most`; else from a look.
    ///
    /// # Errors
    /// When the engine was asked and does not answer.
    pub async fn observed(&self, at_most: Duration, cancel: &Cancel) -> Result<Observed, EngineError> {
        match self {
            Self::Compose(compose) => compose.observed(at_most, cancel).await,
        }
    }

    /// Waits until something happens to the stack behind `since`, at most `at_most`; less where nobody tells us.
    pub async fn changed(&self, since: Instant, at_most: Duration) {
        match self {
            Self::Compose(compose) => compose.changed(since, at_most).await,
        }
    }

    /// The last `lines` lines that the container `id` wrote, both streams, masked.
    ///
    /// # Errors
    /// When the engine does not answer or has no such container.
    pub async fn tail(&self, id: &str, lines: u32, cancel: &Cancel) -> Result<Vec<String>, EngineError> {
        match self {
            Self::Compose(compose) => compose.tail(id, lines, cancel).await,
        }
    }

    /// The command of a hook: `argv` at `place`, with `env` (what the hook should know: service, tag, …) set there.
    ///
    /// # Errors
    /// When the stack cannot be read.
    pub async fn hook(
        &self,
        resolved: &Resolved,
        place: &HookPlace,
        argv: &[String],
        env: &BTreeMap<String, String>,
        deadline: Duration,
    ) -> Result<Command, EngineError> {
        match self {
            Self::Compose(compose) => compose.hook(resolved, place, argv, env, deadline).await,
        }
    }

    /// Runs the command of a hook to its end.
    ///
    /// # Errors
    /// When nothing more may be done on the host; nothing was started then.
    pub async fn run_hook(&self, command: &Command, cancel: &Cancel, each: impl FnMut(Stream, String)) -> Result<Ended, EngineError> {
        match self {
            Self::Compose(compose) => compose.run_hook(command, cancel, each).await,
        }
    }
}
