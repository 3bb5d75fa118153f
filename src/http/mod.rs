//! The HTTP interface: only this module knows actix and statuses.

mod agent_lines;
mod approval_page;
mod asks;
pub mod auth;
mod connection;
mod dashboard;
mod enrolment;
mod error;
mod follower;
mod followers;
mod incoming;
mod openapi;
mod pages;
mod people;
mod readers;
mod refused;
mod reloading;
mod repeats;
mod rooms;
mod rotations;
mod routes;
mod serve;
mod unread;
mod upgrade;

use std::sync::Arc;
use std::sync::Mutex;

use tokio::sync::mpsc;
use tokio::sync::oneshot;

use crate::config::Config;
use crate::config::Live;
use crate::journal::Hub;
use crate::notices::Notices;
use crate::oidc::KeySets;
use crate::orders::Deployer;
use crate::reload::Reloader;
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::watch::Watcher;

pub use agent_lines::AgentLines;
pub use auth::Need;
pub use auth::password::Hashing;
pub use connection::Capacity;
pub use dashboard::Dashboard;
pub use followers::Followers;
pub use openapi::openapi;
pub use readers::Readers;
pub use refused::RefusedCalls;
pub use repeats::Repeats;
pub use rooms::Rooms;
pub use rotations::Rotations;
pub use routes::{ROUTES, Route};
pub use serve::{Listening, serve};

/// What every request may need.
#[derive(Debug)]
pub struct Shared {
    /// The configuration in force.
    pub config: Live<Config>,
    /// The database.
    pub store: Store,
    /// The followers of journals.
    pub hub: Hub,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Orders and deployments.
    pub deployer: Arc<Deployer>,
    /// Who looks at what is live.
    pub watcher: Arc<Watcher>,
    /// The datasets.
    pub reloader: Arc<Reloader>,
    /// What people are told.
    pub notices: Arc<Notices>,
    /// Signs the tokens that followers read with.
    pub token_key: Vec<u8>,
    /// Who follows a journal now.
    pub followers: Arc<Followers>,
    /// What reads the journals that are followed.
    pub readers: Readers,
    /// The keys of those who issue tokens of jobs.
    pub key_sets: KeySets,
    /// What was refused, for the operator.
    pub refused: RefusedCalls,
    /// What was answered to calls that may come again.
    pub repeats: Repeats,
    /// Which secrets that follow others are used.
    pub rotations: Rotations,
    /// Who asks for the configuration to be read again, and is told whether it is in force.
    pub read_again: mpsc::Sender<oneshot::Sender<bool>>,
    /// Held by who reads the configuration again.
    pub reading: Mutex<()>,
    /// How many may follow at most, as far as this process can have connections.
    pub most_followers: usize,
    /// Room for bodies that are large.
    pub large_bodies: Arc<Rooms>,
    /// What pages remember.
    pub dashboard: Dashboard,
    /// Compares passwords.
    pub hashing: Hashing,
    /// What agents meet here.
    pub lines: AgentLines,
}
