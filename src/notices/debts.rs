//! Debts that stay: what others were to be told and have not had for long.

use crate::model::Event;
use crate::model::EventKind;
use crate::model::EventName;
use crate::model::Lane;
use crate::model::ServiceName;
use crate::store::LongOwed;

/// What is told of a receiver that has not had something for long, at `now_ms`.
pub(super) fn stays(owed: &LongOwed, now_ms: i64) -> Event {
    let minutes = (now_ms - owed.since_ms) / 60_000;
    let receiver = &owed.receiver;
    let of = format!("{} {receiver} {}", owed.lane, owed.since_ms);
    // The place at a forge ends with the name of the service.
    let service = match &owed.lane {
        Lane::Forges => receiver.rsplit(' ').next().and_then(|name| ServiceName::parse(name).ok()),
        Lane::Peers { .. } | Lane::Notifiers => None,
    };
    let (what, next) = match &owed.lane {
        Lane::Peers { dataset, .. } => {
            let next = format!("tagalong data status {dataset}");
            (format!("The peer {receiver} has not been told about new data of {dataset} for {minutes} min."), next)
        }
        Lane::Forges => {
            let next = service.as_ref().map_or_else(|| "tagalong status".to_owned(), |service| format!("tagalong status {service}"));
            (format!("The forge has not been told results of {receiver} for {minutes} min."), next)
        }
        Lane::Notifiers => {
            let next = format!("tagalong notify test {receiver}");
            (format!("The notifier {receiver} has not delivered a message for {minutes} min."), next)
        }
    };
    let why = owed.why.clone().unwrap_or_default();
    Event { name: EventName { kind: EventKind::Debt, of }, service, at_ms: now_ms, what, why, next: Some(next) }
}

/// The notifier that an event is about.
pub(super) fn notifier_of(name: &EventName) -> Option<&str> {
    let (lane, rest) = name.of.split_once(' ').filter(|_| name.kind == EventKind::Debt)?;
    let (receiver, _) = rest.rsplit_once(' ').filter(|_| Lane::parse(lane) == Ok(Lane::Notifiers))?;
    Some(receiver)
}
