//! What text may not do: text from outside must not mislead anybody who reads it, and a secret must not be seen in any. And what a slip
//! of the pen was meant to be, what bytes are in hex, and why something failed.
//!
//! No I/O and no async.

mod cause;
mod hex;
mod mask;
mod near;
mod plain;
mod secret;

pub use cause::root_cause;
pub use hex::hex;
pub use mask::Mask;
pub use near::nearest;
pub use plain::{clean, misleads, without_controls};
pub use secret::Secret;
