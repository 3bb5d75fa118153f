//! The module as its callers see it.

mod any_bytes;
mod browser;
mod certificate;
mod chromium;
mod demands;
mod mixed_content;
mod probe;
mod server;
mod several;
