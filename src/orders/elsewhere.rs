//! Services on the hosts of agents: whose order may go there now, what waits for a host, and how they stand.

use std::time::Duration;

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
        let is_pinned = |image: &&ImageRef| service.stack.pins().iter().any(|pin| pin.image == image.repository);
        if let Some(other) = images.iter().find(|image| !is_pinned(image)) {
            return Err(Refusal::Foreign { image: other.to_string(), service: order.service }.into());
        }
        // What the control plane has had approved is landed as it is, or not at all.
        let is_exact = order.kind == OrderKind::Deploy && !images.is_empty();
        let approved = is_exact.then(|| Approved { images: images.iter().map(ToString::to_string).collect(), by: Vec::new() });
        let wanted = match (order.kind, undoes) {
            (OrderKind::Rollback, Some(undone)) => Wanted::Before(undone),
            (OrderKind::Repair, _) => Wanted::LastVerified,
            (OrderKind::Rollback, None) if !images.is_empty() => Wanted::Recorded(images),
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
            match self.why_no_host(service, one.kind) {
                None => ready.push(one),
                Some(why) => {
                    let hosts = if service.stack.agents().len() > 1 { "hosts" } else { "host" };
                    if self.store.for_runs().await_host(&one.id, &format!("It waits for its {hosts}: {why}.")).await? {
                        self.hub.tell(&one.id);
                    }
                }
            }
        }
        Ok(ready)
    }

    /// Why an order of `kind` cannot begin: it needs all hosts of its service, a rollback one of them. None: they are there.
    fn why_no_host(&self, service: &Service, kind: OrderKind) -> Option<String> {
        let agents = service.stack.agents();
        let away: Vec<String> = agents.iter().filter_map(|agent| self.agents().why_not(agent)).collect();
        let is_enough = away.is_empty() || (kind == OrderKind::Rollback && away.len() < agents.len());
        (!is_enough).then(|| away.join("; "))
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
            let Some(service) = config.service(&waiting.order.service) else { continue };
            if self.why_no_host(service, waiting.order.kind).is_none() {
                store.host_is_back(&waiting.id).await?;
                continue;
            }
            let hold = store.hold(&waiting.order.service).await?;
            let Err(refusal) = guards::at_the_turn(&waiting, hold.as_ref(), service.max_wait, clock::now_ms()) else { continue };
            let Some(guard) = refusal.guard() else { continue };
            let outcome = Outcome::Refused { guard, why: refusal.to_string() };
            if store.finish_waiting(&waiting.id, &outcome).await? {
                self.metrics.ended(&waiting.order.service, &outcome, 0);
                self.hub.tell(&waiting.id);
                self.results.wake();
            }
        }
        Ok(())
    }

    /// A service of an agent is held on its host as well: that hold ends first.
    pub(super) async fn resume_elsewhere(&self, name: &ServiceName, caller: &Caller) -> Result<(), OrderError> {
        let service = self.service(name)?;
        for agent in service.stack.agents() {
            let ask = AskedFor::Resume { service: name.clone(), caller: caller.to_string() };
            let why = match self.agents().ask(agent, ask, RESUME).await {
                Ok(AnswerBody::Done { .. }) => continue,
                Ok(_) => AskError::Silent(agent.clone()).to_string(),
                Err(error) => error.to_string(),
            };
            return Err(Refusal::Away { service: name.clone(), why }.into());
        }
        Ok(())
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
                    rollback_candidates: seen.rollback_candidates,
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
