//! What agents are asked about their hosts, and do there at once: it is no order, and leaves no record.

use std::time::Duration;

use futures_util::future::join_all;
use smoke::Release;
use smoke::Report;

use crate::api;
use crate::executor::agents::Agents;
use crate::executor::agents::AskError;
use crate::line::AnswerBody;
use crate::line::AskedFor;
use crate::model::AgentName;
use crate::model::ServiceName;
use crate::model::Tag;

/// How long all agents together have for their datasets.
const DATASETS: Duration = Duration::from_secs(5);
/// How long a look may take: longer than a page is waited for.
const LOOK: Duration = Duration::from_mins(6);

impl Agents {
    /// The datasets of every agent that named some, and why those of some are not there, each as one sentence.
    pub async fn datasets(&self) -> (Vec<api::Dataset>, Vec<String>) {
        let all = self.all();
        let named = all.iter().filter(|(_, seat)| seat.hello().is_some_and(|hello| !hello.datasets.is_empty()));
        let asked = named.map(|(agent, _)| async move { (agent, self.datasets_of(agent).await) });
        let mut datasets = Vec::new();
        let mut unseen = Vec::new();
        for (agent, answer) in join_all(asked).await {
            match answer {
                Ok(answer) => datasets.extend(answer),
                Err(error) => unseen.push(format!("The datasets of the agent {agent} are not shown: {error}.")),
            }
        }
        (datasets, unseen)
    }

    async fn datasets_of(&self, agent: &AgentName) -> Result<Vec<api::Dataset>, AskError> {
        match self.ask(agent, AskedFor::Datasets, DATASETS).await? {
            AnswerBody::Datasets { mut datasets } => {
                for dataset in &mut datasets {
                    dataset.agent = Some(agent.clone());
                }
                Ok(datasets)
            }
            _ => Err(AskError::Silent(agent.clone())),
        }
    }

    /// Has `agent` look at the page of `service` now, as its own configuration says; the page should show `release`, or else what is live.
    ///
    /// # Errors
    /// When it is not there, does not answer, or has no such page.
    pub async fn look(&self, agent: &AgentName, service: &ServiceName, release: Option<&Release>) -> Result<Report, AskError> {
        let tag = release.and_then(|release| Tag::parse(&release.tag).ok());
        let commit = release.and_then(|release| release.commit.clone());
        let ask = AskedFor::Look { service: service.clone(), tag, commit };
        match self.ask(agent, ask, LOOK).await? {
            AnswerBody::Looked { report } => Ok(*report),
            _ => Err(AskError::Silent(agent.clone())),
        }
    }
}
