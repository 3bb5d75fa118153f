//! Tokens of jobs: whether a token that a forge issued for a job is right, and which policy of the configuration accepts it.
//!
//! Begin with `look.rs`. Each file uses only those behind it: `look` → `judge` → `job` · `keys` → `fetch` · `token` → `key` · `json`.

mod fetch;
mod job;
mod judge;
mod key;
mod keys;
mod look;
mod token;

pub use fetch::{fetch as fetch_keys, key_set};
pub use job::Job;
pub use judge::{Finding, Verdict};
pub use key::PublicKey;
pub use keys::KeySets;
pub use look::{Looked, prove, seems_to_be_one};
pub use token::{Fault, Token};
