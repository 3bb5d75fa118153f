//! `tagalong smoke` as people and pipelines run it: the real binary against real servers.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "tests run programs and end at the first surprise")]

mod afar;
mod browser;
mod documents;
mod formats;
mod look;
mod schema;
mod site;
