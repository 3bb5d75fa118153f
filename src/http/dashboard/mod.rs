//! The dashboard: pages for people, made on the server from what the API's routes show, complete without a script.
//!
//! A page is a handler, which collects what it shows, a struct of what its template needs, and the template of the same name in
//! `templates/`. Begin with `overview.rs`.

pub(in crate::http) mod agents;
mod answered;
mod asks;
mod assets;
pub(in crate::http) mod audit;
mod browsers;
mod changed;
mod confirm;
pub(in crate::http) mod data;
pub(in crate::http) mod deployment;
pub(in crate::http) mod deployments;
mod figures;
pub(in crate::http) mod forms;
mod hosts;
pub(in crate::http) mod incidents;
mod kept;
pub(in crate::http) mod keys;
mod link;
mod log;
pub(in crate::http) mod login;
mod message;
mod named;
pub(in crate::http) mod overview;
mod page;
mod plot;
mod rows;
pub(in crate::http) mod service;
mod steps;
mod strip;
pub(in crate::http) mod users;
mod viewed;
mod waits;
mod words;

use crate::api;

pub(in crate::http) use assets::href;
pub(in crate::http) use assets::show as asset;
pub(in crate::http) use log::Log;
pub(in crate::http) use message::message;
pub(in crate::http) use page::{Frame, Place, answer};

/// What pages remember, so that they need not ask for it again each time.
#[derive(Debug, Default)]
pub struct Dashboard {
    figures: figures::Figures,
    datasets: kept::Kept<Vec<api::Dataset>>,
    steps: steps::Known,
    /// When the whole audit trail was verified last, and what came of it.
    verified: std::sync::Mutex<Option<audit::Verified>>,
}

/// An image with the beginning of its digest.
pub(in crate::http) fn image(name: &str) -> String {
    words::image(name)
}

/// The groups of steps that plots show, with the classes that colour them.
pub(in crate::http) fn step_groups() -> [(&'static str, &'static str); 5] {
    steps::GROUPS
}
