//! Datasets on real git, the oldest that is supported here and the newest, with real remotes.
//!
//! `table.rs` is the table of reconciles, `folder.rs` the folder as it is found, `everything.rs` what lies in the way, `purged.rs`
//! history that the remote has taken back, `untracked.rs` files that git does not track, `busy.rs` an app that commits all the
//! time, `push.rs` the push daemon, `publish.rs` what readers see, `canary.rs` checkouts that name programs and files elsewhere,
//! `links.rs` links and paths that lead elsewhere, `neighbour.rs` folders that become links while git is at work, `remote.rs` remotes that hang or refuse, `ssh.rs` OpenSSH, `full.rs` full
//! disks, `storm.rs` kills at random moments. `world.rs`
//! is a host with a remote. They need two gits, /usr/bin/git and the first on PATH, which may be the same; `full.rs` needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "tests run programs and say what they saw")]

mod busy;
mod canary;
#[path = "../deploy/dice.rs"]
mod dice;
mod everything;
mod folder;
mod full;
mod links;
mod neighbour;
mod publish;
mod purged;
mod push;
mod remote;
mod ssh;
#[path = "../deploy/sshd.rs"]
mod sshd;
mod storm;
mod table;
mod untracked;
mod world;
