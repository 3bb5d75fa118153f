//! From a proven call to an order on disk.

use std::sync::Arc;

use crate::api;
use crate::config::Service;
use crate::model::Caller;
use crate::model::ImageRef;
use crate::model::Order;
use crate::model::OrderKind;
use crate::model::Outcome;
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
use crate::store::Released;
use crate::store::StoreError;
use crate::store::Terms;

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
            kind: OrderKind::Deploy,
            service: ask.service,
            tag: Some(ask.tag),
            digest: ask.digest,
            commit: ask.commit,
            git_ref: ask.git_ref,
            run_url: ask.run_url,
            run_number: ask.run_number,
            reason: ask.reason,
            force: ask.force,
            dry_run: ask.dry_run,
            caller,
        };
        self.place(&service, order, &[], delivery.as_ref()).await
    }

    /// Takes an order to go back. From now on the service is held against CI, and what runs for it is told to stop.
    ///
    /// # Errors
    /// [`OrderError`]; then nothing has changed.
    pub async fn order_rollback(&self, ask: api::NewRollback, caller: Caller, delivery: Option<Delivery>) -> Result<Accepted, OrderError> {
        let service = self.service(&ask.service)?;
        if let Some(accepted) = self.answered(delivery.as_ref()).await? {
            return Ok(accepted);
        }
        let target = self.rollback_target(&service, &ask).await?;
        let order = Order {
            kind: OrderKind::Rollback,
            service: ask.service,
            tag: target.tag,
            digest: target.images.first().map(|image| image.digest.clone()),
            commit: target.commit,
            git_ref: None,
            run_url: None,
            run_number: None,
            reason: ask.reason,
            force: ask.force,
            dry_run: false,
            caller,
        };
        self.place(&service, order, &target.images, delivery.as_ref()).await
    }

    /// Takes an order to adopt what runs.
    ///
    /// # Errors
    /// [`OrderError`]; then nothing has changed.
    pub async fn order_adoption(&self, name: &ServiceName, caller: Caller, delivery: Option<Delivery>) -> Result<Accepted, OrderError> {
        let service = self.service(name)?;
        let order = Order {
            kind: OrderKind::Adopt,
            service: name.clone(),
            tag: None,
            digest: None,
            commit: None,
            git_ref: None,
            run_url: None,
            run_number: None,
            reason: None,
            force: false,
            dry_run: false,
            caller,
        };
        self.place(&service, order, &[], delivery.as_ref()).await
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
        let images = if old.order.kind == OrderKind::Rollback { old.images.clone() } else { Vec::new() };
        let order = Order { caller, reason: Some(format!("retry of {}", old.id)), ..old.order.clone() };
        self.place(&service, order, &images, delivery.as_ref()).await
    }

    /// Ends the hold of a service.
    ///
    /// # Errors
    /// [`OrderError`]; then nothing has changed.
    pub async fn release(&self, service: &ServiceName, caller: &Caller, delivery: Option<&Delivery>) -> Result<Released, OrderError> {
        Ok(self.store.release(service, &caller.to_string(), delivery).await?)
    }

    async fn answered(&self, delivery: Option<&Delivery>) -> Result<Option<Accepted>, OrderError> {
        let Some(delivery) = delivery else { return Ok(None) };
        let first = self.store.answered(delivery).await?;
        Ok(first.map(|id| Accepted { id, repeated: true, superseded: None, preempted: None }))
    }

    pub(super) fn service(&self, name: &ServiceName) -> Result<Arc<Service>, OrderError> {
        self.config().service(name).cloned().ok_or_else(|| Refusal::UnknownService(name.clone()).into())
    }

    async fn place(
        &self,
        service: &Service,
        order: Order,
        images: &[ImageRef],
        delivery: Option<&Delivery>,
    ) -> Result<Accepted, OrderError> {
        if self.hub.is_unwritable() {
            // What was accepted before gets its first answer, whatever has changed since.
            return self.answered(delivery).await?.ok_or(Refusal::Unwritable.into());
        }
        let terms = Terms {
            max_waiting: self.config().server.max_waiting,
            hold_ms: service.hold.map(|hold| hold.as_millis() as i64),
            tag_pattern: service.tag_pattern.clone(),
            pins: service.stack.pins.len(),
            door: guards::at_the_door,
        };
        let accepted = self.store.enqueue(&order, images, delivery, &terms).await?;
        if accepted.repeated {
            return Ok(accepted);
        }
        let what = order.tag.as_ref().map_or_else(|| "what runs".to_owned(), ToString::to_string);
        tracing::info!(deployment = %accepted.id, service = %order.service, caller = %order.caller, kind = order.kind.as_str(), tag = %what, "order accepted");
        if let Some(old) = &accepted.superseded {
            self.hub.tell(old);
        }
        if let Some(cancel) = accepted.preempted.as_ref().and_then(|id| self.cancel_of(id)) {
            cancel.cancel();
        }
        self.wake.notify_one();
        Ok(accepted)
    }

    /// Where a rollback goes: the images of a verified release where the record has one.
    async fn rollback_target(&self, service: &Service, ask: &api::NewRollback) -> Result<RollbackTarget, OrderError> {
        let (verified, unreadable) = readable(self.store.verified(&service.name).await?);
        let found = match &ask.to {
            RollbackTo::Previous => self.previous(service, &verified).await?,
            RollbackTo::Tag(tag) => {
                verified.iter().find(|old| old.order.tag.as_ref() == Some(tag) || old.images.iter().any(|i| i.tag.as_ref() == Some(tag)))
            }
            RollbackTo::Deployment(id) => verified.iter().find(|old| &old.id == id),
        };
        if let Some((newer, error)) = unreadable.filter(|_| !ask.force) {
            // It may be the one that is wanted, or one that must not be rolled back past.
            if !verified[..newer].iter().any(|one| found.is_some_and(|found| found.id == one.id)) {
                return Err(error.into());
            }
        }
        let target = match (found, &ask.to) {
            (Some(old), _) => {
                let tag = old.order.tag.clone().or_else(|| old.images.first().and_then(|image| image.tag.clone()));
                RollbackTarget { tag, images: old.images.clone(), commit: old.order.commit.clone() }
            }
            // A tag that never ran here is asked for at the registry, like any deployment.
            (None, RollbackTo::Tag(tag)) => RollbackTarget { tag: Some(tag.clone()), images: Vec::new(), commit: None },
            (None, RollbackTo::Previous) => return Err(Refusal::NoPrevious(service.name.clone()).into()),
            (None, RollbackTo::Deployment(id)) => {
                return Err(Refusal::NoRelease { id: id.clone(), service: service.name.clone() }.into());
            }
        };
        refuse_past_barrier(service, &verified, found, ask.force)?;
        Ok(target)
    }

    /// The verified release to go back to: the last one while a newer is under way or did not hold, else the one before it.
    async fn previous<'a>(&self, service: &Service, verified: &'a [Deployment]) -> Result<Option<&'a Deployment>, OrderError> {
        let Some(last) = verified.first() else { return Ok(None) };
        // One at its after-hook is verified and serves already, so it is what is gone back from.
        let is_under_way = |one: &Deployment| matches!(one.state, State::Running { .. }) && one.id != last.id;
        let unfinished = self.store.unfinished(&service.name).await?;
        let last_change = self.store.last_change(&service.name).await?;
        for error in unfinished.unreadable.iter().chain(last_change.iter().filter_map(|change| change.as_ref().err())) {
            tracing::error!(service = %service.name, %error, "what does not read may have changed the service, so the last verified release is gone back to");
        }
        let under_way = !unfinished.unreadable.is_empty() || unfinished.deployments.iter().any(is_under_way);
        // An undo that held left the last verified release serving, so going back means the one before it.
        let undone = |change: &Deployment| {
            matches!(&change.state, State::Done { outcome: Outcome::RolledBack { .. } | Outcome::Cancelled { brought_back: true, .. } })
        };
        let is_of_last = |change: Result<Deployment, StoreError>| change.is_ok_and(|change| change.id == last.id || undone(&change));
        let serving = matches!(last.state, State::Running { .. }) || last_change.is_none_or(is_of_last);
        if under_way || !serving {
            return Ok(Some(last));
        }
        Ok(verified.iter().find(|old| !same_content(&old.images, &last.images)))
    }
}

struct RollbackTarget {
    tag: Option<crate::model::Tag>,
    images: Vec<ImageRef>,
    commit: Option<String>,
}

/// The releases that read; and how many of them are newer than the first that does not, with its fault.
fn readable(verified: Vec<Result<Deployment, StoreError>>) -> (Vec<Deployment>, Option<(usize, StoreError)>) {
    let (mut read, mut unreadable) = (Vec::new(), None);
    for one in verified {
        match one {
            Ok(one) => read.push(one),
            Err(error) => {
                tracing::error!(%error, "a verified release is none to go back to");
                unreadable.get_or_insert((read.len(), error));
            }
        }
    }
    (read, unreadable)
}

/// Whether two releases are the same content, whatever their tags.
pub(super) fn same_content(a: &[ImageRef], b: &[ImageRef]) -> bool {
    a.len() == b.len() && a.iter().all(|image| b.iter().any(|other| other.repository == image.repository && other.digest == image.digest))
}

/// A release that must not be rolled back past stops a rollback to one before it.
fn refuse_past_barrier(service: &Service, verified: &[Deployment], target: Option<&Deployment>, force: bool) -> Result<(), Refusal> {
    let Some(target) = target.filter(|_| !force) else { return Ok(()) };
    let newer = verified.iter().take_while(|one| one.id > target.id);
    let Some(barrier) = newer.into_iter().find(|one| one.barrier && !same_content(&one.images, &target.images)) else { return Ok(()) };
    let release = barrier.order.tag.as_ref().map_or("a release", |tag| tag.as_str()).to_owned();
    Err(Refusal::Barrier { release, service: service.name.clone() })
}
