//! Services on the hosts of agents: whose order may go there now, what waits for a host, and how they stand.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use crate::api;
use crate::api::Standing;
use crate::api::Word;
use crate::clock;
use crate::config::Config;
use crate::config::Service;
use crate::executor::AskError;
use crate::line::AnswerBody;
use crate::line::AskedFor;
use crate::model::AgentName;
use crate::model::Approved;
use crate::model::Caller;
use crate::model::DeploymentId;
use crate::model::ImageRef;
use crate::model::Order;
use crate::model::OrderKind;
use crate::model::Outcome;
use crate::model::Refusal;
use crate::model::ServiceName;
use crate::model::State;
use crate::model::WaitsFor;
use crate::orders::Deployer;
use crate::orders::enqueue::Given;
use crate::orders::guards;
use crate::orders::shown::away;
use crate::orders::standing;
use crate::orders::state;
use crate::orders::state::view;
use crate::store::Accepted;
use crate::store::Deployment;
use crate::store::Next;
use crate::store::OrderError;
use crate::store::Recorded;
use crate::store::Site;
use crate::store::StoreError;
use crate::store::Wanted;

/// How long an answer may be on its way.
const TRAVEL: Duration = Duration::from_secs(2);
/// How long an order waits whose service nothing names any more: as long as `max_wait_s` says where it is not set.
const MOST_LEFT: Duration = Duration::from_hours(1);
/// How long an agent may take to end a hold.
const RESUME: Duration = Duration::from_secs(10);

impl Deployer {
    /// Takes, as an agent does, an order to which the control plane has given the id `id` and, where they are settled, its images; a
    /// rollback may be one that `undoes` a deployment on this host alone.
    ///
    /// # Errors
    /// [`OrderError`]; then nothing has changed.
    pub async fn take_given(
        &self,
        id: DeploymentId,
        order: Order,
        images: Vec<ImageRef>,
        undoes: Option<DeploymentId>,
    ) -> Result<Accepted, OrderError> {
        let service = self.service(&order.service)?;
        if !service.stack.is_here() {
            return Err(Refusal::UnknownService(order.service).into());
        }
        let is_pinned = |image: &&ImageRef| service.stack.has_image(&image.repository);
        if let Some(other) = images.iter().find(|image| !is_pinned(image)) {
            return Err(Refusal::Foreign { image: other.to_string(), service: order.service }.into());
        }
        // What the control plane names exactly is landed as it is, or not at all. That a release was verified here is for this record to say.
        let is_exact = matches!(order.kind, OrderKind::Deploy | OrderKind::Rollback) && !images.is_empty();
        let approved = is_exact.then(|| Approved { images: images.iter().map(ToString::to_string).collect(), by: Vec::new() });
        let wanted = match (order.kind, undoes) {
            (OrderKind::Rollback, Some(undone)) => Wanted::Before(undone),
            (OrderKind::Repair, _) => Wanted::LastVerified,
            (OrderKind::Rollback, None) if !images.is_empty() => Wanted::Named(images),
            (OrderKind::Deploy | OrderKind::Rollback | OrderKind::Adopt, _) => Wanted::Ordered,
        };
        self.accept_as(Some(Given { id, approved }), &service, order, wanted, None).await
    }

    /// Takes from `next` the orders for other hosts, and gives those back whose agents are there. The others wait for their hosts from
    /// now on.
    pub(super) async fn take_elsewhere(&self, next: &mut Vec<Next>) -> Result<Vec<Next>, StoreError> {
        let config = self.config.now();
        let is_there = |one: &Next| config.service(&one.service).is_some_and(|service| !service.stack.is_here());
        let (there, here): (Vec<Next>, Vec<Next>) = std::mem::take(next).into_iter().partition(is_there);
        *next = here;
        let mut ready = Vec::new();
        for one in there {
            let Some(service) = config.service(&one.service) else { continue };
            // The other server takes it.
            if service.stack.agents().iter().all(|agent| self.agents().is_elsewhere(agent)) {
                continue;
            }
            let away = self.away(service);
            if may_begin(service, one.kind, away.len()) {
                ready.push(one);
                continue;
            }
            // For how long they have been away is another thing at every look.
            let away: Vec<String> = away.iter().map(|(agent, _)| format!("the agent {agent} is not connected")).collect();
            if self.store.for_runs().await_host(&one.id, &waits_for_hosts(&away)).await? {
                self.hub.tell(&one.id);
            }
        }
        Ok(ready)
    }

    /// The agents of a service that are not there, each with why.
    fn away<'s>(&self, service: &'s Service) -> Vec<(&'s AgentName, String)> {
        service.stack.agents().iter().filter_map(|agent| Some((agent, self.agents().why_not(agent)?))).collect()
    }

    /// Why its hosts keep a deployment waiting at the moment, as one sentence: it waits for them, or was begun on one that is away. None:
    /// they do not.
    pub(super) fn waits_now(&self, deployment: &Deployment) -> Option<String> {
        let away = match &deployment.state {
            State::Waiting { waits_for: WaitsFor::Host } => {
                let config = self.config.now();
                let service = config.service(&deployment.order.service)?;
                self.away(service).into_iter().map(|(_, why)| why).collect::<Vec<_>>()
            }
            State::Running { .. } if deployment.plan.is_none() => vec![self.agents().why_not(deployment.agents().first()?)?],
            _ => return None,
        };
        (!away.is_empty()).then(|| waits_for_hosts(&away))
    }

    /// Where an order of `kind` is carried out. A rollback goes first to the hosts that are there.
    pub(super) fn site(&self, config: &Config, name: &ServiceName, kind: OrderKind) -> Site {
        let Some(service) = config.service(name) else { return Site::Here };
        match (service.stack.rollout(), service.stack.agents().first()) {
            (Some(plan), _) => {
                let mut plan = plan.clone();
                if kind == OrderKind::Rollback {
                    plan.hosts.sort_by_key(|host| self.agents().seat_of(host).attached().is_none());
                }
                Site::Several(plan)
            }
            (None, Some(agent)) => Site::At(agent.clone()),
            (None, None) => Site::Here,
        }
    }

    /// What waits for a host that is back waits for its turn again, and what has waited for too long ends.
    pub(super) async fn see_hosts(&self) -> Result<(), StoreError> {
        let store = self.store.for_runs();
        let config = self.config.now();
        for waiting in store.awaiting_hosts().await? {
            let Some(service) = config.service(&waiting.order.service) else {
                self.see_left(&waiting).await?;
                continue;
            };
            if may_begin(service, waiting.order.kind, self.away(service).len()) {
                store.host_is_back(&waiting.id).await?;
                continue;
            }
            let hold = store.hold(&waiting.order.service).await?;
            let Err(refusal) = guards::at_the_turn(&waiting, hold.as_ref(), service.max_wait, clock::now_ms()) else { continue };
            let Some(guard) = refusal.guard() else { continue };
            self.end_waiting(&waiting, Outcome::Refused { guard, why: refusal.to_string() }).await?;
        }
        Ok(())
    }

    /// Ends an order that waits for its turn or its host and whose service nothing names any more: at once where the host does not come
    /// back, else once it has waited for long.
    pub(super) async fn see_left(&self, waiting: &Deployment) -> Result<(), StoreError> {
        let service = &waiting.order.service;
        let why = match self.agents().why_left(service).await? {
            Some(why) => format!("no host names {service} any more: {why}"),
            None if clock::now_ms() - waiting.ready_ms() > MOST_LEFT.as_millis() as i64 => {
                format!(
                    "neither the configuration nor an agent names {service} any more, and it waited longer than {} s",
                    MOST_LEFT.as_secs()
                )
            }
            None => return Ok(()),
        };
        self.end_waiting(waiting, Outcome::Failed { why }).await
    }

    async fn end_waiting(&self, waiting: &Deployment, outcome: Outcome) -> Result<(), StoreError> {
        if self.store.for_runs().finish_waiting(&waiting.id, &outcome).await? {
            self.metrics.ended(&waiting.order.service, &outcome, 0);
            self.hub.tell(&waiting.id);
            self.results.wake();
        }
        Ok(())
    }

    /// A service of an agent is held on its host as well: that hold ends first. Gives what those of several hosts say that have not ended
    /// it; none of them keeps the others from it.
    ///
    /// # Errors
    /// [`Refusal::Away`], where the only host of the service has not ended it.
    pub(super) async fn resume_elsewhere(&self, name: &ServiceName, caller: &Caller) -> Result<Vec<String>, OrderError> {
        let service = self.service(name)?;
        let agents = service.stack.agents();
        let silent = join_all(agents.iter().map(|agent| self.resume_at(agent, name, caller))).await;
        let silent: Vec<String> = silent.into_iter().flatten().collect();
        match silent.first() {
            Some(why) if agents.len() == 1 => Err(Refusal::Away { service: name.clone(), why: why.clone() }.into()),
            _ => Ok(silent),
        }
    }

    /// Why the hold on the host of `agent` has not ended; none: it has.
    async fn resume_at(&self, agent: &AgentName, name: &ServiceName, caller: &Caller) -> Option<String> {
        let ask = AskedFor::Resume { service: name.clone(), caller: caller.to_string() };
        match self.agents().ask(agent, ask, RESUME).await {
            Ok(AnswerBody::Done { .. }) => None,
            Ok(_) => Some(AskError::Silent(agent.clone()).to_string()),
            Err(error) => Some(error.to_string()),
        }
    }

    /// How a service stands that an agent has on its host: the record is this server's, what runs is what the agent sees.
    pub(super) async fn state_elsewhere(&self, service: &Service, recorded: &Recorded, until: Instant) -> api::Service {
        let [agent] = service.stack.agents() else { return Box::pin(self.state_of_several(service, recorded, until)).await };
        match self.seen_by(agent, service, until).await {
            Ok(seen) => {
                let mut state = on_record(service, recorded, "");
                state.running = state.running.or(seen.running);
                state.waiting = state.waiting.or(seen.waiting);
                state.held = state.held.or(seen.held);
                state.watch = seen.watch;
                state.schedule = seen.schedule;
                state.incidents = seen.incidents;
                api::Service {
                    standing: seen.standing,
                    pinned: seen.pinned,
                    files: seen.files,
                    containers: seen.containers,
                    drift: seen.drift,
                    blocked: state.blocked.or(seen.blocked),
                    rollback_candidates: with_gone(state.rollback_candidates, &seen.rollback_candidates),
                    guards: seen.guards,
                    ..state
                }
            }
            Err(why) => on_record(service, recorded, &why.to_string()),
        }
    }

    pub(super) async fn seen_by(&self, agent: &AgentName, service: &Service, until: Instant) -> Result<api::Service, AskError> {
        // It has the same patience with its engine, and the answer has a way to go.
        let within = until.saturating_duration_since(Instant::now()) + TRAVEL;
        let ask = AskedFor::Services { services: vec![service.name.clone()] };
        match self.agents().ask(agent, ask, within).await? {
            AnswerBody::Services { services } => {
                let seen = services.into_iter().find(|seen| seen.name == service.name);
                seen.ok_or_else(|| AskError::Refused(agent.clone(), format!("there is no service {} here", service.name)))
            }
            _ => Err(AskError::Silent(agent.clone())),
        }
    }
}

/// Whether an order of `kind` can begin while so many hosts of its service are away: it needs them all, a rollback one of them.
fn may_begin(service: &Service, kind: OrderKind, away: usize) -> bool {
    away == 0 || (kind == OrderKind::Rollback && away < service.stack.agents().len())
}

/// The sentence that names why its hosts keep a deployment waiting, one reason each.
fn waits_for_hosts(away: &[String]) -> String {
    format!("It waits for its {}: {}.", if away.len() > 1 { "hosts" } else { "host" }, away.join("; "))
}

/// What the record says a rollback can go to, which is what decides about one; of those, `seen` says what is not on the host any more.
fn with_gone(recorded: Vec<api::Candidate>, seen: &[api::Candidate]) -> Vec<api::Candidate> {
    let gone = |id: &DeploymentId| seen.iter().find(|one| one.deployment == *id).map(|one| one.gone.clone()).unwrap_or_default();
    recorded.into_iter().map(|one| api::Candidate { gone: gone(&one.deployment), ..one }).collect()
}

/// What the record alone says; `why` nothing is seen.
pub(super) fn on_record(service: &Service, recorded: &Recorded, why: &str) -> api::Service {
    let verified: Vec<&Deployment> = recorded.verified.iter().flatten().collect();
    let live = recorded.live();
    let older = state::older(live, &verified, service.keep);
    let last = recorded.last_ended.as_ref().filter(|last| live.is_none_or(|live| live.id != last.id));
    let held = state::held(service, &recorded.hold);
    let why = (!why.is_empty()).then(|| why.to_owned());
    api::Service {
        name: service.name.clone(),
        standing: Standing { word: Word::Unknown, why: why.clone(), mend: None },
        pinned: Vec::new(),
        files: None,
        containers: Vec::new(),
        live: live.map(view),
        next_step: last.and_then(standing::next_step).or_else(|| held.as_ref().map(|_| state::resume(service))),
        away: away(last.into_iter().chain(verified.iter().copied())),
        last: last.map(view),
        drift: None,
        running: recorded.running().map(view),
        waiting: recorded.waiting().map(view),
        held,
        guards: Vec::new(),
        blocked: recorded.may_run().map(ToString::to_string).or(why).or_else(|| recorded.waiting()?.waits_why.clone()),
        watch: None,
        schedule: None,
        incidents: Vec::new(),
        owed: Vec::new(),
        hosts: Vec::new(),
        rollback_candidates: state::candidates(&older, &verified, None),
    }
}
