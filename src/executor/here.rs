//! This process, on this host.

use std::sync::Arc;

use crate::config::Config;
use crate::landing;
use crate::landing::Claimed;
use crate::landing::Host;
use crate::process::Cancel;

/// Carries orders out in this process.
#[derive(Debug)]
pub struct Here {
    id: String,
    host: Host,
}

impl Here {
    /// The executor `id`, which works on `host`.
    #[must_use]
    pub fn new(id: String, host: Host) -> Self {
        Self { id, host }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) async fn carry_out(&self, config: Arc<Config>, claimed: Claimed, cancel: Cancel) {
        // What a run keeps in mind is large, and whoever waits for it need not be.
        Box::pin(landing::carry_out(&self.host, config, claimed, cancel)).await;
    }

    pub(super) fn set_config(&self, config: &Config) {
        self.host.set_config(config);
    }
}
