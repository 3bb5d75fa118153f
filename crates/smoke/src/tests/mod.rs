//! The module as its callers see it.

mod any_bytes;
mod assets;
mod browser;
mod certificate;
mod chromium;
mod chromium_answers;
mod chromium_assets;
mod conditions;
mod demands;
mod linear;
mod mixed_content;
mod modules;
mod probe;
mod rows;
mod served;
mod server;
mod several;
