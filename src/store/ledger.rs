//! What a batch of orders is decided by, and the decisions: one after the other in the order in which they came, each seeing
//! what the ones before it changed. Nothing here asks the database; what was decided is written together afterwards.

use std::collections::HashMap;

use crate::clock;
use crate::model::DeploymentId;
use crate::model::Guard;
use crate::model::OrderKind;
use crate::model::ServiceName;
use crate::store::orders::Accepted;
use crate::store::orders::Asked;
use crate::store::orders::Delivery;
use crate::store::orders::EnqueueError;

/// The facts about the services of a batch.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The newest id: the next one is greater, whatever the clock does.
    pub(super) last_id: Option<DeploymentId>,
    /// How many orders wait, of all services.
    pub(super) waiting: i64,
    /// The waiting order of a service.
    pub(super) queued: HashMap<ServiceName, Queued>,
    /// The running deployment of a service.
    pub(super) running: HashMap<ServiceName, DeploymentId>,
    /// The rollback that holds a service, and since when (ms since 1970).
    pub(super) holds: HashMap<ServiceName, (String, i64)>,
    /// The run number of the newest verified deployment, and its id.
    pub(super) landed: HashMap<ServiceName, (i64, String)>,
    /// Body and deployment of deliveries that came before, by caller and id.
    pub(super) seen: HashMap<(String, String), (String, String)>,
}

/// An order that waits.
#[derive(Debug, Clone)]
pub(super) struct Queued {
    pub(super) id: DeploymentId,
    pub(super) kind: OrderKind,
}

/// What is to be written.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// The new deployments: which order of the batch each is, and what has superseded it already.
    pub(super) new: Vec<New>,
    /// Orders of earlier batches that are superseded, and by what.
    pub(super) superseded: Vec<(DeploymentId, DeploymentId)>,
    /// Services that are held from now on: by what, and until when (ms since 1970).
    pub(super) held: Vec<(ServiceName, DeploymentId, Option<i64>)>,
    /// Running deployments that are told to stop, and for which rollback.
    pub(super) stopped: Vec<(DeploymentId, DeploymentId)>,
}

/// A deployment that is to be written.
#[derive(Debug)]
pub(super) struct New {
    pub(super) id: DeploymentId,
    pub(super) at: usize,
    pub(super) superseded_by: Option<DeploymentId>,
}

impl Ledger {
    /// Decides what becomes of `asked`, the order at place `at` of its batch.
    pub(super) fn decide(&mut self, at: usize, asked: &Asked, now_ms: i64, changes: &mut Changes) -> Result<Accepted, EnqueueError> {
        let order = &asked.order;
        if let Some(id) = self.first_answer(asked.delivery.as_ref())? {
            return Ok(Accepted { id, repeated: true, superseded: None, preempted: None });
        }
        if order.kind == OrderKind::Deploy && !order.force && !order.dry_run {
            self.refuse_held(asked)?;
            self.refuse_late(asked)?;
        }
        let waits = self.queued.get(&order.service).cloned();
        // What changes nothing takes nobody's place, and CI takes no operator's.
        let keeps = |old: &Queued| {
            order.dry_run || order.kind == OrderKind::Adopt || (order.kind == OrderKind::Deploy && old.kind == OrderKind::Rollback)
        };
        if waits.as_ref().is_some_and(keeps) {
            return Err(EnqueueError::Waiting(order.service.clone()));
        }
        if waits.is_none() && self.waiting >= asked.limits.max_waiting {
            return Err(EnqueueError::Full(self.waiting));
        }
        let id = DeploymentId::after(self.last_id.as_ref(), clock::new_id());
        self.last_id = Some(id.clone());
        if let Some(old) = &waits {
            match changes.new.iter_mut().find(|new| new.id == old.id) {
                Some(new) => new.superseded_by = Some(id.clone()),
                None => changes.superseded.push((old.id.clone(), id.clone())),
            }
        } else {
            self.waiting += 1;
        }
        self.queued.insert(order.service.clone(), Queued { id: id.clone(), kind: order.kind });
        changes.new.push(New { id: id.clone(), at, superseded_by: None });
        let preempted = if order.kind == OrderKind::Rollback { self.take_over(asked, &id, now_ms, changes) } else { None };
        if let Some(Delivery { caller, id: delivery, body_sha256 }) = &asked.delivery {
            self.seen.insert((caller.clone(), delivery.clone()), (body_sha256.clone(), id.to_string()));
        }
        Ok(Accepted { id, repeated: false, superseded: waits.map(|old| old.id), preempted })
    }

    fn first_answer(&self, delivery: Option<&Delivery>) -> Result<Option<DeploymentId>, EnqueueError> {
        let Some(delivery) = delivery else { return Ok(None) };
        let Some((body_sha256, deployment)) = self.seen.get(&(delivery.caller.clone(), delivery.id.clone())) else { return Ok(None) };
        delivery.answer(body_sha256, deployment)
    }

    fn refuse_held(&self, asked: &Asked) -> Result<(), EnqueueError> {
        let service = &asked.order.service;
        let Some((by, since)) = self.holds.get(service) else { return Ok(()) };
        let why = format!(
            "The rollback {by} holds {service} since {since}; `tagalong resume {service}` lets CI deploy again, or force this order.",
            since = clock::utc(*since)
        );
        Err(EnqueueError::Refused { guard: Guard::Held, why })
    }

    fn refuse_late(&self, asked: &Asked) -> Result<(), EnqueueError> {
        let Some((mine, (live, id))) = asked.order.run_number.zip(self.landed.get(&asked.order.service)) else { return Ok(()) };
        if mine >= *live {
            return Ok(());
        }
        let why = format!("Run {mine} is older than run {live}, which deployment {id} landed; force the order to land it all the same.");
        Err(EnqueueError::Refused { guard: Guard::Late, why })
    }

    /// A rollback stops what runs and holds the service from now on.
    fn take_over(&mut self, asked: &Asked, id: &DeploymentId, now_ms: i64, changes: &mut Changes) -> Option<DeploymentId> {
        let service = &asked.order.service;
        self.holds.insert(service.clone(), (id.to_string(), now_ms));
        changes.held.push((service.clone(), id.clone(), asked.limits.hold_ms.map(|ms| now_ms + ms)));
        let running = self.running.get(service)?.clone();
        changes.stopped.push((running.clone(), id.clone()));
        Some(running)
    }
}
