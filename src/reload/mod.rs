//! Reloads: new data of a dataset is made available to its readers, the app is told and verified, and peers are told.
//!
//! Begin with `run.rs`: its story function shows what one reload does. `runner.rs` decides when a reload is done: one at a time
//! for each dataset, because of a call, a timer, or a push of own commits that found new commits on the remote. Its parts are
//! the `app` that uses the data, the `peers` that serve it as well, the `push` of own commits, and the state of all of them in
//! `watched`.

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
