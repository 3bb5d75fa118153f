//! The module as its callers see it.

mod any_bytes;
mod browser;
mod certificate;
mod chromium;
mod linear;
mod mixed_content;
mod modules;
mod probe;
mod served;
mod server;
