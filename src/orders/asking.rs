//! The guards that look further than the database, in their one sequence: whether somebody has approved of an order, whether a freeze is in
//! force, whether the checks of its commit are green. Every order takes it, whichever way it came: at the door, where only who can say no
//! at once is asked, and when its turn has come. Whatever it waits for then, it takes nobody's place and holds up nobody: newer orders
//! supersede it, and a rollback does not wait for it. A rollback, an adoption and a repair land what was landed before, and are not asked
//! about, unless rollbacks of the service need an approval.

use std::sync::Arc;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::clock;
use crate::config::Config;
use crate::config::Service;
use crate::model::DeploymentId;
use crate::model::Order;
use crate::model::OrderKind;
use crate::model::Outcome;
use crate::model::Refusal;
use crate::model::ServiceName;
use crate::model::WaitsFor;
use crate::orders::Deployer;
use crate::orders::answer::Answer;
use crate::orders::answer::Question;
use crate::orders::approval;
use crate::orders::checks;
use crate::orders::freeze;
use crate::orders::guards;
use crate::store::Again;
use crate::store::Awaited;
use crate::store::Deployment;
use crate::store::Hold;
use crate::store::Next;
use crate::store::StoreError;

/// The guards in their order, by what an order waits for that one of them keeps back.
const SEQUENCE: [WaitsFor; 3] = [WaitsFor::Approval, WaitsFor::Window, WaitsFor::Checks];
/// Those that are asked at the door as well.
const AT_THE_DOOR: [WaitsFor; 2] = [WaitsFor::Approval, WaitsFor::Window];
/// This long after a forge must have answered another server may ask: what came of it must be recorded.
const MARGIN: Duration = Duration::from_secs(30);
/// For so long at most it counts that all guards have let an order pass while all places are taken; then they are asked once more.
const GRANTED_FOR_MS: i64 = 10 * 60_000;

/// What comes of asking all guards about an order.
enum Verdict {
    /// It may be carried out.
    Passes {
        said: Vec<String>,
        until_ms: Option<i64>,
    },
    Waits(Again),
    Refused(Refusal),
    /// Another server asks about it, or it waits no more.
    NotOurs,
}

impl Deployer {
    /// What a guard that looks further than the database has against an order as it comes. One that may let it pass later has nothing
    /// against it.
    pub(super) async fn objection(&self, config: &Config, service: &Service, order: &Order) -> Option<Refusal> {
        let now_ms = clock::now_ms();
        let question =
            Question { config, service, order, deployment: None, hold: None, came_ms: now_ms, since_ms: now_ms, times: 0, now_ms };
        for guard in AT_THE_DOOR.into_iter().filter(|guard| is_wanted(*guard, &question)) {
            if let Answer::Refused(refusal) = self.answer(guard, &question).await {
                return Some(refusal);
            }
        }
        None
    }

    /// Of those who are next, the ones that may be carried out now. The others wait for what the first guard says from now on.
    pub(super) async fn without_those_to_ask_about(&self, next: Vec<Next>) -> Result<Vec<Next>, StoreError> {
        let mut ready = Vec::with_capacity(next.len());
        for one in next {
            match self.first_to_ask(&one).await? {
                Some(guard) => {
                    self.store.for_runs().await_guard(&one.id, guard).await?;
                    self.wake.notify_one();
                }
                None => ready.push(one),
            }
        }
        Ok(ready)
    }

    /// The guard that is to be asked about it first; none: it may be carried out.
    async fn first_to_ask(&self, next: &Next) -> Result<Option<WaitsFor>, StoreError> {
        let now_ms = clock::now_ms();
        let is_over = next.granted_until_ms.is_some_and(|until_ms| until_ms <= now_ms);
        let is_granted = !is_over && next.granted_ms.is_some_and(|at_ms| now_ms - at_ms < GRANTED_FOR_MS);
        let config = self.config.now();
        let Some(service) = config.service(&next.service).filter(|_| !is_granted) else {
            return Ok(None);
        };
        if !is_over && !is_ever_asked(&config, service) {
            return Ok(None);
        }
        let Some(deployment) = self.store.for_runs().get(&next.id).await? else { return Ok(None) };
        let is_rollback = deployment.order.kind == OrderKind::Rollback;
        let hold = if is_rollback { self.store.for_runs().hold(&next.service).await? } else { None };
        let question = question(&config, service, &deployment, hold.as_ref(), now_ms);
        let first = SEQUENCE.into_iter().find(|guard| is_wanted(*guard, &question));
        // What was granted for some time is granted anew, even if nobody has to be asked any more.
        Ok(first.or(is_over.then_some(WaitsFor::Window)))
    }

    /// Asks about every order that is due, each by itself.
    pub(super) async fn ask_the_guards(self: &Arc<Self>, tasks: &mut JoinSet<()>) -> Result<(), StoreError> {
        let services: Vec<ServiceName> = self.config.now().services.keys().cloned().collect();
        let busy: Vec<DeploymentId> = self.asking.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        for awaited in self.store.for_runs().take_awaited(&services, self.executor.id(), &busy, checks::DEADLINE + MARGIN).await? {
            let id = awaited.deployment.id.clone();
            self.asking.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone());
            let deployer = Arc::clone(self);
            tasks.spawn(async move {
                if let Err(error) = deployer.ask_about(awaited).await {
                    tracing::error!(deployment = %id, %error, "what the guards say of an order could not be recorded; asking again");
                }
                deployer.asking.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                deployer.wake.notify_one();
            });
        }
        Ok(())
    }

    async fn ask_about(&self, awaited: Awaited) -> Result<(), StoreError> {
        let id = &awaited.deployment.id;
        let service = &awaited.deployment.order.service;
        let store = self.store.for_runs();
        let asker = self.executor.id();
        let is_told = match self.ask_all(&awaited).await? {
            Verdict::NotOurs => false,
            Verdict::Passes { said, until_ms } => store.grant(id, asker, until_ms, &said).await?,
            Verdict::Waits(again) => store.ask_again(id, asker, &again).await?,
            Verdict::Refused(refusal) => {
                let Some(guard) = refusal.guard() else { return Ok(()) };
                let outcome = Outcome::Refused { guard, why: refusal.to_string() };
                let is_ended = store.finish_awaited(id, asker, &outcome).await?;
                if is_ended {
                    self.metrics.ended(service, &outcome, 0);
                    tracing::info!(deployment = %id, service = %service, outcome = outcome.name(), detail = %outcome, "deployment ended");
                }
                is_ended
            }
        };
        if is_told {
            self.hub.tell(id);
        }
        Ok(())
    }

    /// Asks one guard after the other, up to the first that does not let the order pass.
    async fn ask_all(&self, awaited: &Awaited) -> Result<Verdict, StoreError> {
        let Awaited { deployment, waits_for, since_ms, asked, hold } = awaited;
        let config = self.config.now();
        let order = &deployment.order;
        let Some(service) = config.service(&order.service) else { return Ok(Verdict::NotOurs) };
        if let Err(refusal) = guards::at_the_turn(deployment, hold.as_ref(), service.max_wait, clock::now_ms()) {
            return Ok(Verdict::Refused(refusal));
        }
        let mut all = Vec::new();
        let mut earliest: Option<i64> = None;
        let its_place = SEQUENCE.iter().position(|guard| guard == waits_for);
        for (place, guard) in SEQUENCE.into_iter().enumerate() {
            let is_its_own = guard == *waits_for;
            if !is_its_own && !is_wanted(guard, &question(&config, service, deployment, hold.as_ref(), clock::now_ms())) {
                continue;
            }
            if its_place.is_some_and(|its| its < place) && !self.store.for_runs().move_on(&deployment.id, self.executor.id(), guard).await?
            {
                return Ok(Verdict::NotOurs);
            }
            let now_ms = clock::now_ms();
            let mut question = question(&config, service, deployment, hold.as_ref(), now_ms);
            if is_its_own {
                question.since_ms = *since_ms;
                question.times = *asked;
            }
            match self.answer(guard, &question).await {
                Answer::Passes { said, until_ms } => {
                    all.extend(said);
                    earliest = [earliest, until_ms].into_iter().flatten().min();
                }
                // It lands nothing, and says what an order would come to.
                Answer::Waits(_, why) if order.dry_run => all.push(format!("An order that is no dry run would wait now. {why}")),
                Answer::Waits(after, why) => return Ok(Verdict::Waits(Again { waits_for: guard, after, why })),
                Answer::Refused(refusal) => return Ok(Verdict::Refused(refusal)),
            }
        }
        Ok(Verdict::Passes { said: all, until_ms: earliest })
    }

    /// What the guard says whose yes an order waits for.
    async fn answer(&self, guard: WaitsFor, question: &Question<'_>) -> Answer {
        match guard {
            WaitsFor::Approval => self.approval(question).await,
            WaitsFor::Window => self.freeze(question).await,
            WaitsFor::Checks => self.checks(question).await,
            // Nobody who is asked decides about these.
            WaitsFor::Turn | WaitsFor::Host => Answer::passes(),
        }
    }
}

/// What is put to a guard that was not asked about the order before.
fn question<'a>(config: &'a Config, service: &'a Service, deployment: &'a Deployment, hold: Option<&'a Hold>, now_ms: i64) -> Question<'a> {
    Question {
        config,
        service,
        order: &deployment.order,
        deployment: Some(deployment),
        hold,
        came_ms: deployment.ready_ms(),
        since_ms: now_ms,
        times: 0,
        now_ms,
    }
}

/// Whether any guard may be asked about orders of the service.
fn is_ever_asked(config: &Config, service: &Service) -> bool {
    let has_checks = service.source.as_ref().is_some_and(|source| source.admission.checks.is_some());
    has_checks || freeze::is_wanted(config, service) || approval::is_ever_needed(service)
}

/// Whether that guard is asked about such an order at all.
fn is_wanted(guard: WaitsFor, question: &Question<'_>) -> bool {
    let Question { config, service, order, deployment, hold, .. } = *question;
    let lands_anew = order.kind == OrderKind::Deploy;
    match guard {
        WaitsFor::Approval => {
            let has_taken_over = deployment.is_some_and(|one| approval::has_taken_over(one, hold));
            !has_taken_over && approval::is_asked(config, service, order, deployment.and_then(|one| one.approved.as_ref()))
        }
        WaitsFor::Window => lands_anew && freeze::is_wanted(config, service),
        WaitsFor::Checks => {
            lands_anew && service.source.as_ref().is_some_and(|source| guards::wants_checks(order, &source.admission).is_some())
        }
        WaitsFor::Turn | WaitsFor::Host => false,
    }
}
