//! Docker Compose: a stack of services on one Docker daemon, driven by its command line alone.
//!
//! [`Compose`] holds one stack. [`Compose::resolve`] says how the stack can be pinned and proves it; [`Compose::pin`] writes
//! the pin, [`Compose::prove`] asks compose whether it holds for a hand-run command too, [`Compose::restore`] brings the old bytes
//! back; [`Compose::up`] touches only what uses the pin. Commands are values; nothing of our own environment reaches them.

mod below;
mod beside;
mod changed;
mod containers;
mod daemon;
mod disk;
mod dotenv;
mod edited;
mod endpoints;
mod events;
mod fields;
mod files;
mod ground;
mod hook;
mod image;
mod images;
mod inputs;
mod kept;
mod known;
mod memory;
mod mend;
mod mode;
mod patience;
mod pin;
mod project;
mod proof;
mod pull;
mod redact;
mod replace;
mod resolve;
mod runs;
mod server;
mod sources;
mod stack;
mod survey;
mod tracked;
mod trial;
mod up;
mod version;
mod waiting;
mod wake;

pub use beside::{Beside, BesideKind, Own};
pub use containers::Observed;
pub use daemon::Daemon;
pub use hook::HookPlace;

pub use image::LocalImage;
pub use images::Images;
pub use kept::Forgotten;
pub use known::Version;
pub use pin::{PinBytes, PinnedNow};
pub use project::{Condition, Dependency, Resolved, Service, Use};
pub use server::Server;
pub use stack::Compose;
pub use survey::{Build, Survey, Surveyed, Written};
pub use tracked::FilesNow;
