//! The deploy story from outside: the real binary is called over HTTP, and what it leaves behind is looked at.
//!
//! `table.rs` fails, stalls and kills every step on a stand-in for docker (the script `docker` beside it) and looks at what
//! runs; `world.rs` is the host that is made of stand-ins. `files.rs` is a stack whose files come from git, `orders.rs` is what callers do to each other (`half_way.rs`: a rollback
//! that stops a deployment and changes nothing; `lock.rs`: anybody who has the stack's lock), `input.rs` is bad input with real files,
//! `login.rs` is what a pull needs to know, `pair.rs` two servers of one database, `real.rs` is Docker itself, `status.rs` a stack on it
//! that is broken in every way, `approval.rs` orders that somebody must approve, `storm.rs` what can happen to it, by `dice.rs`,
//! `cli.rs` is the command line beside a server, `rollouts.rs` one service on several hosts, `results.rs` what a forge shows of an order (`forge.rs`), `watch.rs` what becomes of a release that does not hold,
//! `captured.rs` a control plane that asks an agent for what its host does not allow (`captured_host.rs`: one host of several that lies), `certificate.rs` a certificate that runs out, `guards.rs` guards that nobody answers, `ssh.rs` the files of a stack over ssh (`sshd.rs`: the server), `disk.rs` a disk that fills up,
//! `label.rs` an image that nobody goes back past. `fleet.rs` is a control plane (`control.rs`) and an agent, `fleet_asks.rs` every verb through it,
//! `fleet_line.rs` what can happen to their line (`wire.py`), `fleet_lost.rs` who loses their state, `fleet_storm.rs` all of that by dice.
//! They need root (mounts, immutable files, a second daemon), `docker` with a daemon that answers, and `docker-registry`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "tests run programs and say what they saw")]

mod approval;
mod captured;
mod captured_host;
mod certificate;
mod cli;
#[path = "../api/cluster.rs"]
mod cluster;
mod control;
mod dice;
mod disk;
mod files;
mod fleet;
mod fleet_asks;
mod fleet_hosts;
mod fleet_line;
mod fleet_lost;
mod fleet_storm;
mod flood;
mod forge;
mod guards;
mod half_way;
mod input;
mod install;
mod label;
mod lock;
mod login;
mod orders;
mod outside;
mod pair;
mod real;
#[allow(dead_code, reason = "the tests of notifiers use all of it")]
#[path = "../api/receiver.rs"]
mod receiver;
mod results;
mod rollouts;
mod ssh;
mod sshd;
mod status;
mod storm;
mod support;
mod table;
mod watch;
mod world;
