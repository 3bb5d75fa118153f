//! The dashboard: pages for people, made on the server from what the API's routes show, complete without a script.
//!
//! A page is a handler, which collects what it shows, a struct of what its template needs, and the template of the same name in
//! `templates/`. Begin with `overview.rs`.

mod assets;
mod log;
pub(in crate::http) mod login;
mod message;
mod page;

pub(in crate::http) use assets::href;
pub(in crate::http) use assets::show as asset;
pub(in crate::http) use log::Log;
pub(in crate::http) use message::message;
pub(in crate::http) use page::{Frame, Place, answer};
