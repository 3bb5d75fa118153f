//! What is wrong with the hosts of services, for a person.

use std::collections::BTreeSet;

use crate::config::Config;
use crate::config::Service;
use crate::executor::agents::Agents;
use crate::executor::agents::held;
use crate::model::AgentName;
use crate::model::Refusal;
use crate::store;
use crate::store::StoreError;

impl Agents {
    /// What a person should mend, each a sentence. `enrolled` are all agents that were ever enrolled.
    #[must_use]
    pub fn problems(&self, enrolled: &[store::Agent]) -> Vec<String> {
        let mut problems: Vec<String> = held(&self.refused).values().cloned().collect();
        let known: BTreeSet<&AgentName> = enrolled.iter().map(|agent| &agent.name).collect();
        let config = self.config.now();
        for service in config.services.values() {
            let unknown = self.unseen(&config, service).find(|host| !known.contains(host));
            problems.extend(unknown.map(|host| unknown_host(service, host).to_string()));
        }
        problems.extend(held(&self.unreached).values().cloned());
        problems.extend(self.telling.problems());
        problems
    }

    /// The first host of a service that is neither dialled by ssh nor an agent that was ever enrolled.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn unknown_host(&self, service: &Service) -> Result<Option<Refusal>, StoreError> {
        for host in self.unseen(&self.config.now(), service) {
            if self.books.store.agent(host).await?.is_none() {
                return Ok(Some(unknown_host(service, host)));
            }
        }
        Ok(None)
    }

    /// The hosts of a service that are neither dialled by ssh nor there: whether they were ever enrolled, the database knows.
    fn unseen<'s>(&self, config: &Config, service: &'s Service) -> impl Iterator<Item = &'s AgentName> {
        service.stack.agents().iter().filter(|host| !config.dials(host) && self.seat_of(host).attached().is_none())
    }
}

fn unknown_host(service: &Service, host: &AgentName) -> Refusal {
    Refusal::UnknownHost { service: service.name.clone(), host: host.clone() }
}
