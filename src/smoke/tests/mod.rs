//! The module as its callers see it.

mod any_bytes;
mod assets;
mod browser;
mod certificate;
mod chromium;
mod chromium_assets;
mod mixed_content;
mod probe;
mod server;
