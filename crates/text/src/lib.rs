//! What text may not do: text from outside must not mislead whoever reads it, and a secret must not be seen in any.
//!
//! No I/O and no async.

mod mask;
mod plain;
mod secret;

pub use mask::Mask;
pub use plain::{clean, misleads, shown};
pub use secret::Secret;
