//! What an agent says of a deployment that nobody here is at: one that has ended, or that its host ordered itself.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::clock;
use crate::config::Config;
use crate::executor::drafts::ASIDE;
use crate::executor::drafts::drafts;
use crate::executor::drafts::on_host;
use crate::executor::gate;
use crate::landing::Books;
use crate::line::Ack;
use crate::line::Ended;
use crate::line::FromAgent;
use crate::line::Lines;
use crate::model::AgentName;
use crate::model::DeploymentId;
use crate::model::ServiceName;
use crate::model::State;
use crate::store::Deployment;
use crate::store::Report;
use crate::store::StoreError;

/// Of how many services of others it is remembered that an agent was warned of.
const MOST_WARNED: usize = 1000;

/// Who takes it up, and which services of others agents have spoken of: each is told once.
#[derive(Debug, Default)]
pub(super) struct Strays(Mutex<BTreeSet<(AgentName, ServiceName)>>);

impl Strays {
    /// Takes it up, as far as it is about a service of that agent. What is answered is on disk, or is not recorded: what is not answered is
    /// said again.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn hear(
        &self,
        books: &Books,
        config: &Config,
        agent: &AgentName,
        frame: FromAgent,
    ) -> Result<Option<Ack>, StoreError> {
        let about = About { strays: self, config, agent };
        match frame {
            FromAgent::Lines(lines) => of_lines(books, about, lines).await,
            FromAgent::Ended(ended) => of_end(books, about, *ended).await,
            _ => Ok(None),
        }
    }

    fn is_new(&self, agent: &AgentName, service: &ServiceName) -> bool {
        let mut warned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        warned.len() < MOST_WARNED && warned.insert((agent.clone(), service.clone()))
    }
}

/// Who speaks, and by which configuration a service is theirs.
#[derive(Clone, Copy)]
struct About<'a> {
    strays: &'a Strays,
    config: &'a Config,
    agent: &'a AgentName,
}

impl About<'_> {
    /// Whether the service is one of that agent, or what is `known` of the deployment says that its host carried it out.
    fn is_its(self, service: &ServiceName, id: &DeploymentId, known: Option<&Deployment>) -> bool {
        let Self { strays, config, agent } = self;
        let was_there = known.is_some_and(|known| known.agents().contains(agent));
        let is_its = was_there || gate::its_own(config, agent, service).is_some();
        if !is_its && strays.is_new(agent, service) {
            tracing::warn!(agent = %agent, service = %service, deployment = %id, "an agent speaks of a service that is not its own; what it says of \
            that service is not recorded");
        }
        is_its
    }
}

async fn of_lines(books: &Books, about: About<'_>, lines: Lines) -> Result<Option<Ack>, StoreError> {
    let About { config, agent, .. } = about;
    let id = lines.deployment.clone();
    let Some(position) = lines.lines.last().map(|line| line.position) else { return Ok(None) };
    let ack = Ack { deployment: id.clone(), position, ended: false, unknown: false };
    if let Some(run) = books.store.host_run_of(&id, agent).await? {
        // What has not ended is taken up in a moment, and the agent says it again.
        if run.outcome.is_none() {
            return Ok(None);
        }
        if !gate::has_room(&books.store, agent, &run.deployment, &lines).await? {
            return Ok(Some(ack));
        }
        for (number, mut drafts) in drafts(lines.lines, &config.mask) {
            on_host(agent, &mut drafts);
            let number = if number == ASIDE { -run.run } else { run.run };
            books.store.copy_lines(&run.deployment, number, &drafts).await?;
        }
        books.hub.tell(&run.deployment);
        return Ok(Some(ack));
    }
    let Some(known) = books.store.get(&id).await? else {
        return Ok(Some(Ack { deployment: id, position: 0, ended: false, unknown: true }));
    };
    // It would say it for ever.
    if !about.is_its(&known.order.service, &id, Some(&known)) {
        return Ok(Some(ack));
    }
    // What has not ended is taken up in a moment, and the agent says it again.
    if !matches!(known.state, State::Done { .. }) {
        return Ok(None);
    }
    // What was done on other hosts is theirs to tell.
    let is_elsewhere = known.plan.is_some() || known.host.as_deref().is_some_and(|host| host != agent.as_str());
    if is_elsewhere {
        return Ok(Some(ack));
    }
    if !books.store.may_tell(&id, agent).await? {
        tracing::warn!(agent = %agent, deployment = %id, "lines of a deployment are not kept: it was not on the agent's host, or has ended long ago");
        return Ok(Some(ack));
    }
    if !gate::has_room(&books.store, agent, &id, &lines).await? {
        return Ok(Some(ack));
    }
    for (run, drafts) in drafts(lines.lines, &config.mask) {
        books.store.copy_lines(&id, run, &drafts).await?;
    }
    books.hub.tell(&id);
    Ok(Some(ack))
}

async fn of_end(books: &Books, about: About<'_>, ended: Ended) -> Result<Option<Ack>, StoreError> {
    let About { config, agent, .. } = about;
    let id = ended.order.deployment.clone();
    let service = ended.order.service.clone();
    let done = Ack { deployment: id.clone(), position: 0, ended: true, unknown: false };
    if let Some(run) = books.store.host_run_of(&id, agent).await? {
        return Ok(run.outcome.is_some().then_some(done));
    }
    match books.store.get(&id).await? {
        // It would say it for ever.
        Some(known) if !about.is_its(&known.order.service, &id, Some(&known)) => return Ok(Some(done)),
        Some(known) => return Ok(matches!(known.state, State::Done { .. }).then_some(done)),
        None if !about.is_its(&service, &id, None) => return Ok(Some(done)),
        None => {}
    }
    let report = match ended.into_report(agent) {
        Ok(report) => {
            Report { is_one_of_several: config.service(&service).is_some_and(|service| service.stack.rollout().is_some()), ..report }
        }
        Err(error) => {
            tracing::warn!(agent = %agent, deployment = %id, %error, "an agent told of a deployment that cannot be recorded");
            // It would tell it for ever.
            return Ok(Some(done));
        }
    };
    if books.store.add_report(&report).await? {
        tracing::info!(agent = %agent, deployment = %id, service = %service, outcome = report.outcome.name(), "an agent told of a deployment");
        books.metrics.ended(&service, &report.outcome, clock::now_ms());
        books.hub.tell(&id);
    }
    Ok(Some(done))
}
