//! What agents are asked about their hosts, and do there at once: it is no order, and leaves no record.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use smoke::Release;
use smoke::Report;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::api;
use crate::executor::agents::Agents;
use crate::executor::agents::held;
use crate::line::AnswerBody;
use crate::line::Asked;
use crate::line::AskedFor;
use crate::line::FromControl;
use crate::model::AgentName;
use crate::model::ServiceName;
use crate::model::Tag;

/// How long all agents together have for their datasets.
const DATASETS: Duration = Duration::from_secs(5);
/// How many pages an agent looks at at once for those who ask.
const MOST_LOOKS: usize = 4;
/// How long a look may take: longer than a page is waited for.
const LOOK: Duration = Duration::from_mins(6);

/// Why an agent did not answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It is not there.
    #[error("{0}")]
    Away(String),
    /// It did not answer in time, or its line has ended.
    #[error("the agent {0} did not answer")]
    Silent(AgentName),
    /// It does not do what it was asked.
    #[error("the agent {0} says: {1}")]
    Refused(AgentName, String),
}

/// Somebody who waits for an answer. However that ends, and if only because they have gone away, nobody waits then.
struct Waits<'a> {
    agents: &'a Agents,
    whose: (u64, u64),
}

impl<'a> Waits<'a> {
    fn new(agents: &'a Agents, whose: (u64, u64), asker: oneshot::Sender<AnswerBody>) -> Self {
        held(&agents.asked).insert(whose, asker);
        Self { agents, whose }
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        held(&self.agents.asked).remove(&self.whose);
    }
}

impl Agents {
    /// A place to have `agent` look at a page, until it is dropped; none: it looks at enough. One that is silent keeps nobody from the
    /// pages of others.
    #[must_use]
    pub fn place_to_look(&self, agent: &AgentName) -> Option<OwnedSemaphorePermit> {
        let mut looking = held(&self.looking);
        let places = looking.entry(agent.clone()).or_insert_with(|| Arc::new(Semaphore::new(MOST_LOOKS)));
        Arc::clone(places).try_acquire_owned().ok()
    }

    /// Asks an agent that is there.
    ///
    /// # Errors
    /// When it is not there, does not answer within `within`, or does not do it.
    pub async fn ask(&self, agent: &AgentName, body: AskedFor, within: Duration) -> Result<AnswerBody, AskError> {
        let seen = self.seat_of(agent);
        let Some(attached) = seen.attached() else {
            return Err(AskError::Away(self.why_not(agent).unwrap_or_default()));
        };
        let ask = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (asker, answer) = oneshot::channel();
        let _waits = Waits::new(self, (attached.number, ask), asker);
        let asked = async {
            attached.to.send(FromControl::Ask(Asked { ask, body })).await.ok()?;
            tokio::select! {
                answer = answer => answer.ok(),
                () = attached.to.closed() => None,
            }
        };
        let answer = timeout(within, asked).await.ok().flatten();
        match answer {
            Some(AnswerBody::Problem { why }) => Err(AskError::Refused(agent.clone(), why)),
            Some(answer) => Ok(answer),
            None => Err(AskError::Silent(agent.clone())),
        }
    }

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
