//! The deploy story from outside: the real binary is called over HTTP, and what it leaves behind is looked at.
//!
//! `table.rs` fails, stalls and kills every step on a stand-in for docker (the script `docker` beside it) and looks at what
//! runs; `orders.rs` is what callers do to each other; `input.rs` is bad input with real files; `real.rs` is Docker itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "tests run programs and say what they saw")]

mod input;
mod orders;
mod outside;
mod real;
mod support;
mod table;
mod world;
