//! The facts about a batch of orders, and the decisions: one after the other in the order of arrival, each with the changes of those before
//! it. Nothing here uses the database; the decisions are written together afterwards.

use std::collections::HashMap;

use crate::clock;
use crate::model::Approved;
use crate::model::DeploymentId;
use crate::model::OrderKind;
use crate::model::Refusal;
use crate::model::ServiceName;
use crate::store::AtTheDoor;
use crate::store::Hold;
use crate::store::HoldKind;
use crate::store::Landed;
use crate::store::OrderError;
use crate::store::Releases;
use crate::store::Taken;
use crate::store::Waits;
use crate::store::Wanted;
use crate::store::orders::Accepted;
use crate::store::orders::Asked;
use crate::store::orders::Delivery;

/// The facts about the services of a batch.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The newest id. The next id is greater, even if the clock was set back.
    pub(super) last_id: Option<DeploymentId>,
    /// How many orders of all services are waiting.
    pub(super) waiting: i64,
    /// The waiting order of a service.
    pub(super) waits: HashMap<ServiceName, Waits>,
    /// The running deployment of a service.
    pub(super) running: HashMap<ServiceName, DeploymentId>,
    /// The hold of a service.
    pub(super) holds: HashMap<ServiceName, Hold>,
    /// The newest verified deployment of a service that has a run number.
    pub(super) landed: HashMap<ServiceName, Landed>,
    /// What the record says about releases, for those orders of the batch that refer to a recorded release; the key is the order's index.
    pub(super) releases: HashMap<usize, Releases>,
    /// What the record has of the ids that another tagalong has given; the key is the order's index.
    pub(super) given: HashMap<usize, Given>,
    /// Body and deployment of those deliveries that came before, by caller and id.
    pub(super) came_before: HashMap<(String, String), (String, String)>,
}

/// What the record has of an id that another tagalong has given.
#[derive(Debug, Clone)]
pub(super) struct Given {
    /// Whether the order came before.
    pub(super) is_known: bool,
    /// The newest deployment of the service.
    pub(super) newest: Option<DeploymentId>,
}

/// What must be written.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// The new deployments.
    pub(super) new: Vec<New>,
    /// Orders of earlier batches that were superseded, and by which deployment.
    pub(super) superseded: Vec<(DeploymentId, DeploymentId)>,
    /// Services that are held from now on: by which deployment, and until when (ms since 1970).
    pub(super) held: Vec<(ServiceName, DeploymentId, Option<i64>)>,
    /// Running deployments that must stop, and the rollback that needs this.
    pub(super) stopped: Vec<(DeploymentId, DeploymentId)>,
}

/// A deployment that must be written.
#[derive(Debug)]
pub(super) struct New {
    pub(super) id: DeploymentId,
    /// The order and its images.
    pub(super) taken: Taken,
    /// Whether it waits for somebody's approval.
    pub(super) is_unapproved: bool,
    /// What another tagalong has approved of it.
    pub(super) approved: Option<Approved>,
    /// The order's index in the batch.
    pub(super) at: usize,
    pub(super) superseded_by: Option<DeploymentId>,
}

impl Ledger {
    /// Decides about `asked`, the order with the index `at` in its batch.
    pub(super) fn decide(&mut self, at: usize, asked: &Asked, now_ms: i64, changes: &mut Changes) -> Result<Accepted, OrderError> {
        let order = &asked.order;
        if let Some(id) = self.first_answer(asked.delivery.as_ref())? {
            return Ok(Accepted { id, repeated: true, tag: None, superseded: None, preempted: None });
        }
        if let Some(accepted) = self.came_with_its_id(at, asked, changes)? {
            return Ok(accepted);
        }
        let waits = self.waits.get(&order.service).cloned();
        let taken = (asked.terms.door)(AtTheDoor {
            order,
            wanted: &asked.wanted,
            terms: &asked.terms,
            releases: self.releases.remove(&at).unwrap_or_default(),
            hold: self.holds.get(&order.service),
            landed: self.landed.get(&order.service),
            waits: waits.as_ref(),
            waiting: self.waiting,
            now_ms,
        })?;
        let is_unapproved = asked.terms.awaits_approval;
        let id = asked.terms.given.clone().unwrap_or_else(|| DeploymentId::after(self.last_id.as_ref(), clock::new_id()));
        self.last_id = self.last_id.take().max(Some(id.clone()));
        if let Some(old) = &waits {
            match changes.new.iter_mut().find(|new| new.id == old.id) {
                Some(new) => new.superseded_by = Some(id.clone()),
                None => changes.superseded.push((old.id.clone(), id.clone())),
            }
        } else {
            self.waiting += 1;
        }
        self.waits.insert(order.service.clone(), Waits { id: id.clone(), kind: order.kind, is_unapproved });
        let tag = taken.order.tag.clone();
        // What the record has is landed as it is there.
        let approved = asked.terms.approved.clone().filter(|_| taken.images.is_empty());
        changes.new.push(New { id: id.clone(), taken, at, is_unapproved, approved, superseded_by: None });
        let preempted =
            if order.kind == OrderKind::Rollback && !is_unapproved { self.take_over(asked, &id, now_ms, changes) } else { None };
        if let Some(Delivery { caller, id: delivery, body_sha256 }) = &asked.delivery {
            self.came_before.insert((caller.clone(), delivery.clone()), (body_sha256.clone(), id.to_string()));
        }
        Ok(Accepted { id, repeated: false, tag, superseded: waits.map(|old| old.id), preempted })
    }

    /// The first answer to an order that was given its id elsewhere; none: it did not come before. What came to the service meanwhile
    /// is newer, and an older order takes nobody's place.
    fn came_with_its_id(&self, at: usize, asked: &Asked, changes: &Changes) -> Result<Option<Accepted>, OrderError> {
        let Some((id, given)) = asked.terms.given.as_ref().zip(self.given.get(&at)) else { return Ok(None) };
        if given.is_known || changes.new.iter().any(|new| new.id == *id) {
            return Ok(Some(Accepted { id: id.clone(), repeated: true, tag: None, superseded: None, preempted: None }));
        }
        let of_batch = changes.new.iter().filter(|new| new.taken.order.service == asked.order.service).map(|new| &new.id).max();
        match given.newest.as_ref().max(of_batch) {
            Some(newest) if newest > id => Err(Refusal::Newer { service: asked.order.service.clone(), newest: newest.clone() }.into()),
            _ => Ok(None),
        }
    }

    fn first_answer(&self, delivery: Option<&Delivery>) -> Result<Option<DeploymentId>, OrderError> {
        let Some(delivery) = delivery else { return Ok(None) };
        let Some((body_sha256, deployment)) = self.came_before.get(&(delivery.caller.clone(), delivery.id.clone())) else {
            return Ok(None);
        };
        delivery.answer(body_sha256, deployment)
    }

    /// Lets the rollback `id` hold its service, unless it only undoes, and stop the service's running deployment, which is returned.
    fn take_over(&mut self, asked: &Asked, id: &DeploymentId, now_ms: i64, changes: &mut Changes) -> Option<DeploymentId> {
        let service = &asked.order.service;
        if !matches!(asked.wanted, Wanted::Before(_)) {
            let until_ms = asked.terms.hold_ms.map(|ms| now_ms + ms);
            self.holds.insert(service.clone(), Hold { kind: HoldKind::Rollback, by: id.to_string(), since_ms: now_ms, until_ms });
            changes.held.push((service.clone(), id.clone(), until_ms));
        }
        let running = self.running.get(service)?.clone();
        changes.stopped.push((running.clone(), id.clone()));
        Some(running)
    }
}
