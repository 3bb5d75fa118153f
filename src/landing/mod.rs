//! The story of one release on one host: what is ordered is resolved, pinned, brought up, looked at, and undone when it does not
//! hold. It knows the host, and neither queue nor callers.
//!
//! Begin with `run.rs`: its story function reads aloud what one run does. `release.rs` has the values that its steps hand on,
//! `undo.rs` the other story.

mod adopt;
mod away;
mod bring_up;
mod claimed;
mod files;
mod handed;
mod health;
mod hooks;
mod host;
mod lock;
mod myself;
mod past;
mod pin;
mod policy;
mod preflight;
mod pull;
mod record;
mod release;
mod resolve;
mod restart;
mod retain;
mod run;
mod seen;
mod site;
mod smoke_step;
mod stack;
mod stop;
mod tidied;
mod undo;

pub use claimed::{Claimed, Objection};
pub use handed::not_begun;
pub use host::Host;
pub use past::left_half_way;
pub use record::{Books, Record, insist};
pub use run::land;

/// Who holds the lock of a stack's folder: it is taken here, by every run.
pub use process::{Holder, holders};
