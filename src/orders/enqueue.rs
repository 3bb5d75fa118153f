//! From a proven call to an order on disk.

use std::sync::Arc;

use crate::api;
use crate::config::Service;
use crate::model::Caller;
use crate::model::DeploymentId;
use crate::model::Guard;
use crate::model::ImageRef;
use crate::model::Order;
use crate::model::OrderKind;
use crate::model::Outcome;
use crate::model::RollbackTo;
use crate::model::ServiceName;
use crate::model::State;
use crate::orders::Deployer;
use crate::store::Accepted;
use crate::store::Delivery;
use crate::store::Deployment;
use crate::store::EnqueueError;
use crate::store::Limits;
use crate::store::Resumed;
use crate::store::StoreError;

/// Why an order was not taken. Nothing was recorded or changed.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// There is no such service.
    #[error("There is no service {0}; `tagalong status` lists the services.")]
    UnknownService(ServiceName),
    /// A guard says no.
    #[error("{why}")]
    Refused {
        /// Which.
        guard: Guard,
        /// Why.
        why: String,
    },
    /// The delivery id came with another body before.
    #[error("The delivery id was used for another body before; give every order an id of its own.")]
    IdReused,
    /// It is to be ordered once more, but has not ended yet.
    #[error("Deployment {0} has not ended yet; follow it with `tagalong logs {0} -f`.")]
    NotEnded(DeploymentId),
    /// Too many orders wait, or the journal cannot be written.
    #[error("{0}")]
    Busy(String),
    /// The database does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<EnqueueError> for OrderError {
    fn from(error: EnqueueError) -> Self {
        match error {
            EnqueueError::IdReused => Self::IdReused,
            EnqueueError::Full(_) | EnqueueError::Waiting(_) => Self::Busy(error.to_string()),
            EnqueueError::Refused { guard, why } => Self::Refused { guard, why },
            EnqueueError::Store(error) => Self::Store(error),
        }
    }
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
        if let Err(refusal) = check_digest(&service, &ask) {
            return self.answered(delivery.as_ref()).await?.ok_or(refusal);
        }
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
            return Err(OrderError::NotEnded(old.id.clone()));
        }
        let images = if old.order.kind == OrderKind::Rollback { old.images.clone() } else { Vec::new() };
        let order = Order { caller, reason: Some(format!("retry of {}", old.id)), ..old.order.clone() };
        self.place(&service, order, &images, delivery.as_ref()).await
    }

    /// Ends the hold of a service.
    ///
    /// # Errors
    /// [`OrderError`]; then nothing has changed.
    pub async fn resume(&self, service: &ServiceName, caller: &Caller, delivery: Option<&Delivery>) -> Result<Resumed, OrderError> {
        Ok(self.store.resume(service, &caller.to_string(), delivery).await?)
    }

    async fn answered(&self, delivery: Option<&Delivery>) -> Result<Option<Accepted>, OrderError> {
        let Some(delivery) = delivery else { return Ok(None) };
        let first = self.store.answered(delivery).await?;
        Ok(first.map(|id| Accepted { id, repeated: true, superseded: None, preempted: None }))
    }

    pub(super) fn service(&self, name: &ServiceName) -> Result<Arc<Service>, OrderError> {
        self.config.now().service(name).cloned().ok_or_else(|| OrderError::UnknownService(name.clone()))
    }

    async fn place(
        &self,
        service: &Service,
        order: Order,
        images: &[ImageRef],
        delivery: Option<&Delivery>,
    ) -> Result<Accepted, OrderError> {
        if let Err(refusal) = self.may_be_placed(service, &order, images) {
            // What was accepted before gets its first answer, whatever has changed since.
            return self.answered(delivery).await?.ok_or(refusal);
        }
        let limits =
            Limits { max_waiting: self.config.now().server.max_waiting, hold_ms: service.hold.map(|hold| hold.as_millis() as i64) };
        let accepted = self.store.enqueue(&order, images, delivery, &limits).await?;
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

    fn may_be_placed(&self, service: &Service, order: &Order, images: &[ImageRef]) -> Result<(), OrderError> {
        check_tag(service, order, images)?;
        if self.hub.is_unwritable() {
            return Err(OrderError::Busy(
                "The journal cannot be written, most likely because the disk is full; free some space and try again.".into(),
            ));
        }
        Ok(())
    }

    /// Where a rollback goes: the images of a verified release where the record has one.
    async fn rollback_target(&self, service: &Service, ask: &api::NewRollback) -> Result<RollbackTarget, OrderError> {
        let (verified, unreadable) = readable(self.store.verified(&service.name).await?);
        let none = |why: String| OrderError::Refused { guard: Guard::NoTarget, why };
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
            (None, RollbackTo::Previous) => {
                return Err(none(format!("{} has no verified release before the one that runs; name a tag with --to.", service.name)));
            }
            (None, RollbackTo::Deployment(id)) => {
                return Err(none(format!(
                    "Deployment {id} is no verified release of {}; `tagalong status {}` lists them.",
                    service.name, service.name
                )));
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
        let under_way = self.store.unfinished(&service.name).await?.iter().any(is_under_way);
        let last_change = self.store.last_change(&service.name).await?;
        // An undo that held left the last verified release serving, so going back means the one before it.
        let undone = |change: &Deployment| {
            matches!(&change.state, State::Done { outcome: Outcome::RolledBack { .. } | Outcome::Cancelled { brought_back: true, .. } })
        };
        let serving =
            matches!(last.state, State::Running { .. }) || last_change.is_none_or(|change| change.id == last.id || undone(&change));
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

/// A tag that is taken from the registry must be one that may be landed; one from the record was.
fn check_tag(service: &Service, order: &Order, images: &[ImageRef]) -> Result<(), OrderError> {
    let Some((pattern, tag)) = service.tag_pattern.as_ref().zip(order.tag.as_ref()).filter(|_| images.is_empty()) else { return Ok(()) };
    if pattern.is_match(tag.as_str()) {
        return Ok(());
    }
    let why = format!("The tag {tag} does not match tag_pattern {} of {}.", pattern.as_str(), service.name);
    Err(OrderError::Refused { guard: Guard::TagPattern, why })
}

fn check_digest(service: &Service, ask: &api::NewDeployment) -> Result<(), OrderError> {
    if ask.digest.is_some() && service.stack.pins.len() > 1 {
        let why = format!("{} pins several images, so one digest does not say which is meant; leave it out.", service.name);
        return Err(OrderError::Refused { guard: Guard::DigestMismatch, why });
    }
    Ok(())
}

/// A release that must not be rolled back past stops a rollback to one before it.
fn refuse_past_barrier(service: &Service, verified: &[Deployment], target: Option<&Deployment>, force: bool) -> Result<(), OrderError> {
    let Some(target) = target.filter(|_| !force) else { return Ok(()) };
    let newer = verified.iter().take_while(|one| one.id > target.id);
    let Some(barrier) = newer.into_iter().find(|one| one.barrier && !same_content(&one.images, &target.images)) else { return Ok(()) };
    let tag = barrier.order.tag.as_ref().map_or("a release", |tag| tag.as_str());
    let why = format!(
        "{tag} of {} says that it must not be rolled back past (a migration, say); force the rollback if the data allows it.",
        service.name
    );
    Err(OrderError::Refused { guard: Guard::Barrier, why })
}
