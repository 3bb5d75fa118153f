//! This process, on this host.

use std::sync::Arc;

use process::Cancel;

use crate::config::Config;
use crate::config::Service;
use crate::engine::Engine;
use crate::executor::carrier;
use crate::executor::carrier::Means;
use crate::landing;
use crate::landing::Books;
use crate::landing::Claimed;
use crate::landing::Host;
use crate::landing::Record;
use crate::model::DeploymentId;
use crate::model::Outcome;

/// Carries orders out in this process.
#[derive(Debug)]
pub struct Here {
    id: String,
    host: Host,
    books: Books,
    /// Whether it may replace the stack that tagalong runs in: it stands beside that stack, and outlives it.
    carries: bool,
}

impl Here {
    /// The executor `id`, which works on `host` and writes into `books`.
    #[must_use]
    pub fn new(id: String, host: Host, books: Books) -> Self {
        Self { id, host, books, carries: false }
    }

    /// The executor that carries out the deployment `id` alone, beside the stack that tagalong runs in.
    #[must_use]
    pub fn carrier(id: &DeploymentId, host: Host, books: Books) -> Self {
        Self { id: carrier::executor_of(id), host, books, carries: true }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) async fn carry_out(&self, config: &Config, claimed: Claimed, cancel: Cancel) -> Option<Outcome> {
        // What stands elsewhere is carried out there.
        let engine = self.host.engine(&claimed.service)?;
        let record = match Record::open(&self.books, &claimed.deployment, Arc::clone(&config.mask)).await {
            Ok(record) => record,
            Err(error) => {
                let id = &claimed.deployment.id;
                tracing::error!(deployment = %id, %error, "the journal could not be opened; the next round tries again");
                return None;
            }
        };
        if carrier::is_wanted(&claimed) && !self.carries {
            let passing_dir = config.server.passing_dir();
            let means = Means { books: &self.books, engine, record, config_file: &config.file, passing_dir: &passing_dir };
            return Box::pin(carrier::hand_over(means, claimed, &cancel)).await;
        }
        landing::land(&self.host, claimed, engine, record, cancel).await
    }

    pub(super) fn engine(&self, service: &Service) -> Option<Engine> {
        self.host.engine(service)
    }

    pub(super) fn set_config(&self, config: &Config) {
        self.host.set_config(config);
    }
}
