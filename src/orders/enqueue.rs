//! From an authenticated call to an order on disk.

use std::sync::Arc;

use crate::api;
use crate::config::Service;
use crate::model::Approved;
use crate::model::Behind;
use crate::model::Caller;
use crate::model::Cause;
use crate::model::DeploymentId;
use crate::model::Order;
use crate::model::OrderKind;
use crate::model::Refusal;
use crate::model::RollbackTo;
use crate::model::ServiceName;
use crate::model::State;
use crate::orders::Deployer;
use crate::orders::guards;
use crate::store::Accepted;
use crate::store::Delivery;
use crate::store::Deployment;
use crate::store::OrderError;
use crate::store::Resumed;
use crate::store::Terms;
use crate::store::Wanted;

/// What another tagalong gives an order along.
pub(super) struct Given {
    /// The id that it has there.
    pub(super) id: DeploymentId,
    /// What was approved of it there; none: it needed no approval.
    pub(super) approved: Option<Approved>,
}

impl Deployer {
    /// Takes an order to land a tag.
    ///
    /// # Errors
    /// [`OrderError`]; then nothing has changed.
    pub async fn order_deployment(
        &self,
        ask: api::NewDeployment,
        caller: Caller,
        delivery: Option<Delivery>,
    ) -> Result<Accepted, OrderError> {
        let service = self.service(&ask.service)?;
        let order = Order {
            tag: Some(ask.tag),
            digest: ask.digest,
            commit: ask.commit,
            git_ref: ask.git_ref,
            run_url: ask.run_url,
            run_number: ask.run_number,
            actor: ask.actor,
            reason: ask.reason,
            force: ask.force,
            dry_run: ask.dry_run,
            ..Order::new(OrderKind::Deploy, ask.service, caller)
        };
        self.accept(&service, order, Wanted::Ordered, delivery.as_ref()).await
    }

    /// Takes an order to go back. From now on the service is held against CI, and what runs for it is told to stop. Which release it
    /// lands is decided by the record as it is at that moment.
    ///
    /// # Errors
    /// [`OrderError`]; then nothing has changed.
    pub async fn order_rollback(&self, ask: api::NewRollback, caller: Caller, delivery: Option<Delivery>) -> Result<Accepted, OrderError> {
        let service = self.service(&ask.service)?;
        let order = Order {
            run_url: ask.run_url,
            actor: ask.actor,
            reason: ask.reason,
            force: ask.force,
            ..Order::new(OrderKind::Rollback, ask.service, caller)
        };
        self.accept(&service, order, Wanted::Back(ask.to), delivery.as_ref()).await
    }

    /// Takes an order to adopt what runs.
    ///
    /// # Errors
    /// [`OrderError`]; then nothing has changed.
    pub async fn order_adoption(
        &self,
        name: &ServiceName,
        behind: Behind,
        caller: Caller,
        delivery: Option<Delivery>,
    ) -> Result<Accepted, OrderError> {
        let service = self.service(name)?;
        let order = Order { run_url: behind.run_url, actor: behind.actor, ..Order::new(OrderKind::Adopt, name.clone(), caller) };
        self.accept(&service, order, Wanted::Ordered, delivery.as_ref()).await
    }

    /// Takes an order to land the last verified release again. Which one that is, is looked up once more at its turn. What holds
    /// the service goes on holding it.
    ///
    /// # Errors
    /// [`OrderError`]; then nothing has changed.
    pub async fn order_repair(
        &self,
        name: &ServiceName,
        behind: Behind,
        caller: Caller,
        delivery: Option<Delivery>,
    ) -> Result<Accepted, OrderError> {
        let service = self.service(name)?;
        let order = Order { run_url: behind.run_url, actor: behind.actor, ..Order::new(OrderKind::Repair, name.clone(), caller) };
        self.accept(&service, order, Wanted::LastVerified, delivery.as_ref()).await
    }

    /// Takes the order of an ended deployment once more, for the caller who asks now.
    ///
    /// # Errors
    /// [`OrderError`]; then nothing has changed.
    pub async fn retry(&self, old: &Deployment, caller: Caller, delivery: Option<Delivery>) -> Result<Accepted, OrderError> {
        let service = self.service(&old.order.service)?;
        if !matches!(old.state, State::Done { .. }) {
            return Err(Refusal::NotEnded(old.id.clone()).into());
        }
        // Its images may be no more than what a host says of itself: what was verified, this record knows.
        let wanted = match (old.order.kind, &old.order.tag) {
            (OrderKind::Repair, _) => Wanted::LastVerified,
            (OrderKind::Rollback, Some(tag)) if old.images.is_empty() => Wanted::Back(RollbackTo::Tag(tag.clone())),
            (OrderKind::Rollback, _) => Wanted::Recorded(old.images.clone()),
            (OrderKind::Deploy | OrderKind::Adopt, _) => Wanted::Ordered,
        };
        // That it is a retry is its cause, and no reason for which anything may be overruled.
        let reason = old.order.reason.as_ref().map(|reason| format!("retry of {}: {reason}", old.id));
        // A repair stays one.
        let cause = old.order.cause.clone().filter(|_| old.order.kind == OrderKind::Repair).unwrap_or(Cause::Retry(old.id.clone()));
        // Who was behind it the first time is not behind it now, unless a forge says so again.
        let actor = old.order.actor.clone().filter(|_| matches!(caller, Caller::Oidc(_)));
        let order = Order { caller, actor, reason, cause: Some(cause), ..old.order.clone() };
        self.accept(&service, order, wanted, delivery.as_ref()).await
    }

    /// Ends the hold of a service. Gives as well, of each host of several that has not ended its own, a sentence why.
    ///
    /// # Errors
    /// [`OrderError`]; then nothing has changed.
    pub async fn resume(
        &self,
        service: &ServiceName,
        caller: &Caller,
        delivery: Option<&Delivery>,
    ) -> Result<(Resumed, Vec<String>), OrderError> {
        let silent = self.resume_elsewhere(service, caller).await?;
        Ok((self.store.resume(service, &caller.to_string(), delivery).await?, silent))
    }

    async fn answered(&self, delivery: Option<&Delivery>) -> Result<Option<Accepted>, OrderError> {
        let Some(delivery) = delivery else { return Ok(None) };
        let first = self.store.answered(delivery).await?;
        Ok(first.map(|id| Accepted { id, repeated: true, tag: None, superseded: None, preempted: None }))
    }

    pub(super) fn service(&self, name: &ServiceName) -> Result<Arc<Service>, OrderError> {
        self.config.now().service(name).cloned().ok_or_else(|| Refusal::UnknownService(name.clone()).into())
    }

    pub(super) async fn accept(
        &self,
        service: &Service,
        order: Order,
        wanted: Wanted,
        delivery: Option<&Delivery>,
    ) -> Result<Accepted, OrderError> {
        self.accept_as(None, service, order, wanted, delivery).await
    }

    /// [`Deployer::accept`], where another tagalong has `given` the order its id.
    pub(super) async fn accept_as(
        &self,
        given: Option<Given>,
        service: &Service,
        order: Order,
        wanted: Wanted,
        delivery: Option<&Delivery>,
    ) -> Result<Accepted, OrderError> {
        if self.hub.is_unwritable() {
            // A repeated call gets the first answer, whatever has changed since.
            return self.answered(delivery).await?.ok_or(Refusal::Unwritable.into());
        }
        // One reading of it for all that decides over this order.
        let config = self.config.now();
        let terms = Terms {
            max_waiting: config.server.max_waiting,
            hold_ms: service.hold.map(|hold| hold.as_millis() as i64),
            tag_pattern: service.tag_pattern.clone(),
            pins: service.stack.pins().len(),
            admission: service.source.as_ref().map(|source| source.admission.clone()).unwrap_or_default(),
            awaits_approval: service.approval.as_ref().is_some_and(|approval| approval.is_for(&order, &config.people)),
            is_guarded: guards::is_guarded(&config, service),
            objection: match guards::names_its_files(service, &order) {
                Some(refusal) => Some(refusal),
                None => match self.agents().unknown_host(service).await? {
                    Some(refusal) => Some(refusal),
                    None => self.objection(&config, service, &order).await,
                },
            },
            approved: given.as_ref().and_then(|given| given.approved.clone()),
            given: given.map(|given| given.id),
            door: guards::at_the_door,
        };
        let accepted = self.store.enqueue(&order, &wanted, delivery, &terms).await?;
        if accepted.repeated {
            return Ok(accepted);
        }
        let what = accepted.tag.as_ref().map_or_else(|| "what runs".to_owned(), ToString::to_string);
        tracing::info!(deployment = %accepted.id, service = %order.service, caller = %order.caller, kind = order.kind.as_str(), tag = %what, "order accepted");
        if let Some(old) = &accepted.superseded {
            self.hub.tell(old);
        }
        if let Some(cancel) = accepted.preempted.as_ref().and_then(|id| self.cancel_of(id)) {
            cancel.cancel();
        }
        self.wake.notify_one();
        self.results.wake();
        Ok(accepted)
    }
}
