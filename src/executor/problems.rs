//! What is wrong with the hosts of services, for a person.

use crate::config::Service;
use crate::executor::agents::Agents;
use crate::executor::agents::held;
use crate::model::Refusal;
use crate::store::StoreError;

impl Agents {
    /// What a person should mend, each a sentence.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn problems(&self) -> Result<Vec<String>, StoreError> {
        let mut problems: Vec<String> = held(&self.refused).values().cloned().collect();
        for service in self.config.now().services.values() {
            problems.extend(self.unknown_host(service).await?.map(|unknown| unknown.to_string()));
        }
        problems.extend(held(&self.unreached).values().cloned());
        problems.extend(self.telling.problems());
        Ok(problems)
    }

    /// The first host of a service that is neither dialled by ssh nor an agent that was ever enrolled.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn unknown_host(&self, service: &Service) -> Result<Option<Refusal>, StoreError> {
        let config = self.config.now();
        for host in service.stack.agents().iter().filter(|host| !config.dials(host)) {
            let is_here = self.seat_of(host).attached().is_some();
            if !is_here && self.books.store.agent(host).await?.is_none() {
                return Ok(Some(Refusal::UnknownHost { service: service.name.clone(), host: host.clone() }));
            }
        }
        Ok(None)
    }
}
