//! Hosts that do not come back, as a person has said: their agents were revoked, or the configuration does not name them any more.

use std::time::Duration;

use crate::config::Config;
use crate::executor::agents::Agents;
use crate::executor::agents::held;
use crate::model::AgentName;
use crate::model::ServiceName;
use crate::store::StoreError;

/// How soon it is asked again: another server of the same database may have revoked the agent.
const AGAIN: Duration = Duration::from_secs(10);

impl Agents {
    /// Why the host of `agent` does not come back, like `the agent micro was revoked`; none: it may.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn why_gone(&self, agent: &AgentName) -> Result<Option<String>, StoreError> {
        let config = self.config.now();
        if config.dials(agent) {
            return Ok(None);
        }
        Ok(match self.books.store.agent(agent).await? {
            Some(known) => known.revoked_ms.map(|_| format!("the agent {agent} was revoked")),
            // By ssh an agent may still be installed there.
            None if config.hosts.contains_key(agent) => None,
            None => Some(format!("{agent} is neither an enrolled agent nor a [host.{agent}] of the configuration any more")),
        })
    }

    /// `next` is about to be in force: where those services stood is remembered that it does not have.
    pub(super) fn see_left(&self, next: &Config) {
        let mut left = held(&self.left);
        left.retain(|service, _| next.service(service).is_none());
        for service in self.config.now().services.values().filter(|service| next.service(&service.name).is_none()) {
            left.insert(service.name.clone(), service.stack.agents().to_vec());
        }
    }

    /// Why nothing names `service` any more, where that is because its host does not come back; none: it may be named again.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn why_left(&self, service: &ServiceName) -> Result<Option<String>, StoreError> {
        let agents = held(&self.left).get(service).cloned().unwrap_or_default();
        for agent in &agents {
            if let Some(why) = self.why_gone(agent).await? {
                return Ok(Some(why));
            }
        }
        Ok(None)
    }

    /// Returns why the host of `agent` does not come back, once that is so.
    pub(super) async fn gone(&self, agent: &AgentName) -> String {
        let mut seat = self.seat(agent);
        loop {
            match self.why_gone(agent).await {
                Ok(Some(why)) => return why,
                Ok(None) => {}
                Err(error) => tracing::warn!(agent = %agent, %error, "whether an agent was revoked could not be read; trying again"),
            }
            // A revoked agent whose line was open leaves its seat; one that was away leaves none.
            tokio::select! {
                _ = seat.changed() => {}
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }
}
