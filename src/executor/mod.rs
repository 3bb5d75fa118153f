//! Who carries orders out: this process, on this host.

mod carrier;
mod here;

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use process::Cancel;

use crate::clock;
use crate::config::Config;
use crate::config::Service;
use crate::engine::Engine;
use crate::landing::Claimed;
use crate::model::Outcome;

pub use carrier::container_of;
pub use here::Here;

/// A place where orders are carried out.
#[derive(Debug)]
pub enum Executor {
    /// This process, on this host.
    Here(Here),
}

impl Executor {
    /// The name that runs of this executor carry.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Here(here) => here.id(),
        }
    }

    /// Carries an order out, or finishes what an earlier process left of it. When this returns, its outcome is stored and told; none:
    /// it could not be, and the next round takes it up.
    pub async fn carry_out(&self, config: &Config, claimed: Claimed, cancel: Cancel) -> Option<Outcome> {
        match self {
            Self::Here(here) => here.carry_out(config, claimed, cancel).await,
        }
    }

    /// The engine of a service's stack, for looking only.
    #[must_use]
    pub fn engine(&self, service: &Service) -> Engine {
        match self {
            Self::Here(here) => here.engine(service),
        }
    }

    /// Puts another configuration in force: for every order from now on, not for what runs.
    pub fn set_config(&self, config: &Config) {
        match self {
            Self::Here(here) => here.set_config(config),
        }
    }
}

/// The id of this executor: made once and kept in the data folder.
///
/// # Errors
/// When the file can be neither read nor written.
pub fn executor_id(data_dir: &Path) -> std::io::Result<String> {
    let file = data_dir.join("executor-id");
    if let Ok(id) = std::fs::read_to_string(&file)
        && !id.trim().is_empty()
    {
        return Ok(id.trim().to_owned());
    }
    let id = clock::new_id().to_string();
    // A name of ours that others cannot read, whatever the umask is.
    let mut made = std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&file)?;
    made.write_all(id.as_bytes())?;
    Ok(id)
}
