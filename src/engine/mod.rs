//! What a stack runs on, behind one set of calls.
//!
//! [`compose`] drives Docker Compose.

pub mod compose;
mod container;
mod error;

pub use compose::{
    Compose, ComposeVersion, Condition, Dependency, Forgotten, HookPlace, LocalImage, PinBytes, PinMode, PinnedNow, Resolved, Server,
    Service, Use,
};
pub use container::{Container, ContainerState, Health};
pub use error::EngineError;
