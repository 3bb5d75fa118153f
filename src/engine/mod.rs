//! What a stack runs on: every engine behind one set of calls, [`Engine`].
//!
//! What only one engine knows (files and variables of compose, its versions, its daemon) stays in that engine's folder.

mod beside;
mod calls;
mod compose;
mod container;
mod error;
mod files;
mod made;
mod right;
mod room;
mod words;

pub use calls::Engine;
pub use compose::{
    Beside, BesideKind, Build, Compose, Condition, Daemon, Dependency, FilesNow, Forgotten, HookPlace, Images, LocalImage, Observed, Own,
    PinBytes, PinnedNow, Resolved, Server, Service, Survey, Surveyed, Use, Version, Written,
};
pub use container::{Ailment, Container, ContainerState, Health};
pub use error::EngineError;
pub use room::Room;
pub use words::Words;
