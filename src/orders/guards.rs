//! What is asked when an order's turn comes, before anything is touched: the order may have waited long, and the world may have
//! moved on since it was accepted.

use std::time::Duration;

use crate::landing::Objection;
use crate::model::Guard;
use crate::model::OrderKind;
use crate::store::Deployment;
use crate::store::Hold;

/// What the guards at the turn judge by.
pub(super) struct Turn<'a> {
    pub(super) deployment: &'a Deployment,
    /// How long an order may wait.
    pub(super) max_wait: Duration,
    /// What holds the service now.
    pub(super) hold: Option<&'a Hold>,
    pub(super) now_ms: i64,
}

/// What speaks against the order at its turn. Only what CI asks for is asked about: an operator knows what he does.
pub(super) fn at_the_turn(turn: &Turn<'_>) -> Option<Objection> {
    let Turn { deployment: Deployment { order, attempts, created_ms, .. }, max_wait, hold, now_ms } = turn;
    if order.kind != OrderKind::Deploy {
        return None;
    }
    let waited_ms = now_ms - created_ms;
    if *attempts == 1 && waited_ms > max_wait.as_millis() as i64 {
        let why = format!("the order waited {} s, longer than max_wait_s = {}.", waited_ms / 1000, max_wait.as_secs());
        return Some(Objection { guard: Guard::Age, why });
    }
    let hold = hold.filter(|_| !order.force && !order.dry_run)?;
    let why =
        format!("the rollback {} holds {}; `tagalong resume {}` lets CI deploy again.", hold.deployment, order.service, order.service);
    Some(Objection { guard: Guard::Held, why })
}
