//! The configuration: as written, then checked, every problem at once.

mod secret;
mod smoke;

pub use secret::Secret;
pub use smoke::{ReleaseCarrier, ReleaseProof, SmokePlan};
