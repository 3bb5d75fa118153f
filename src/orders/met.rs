//! What an order of CI would meet now, guard by guard, before anybody has ordered anything.

use std::time::Duration;

use tokio::time::Instant;
use tokio::time::timeout_at;

use crate::api::GuardNow;
use crate::api::Says;
use crate::clock;
use crate::config::Admission;
use crate::config::Config;
use crate::config::Freeze;
use crate::config::RefPattern;
use crate::config::Service;
use crate::config::WhichChecks;
use crate::model::Guard;
use crate::orders::freeze;
use crate::orders::freeze::Force;

/// How long a disk has for the holidays of one freeze, however long what came before it took.
const MOMENT: Duration = Duration::from_millis(250);

/// What the guards would say to an order of CI for the service; `held` is why its orders are refused anyway.
pub(super) async fn guards(config: &Config, service: &Service, held: Option<&str>, until: Instant) -> Vec<GuardNow> {
    let mut all = Vec::new();
    if let Some(held) = held {
        all.push(GuardNow { guard: Guard::Held, says: Says::Refuses, why: held.to_owned() });
    }
    for freeze in config.freezes_of(service) {
        let now_ms = clock::now_ms();
        let looked = timeout_at(until.max(Instant::now() + MOMENT), freeze::force(freeze, now_ms)).await;
        let force = looked.unwrap_or_else(|_| Force::Unknown("Its holidays could not be read in time.".to_owned()));
        let last_ms = now_ms.saturating_add(i64::try_from(service.max_wait.as_millis()).unwrap_or(i64::MAX));
        all.push(frozen(freeze, &force, last_ms));
    }
    all.extend(service.source.iter().flat_map(|source| of_the_source(&source.admission)));
    all
}

/// `last_ms`: until when an order that came now might wait.
fn frozen(freeze: &Freeze, force: &Force, last_ms: i64) -> GuardNow {
    let now = |says: Says, why: String| GuardNow { guard: Guard::Frozen, says, why };
    match (force, freeze::in_force(freeze, force)) {
        (Force::Closed(_, Some(end)), Some(why)) if freeze.waits && end.as_millisecond() <= last_ms => now(Says::Waits, why),
        (_, Some(why)) => now(Says::Refuses, why),
        (Force::Open(Some(next)), None) => {
            let from = next.zone.shown(next.from);
            now(Says::Passes, format!("The freeze {} ({}) begins {from}.", freeze.id, next.name))
        }
        (_, None) => now(Says::Passes, format!("The freeze {} does not begin within a week.", freeze.id)),
    }
}

/// What depends on the order.
fn of_the_source(admission: &Admission) -> Vec<GuardNow> {
    let asks = |guard: Guard, why: String| GuardNow { guard, says: Says::Asks, why };
    let mut all = Vec::new();
    if !admission.refs.is_empty() {
        let refs: Vec<&str> = admission.refs.iter().map(RefPattern::as_str).collect();
        all.push(asks(Guard::Ref, format!("Only {} may be deployed.", refs.join(", "))));
    }
    if !admission.actors.is_empty() {
        all.push(asks(Guard::Actor, format!("Only {} may order a deployment.", admission.actors.join(", "))));
    }
    all.extend(admission.checks.as_ref().map(|required| {
        let which = match &required.which {
            WhichChecks::Named(names) => names.join(", "),
            WhichChecks::Protected => "those that the branch protection requires".to_owned(),
        };
        asks(Guard::Checks, format!("The checks of the commit must be green: {which}."))
    }));
    all
}
