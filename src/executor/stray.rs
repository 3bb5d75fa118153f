//! What an agent says of a deployment that nobody here is at: one that has ended, or that its host ordered itself.

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
use crate::store::Report;
use crate::store::StoreError;

/// Takes it up, as far as it is about a service of that agent. What is answered is on disk.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn hear(books: &Books, config: &Config, agent: &AgentName, frame: FromAgent) -> Result<Option<Ack>, StoreError> {
    match frame {
        FromAgent::Lines(lines) => of_lines(books, config, agent, lines).await,
        FromAgent::Ended(ended) => of_end(books, config, agent, *ended).await,
        _ => Ok(None),
    }
}

/// Whether the service is one of that agent.
fn is_its(config: &Config, agent: &AgentName, service: &ServiceName, id: &DeploymentId) -> bool {
    let is_its = gate::its_own(config, agent, service).is_some();
    if !is_its {
        tracing::warn!(agent = %agent, service = %service, deployment = %id, "an agent speaks of a deployment of a service that is not its own");
    }
    is_its
}

async fn of_lines(books: &Books, config: &Config, agent: &AgentName, lines: Lines) -> Result<Option<Ack>, StoreError> {
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
    // What has not ended is taken up in a moment, and the agent says it again.
    if !matches!(known.state, State::Done { .. }) || !is_its(config, agent, &known.order.service, &id) {
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

async fn of_end(books: &Books, config: &Config, agent: &AgentName, ended: Ended) -> Result<Option<Ack>, StoreError> {
    let id = ended.order.deployment.clone();
    let service = ended.order.service.clone();
    let done = Ack { deployment: id.clone(), position: 0, ended: true, unknown: false };
    if let Some(run) = books.store.host_run_of(&id, agent).await? {
        return Ok(run.outcome.is_some().then_some(done));
    }
    match books.store.get(&id).await? {
        Some(known) if !is_its(config, agent, &known.order.service, &id) => return Ok(None),
        Some(known) => return Ok(matches!(known.state, State::Done { .. }).then_some(done)),
        None if !is_its(config, agent, &service, &id) => return Ok(None),
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
