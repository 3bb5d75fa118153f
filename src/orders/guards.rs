//! Whether an order is taken, and whether it is carried out when its turn comes: by facts alone.

use std::time::Duration;

use crate::clock;
use crate::model::Order;
use crate::model::OrderKind;
use crate::model::Refusal;
use crate::store::AtTheDoor;
use crate::store::Hold;
use crate::store::HoldKind;
use crate::store::Landed;
use crate::store::Turn;

/// Whether an order is taken that was not taken before.
///
/// # Errors
/// Why it is not.
pub fn at_the_door(facts: &AtTheDoor<'_>) -> Result<(), Refusal> {
    is_allowed_tag(facts)?;
    if is_of_ci(facts.order) {
        is_held(facts.order, facts.hold, facts.now_ms)?;
        is_late(facts.order, facts.landed)?;
    }
    has_a_place(facts)
}

/// Whether an order is carried out at its turn: it may have waited long, and the world may have moved on since it was taken.
pub(super) fn at_the_turn(turn: &Turn, max_wait: Duration, now_ms: i64) -> Result<(), Refusal> {
    let deployment = &turn.deployment;
    let waited_ms = now_ms - deployment.created_ms;
    // An operator knows what he does, and what has begun already has had its turn.
    if deployment.order.kind == OrderKind::Deploy && deployment.attempts == 1 && waited_ms > max_wait.as_millis() as i64 {
        return Err(Refusal::Age { waited_s: waited_ms / 1000, most_s: max_wait.as_secs() });
    }
    if is_of_ci(&deployment.order) { is_held(&deployment.order, turn.hold.as_ref(), now_ms) } else { Ok(()) }
}

/// What CI asks for by itself: nobody has said that it overrules anybody, and it is to change something.
fn is_of_ci(order: &Order) -> bool {
    order.kind == OrderKind::Deploy && !order.force && !order.dry_run
}

/// A tag that is taken from the registry must be one that may be landed; one from the record was.
fn is_allowed_tag(facts: &AtTheDoor<'_>) -> Result<(), Refusal> {
    let AtTheDoor { order, terms, .. } = facts;
    let service = || order.service.clone();
    if order.kind == OrderKind::Deploy && order.digest.is_some() && terms.pins > 1 {
        return Err(Refusal::ManyImages(service()));
    }
    match (&terms.tag_pattern, &order.tag) {
        (Some(pattern), Some(tag)) if !facts.is_recorded && !pattern.is_match(tag.as_str()) => {
            Err(Refusal::TagPattern { tag: tag.clone(), pattern: pattern.as_str().to_owned(), service: service() })
        }
        _ => Ok(()),
    }
}

fn is_held(order: &Order, hold: Option<&Hold>, now_ms: i64) -> Result<(), Refusal> {
    let Some(hold) = hold.filter(|hold| hold.holds_at(now_ms)) else { return Ok(()) };
    let (service, by, since) = (order.service.clone(), hold.by.clone(), clock::utc(hold.since_ms));
    Err(match hold.kind {
        HoldKind::Rollback => Refusal::Held { service, by, since },
        HoldKind::NeedsOperator => Refusal::NeedsOperator { service, by, since },
    })
}

fn is_late(order: &Order, landed: Option<&Landed>) -> Result<(), Refusal> {
    match (order.run_number, landed) {
        (Some(mine), Some(landed)) if mine < landed.run_number => {
            Err(Refusal::Late { mine, live: landed.run_number, by: landed.by.clone() })
        }
        _ => Ok(()),
    }
}

/// What changes nothing takes nobody's place, and CI takes no operator's.
fn has_a_place(facts: &AtTheDoor<'_>) -> Result<(), Refusal> {
    let AtTheDoor { order, terms, waiting, .. } = facts;
    match facts.waits {
        None if *waiting >= terms.max_waiting => Err(Refusal::Full(*waiting)),
        None => Ok(()),
        Some(_) if order.dry_run || order.kind == OrderKind::Adopt => Err(Refusal::Waiting(order.service.clone())),
        Some(OrderKind::Rollback) if order.kind == OrderKind::Deploy => Err(Refusal::Waiting(order.service.clone())),
        Some(_) => Ok(()),
    }
}
