//! The configuration: as written, then checked, every problem at once.

mod secret;
mod smoke;
mod stack;

pub use secret::Secret;
pub use smoke::{ReleaseCarrier, ReleaseProof, SmokePlan};
pub use stack::{Docker, PinChoice, PinnedImage, Stack};
