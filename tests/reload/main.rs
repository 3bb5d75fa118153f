//! Reloads of data, with real git remotes, a real small app that serves from memory (`examples/searchable.rs`), and the real
//! binary where processes matter.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "this is a test")]

mod support;

mod cli;
mod drafts;
mod flight;
mod golden;
mod peers;
mod story;
mod v1;
