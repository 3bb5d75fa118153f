//! Reloads: new data of a dataset comes to its readers, the app is told and asked, and others hear of it.
//!
//! Begin with `run.rs`: its story function reads aloud what one reload does. `runner.rs` says when one is done: one at a time
//! for each dataset, on a call, on a timer, or because the push of own commits found the remote moved on. Its parts are the `app`
//! over the data, the `peers` that serve it as well, the `push` of own commits, and what is `watched` of all of them.

mod app;
mod call;
mod note;
mod peers;
mod push;
mod ran;
mod reloader;
mod reply;
mod run;
mod runner;
mod sync;
mod target;
mod verify;
mod views;
mod watched;

pub use ran::{Load, Ran};
pub use reloader::{ReloadError, Reloader};
pub use reply::{Ask, Done, Reply, TellPeers};
pub use sync::{Synced, sync};
