//! What an agent answers to the questions of its control plane.

use crate::agent::Agent;
use crate::agent::intake::guest;
use crate::config::Service;
use crate::line::Answer;
use crate::line::AnswerBody;
use crate::line::Asked;
use crate::line::AskedFor;
use crate::model::Caller;
use crate::model::ServiceName;

/// The answer to a question that comes while too many are being answered.
pub(super) fn too_many(asked: &Asked) -> Answer {
    Answer { ask: asked.ask, body: AnswerBody::Problem { why: "too many questions are being answered; ask again later".to_owned() } }
}

impl Agent {
    pub(super) async fn answer(&self, asked: Asked) -> Answer {
        let body = match asked.body {
            AskedFor::Services { services } => self.services(&services).await,
            AskedFor::Datasets => {
                self.reloader.datasets().await.map(|datasets| AnswerBody::Datasets { datasets }).map_err(|error| error.to_string())
            }
            AskedFor::Resume { service, caller } => self.resume(&service, &caller).await,
            AskedFor::Look { .. } | AskedFor::Unknown => Err("this version cannot do that".to_owned()),
        };
        Answer { ask: asked.ask, body: body.unwrap_or_else(|why| AnswerBody::Problem { why }) }
    }

    async fn services(&self, names: &[ServiceName]) -> Result<AnswerBody, String> {
        let config = self.config.now();
        let is_asked = |service: &&Service| names.contains(&service.name) && service.stack.is_here();
        let services: Vec<&Service> = config.services.values().map(AsRef::as_ref).filter(is_asked).collect();
        let states = self.deployer.states(&services).await.map_err(|error| error.to_string())?;
        let services = self.watcher.dressed(states).await.map_err(|error| error.to_string())?;
        Ok(AnswerBody::Services { services })
    }

    async fn resume(&self, service: &ServiceName, caller: &str) -> Result<AnswerBody, String> {
        let caller = guest(caller).unwrap_or(Caller::Tagalong);
        self.deployer.resume(service, &caller, None).await.map_err(|error| error.to_string())?;
        Ok(AnswerBody::Done { message: format!("{service} is not held any more.") })
    }
}
