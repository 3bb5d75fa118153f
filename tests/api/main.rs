//! The HTTP contract, who may call, and the store, on a real server with both databases. The engine is a stand-in script: an
//! order here has to be taken, recorded and ended, not to land anything.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "this is a test")]

#[macro_use]
mod support;

mod agent_frames;
mod agents;
mod auth;
mod bounds;
mod browser;
mod checked;
mod checks;
mod chromium;
mod cluster;
mod connections;
mod desk;
mod door;
mod errands;
mod follow;
mod freezes;
mod full;
mod hooks;
mod hostile;
mod issuer;
mod key_sets;
mod log_page;
mod login;
mod migrations;
mod notices;
mod notify;
mod oauth;
mod oidc;
mod operators;
mod orders;
mod outbox;
mod pages;
mod places;
mod plans;
mod prompt;
mod proxies;
mod receiver;
mod record;
mod secrets;
mod sites;
mod sockets;
mod stand_in;
mod values;
mod websockets;
