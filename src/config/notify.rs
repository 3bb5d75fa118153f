//! Who is told what happened.

use std::collections::BTreeMap;
use std::sync::Arc;

use text::Secret;

use crate::config::NotifyTo;
use crate::config::QuietHours;
use crate::config::Service;
use crate::config::notify_to::KINDS;
use crate::config::notify_to::read_to;
use crate::config::reader::Section;
use crate::model::Event;
use crate::model::EventKind;
use crate::model::KeyId;
use crate::model::ServiceName;

/// A way to tell people what happened.
#[derive(Debug, Clone)]
pub struct Notify {
    /// Its name, which stands in records.
    pub id: KeyId,
    /// Where it leads.
    pub to: NotifyTo,
    /// What is told.
    pub events: Vec<EventKind>,
    /// About which services; none: about all of them, and about what belongs to no single one.
    pub services: Option<Vec<ServiceName>>,
    /// When nothing is told; it is told afterwards.
    pub quiet: Option<QuietHours>,
}

impl Notify {
    pub(super) fn read(mut from: Section, secrets: &mut Vec<Secret>) -> Option<Self> {
        let id = from.needed("id", "every notifier needs an id, which appears in records and messages.", KeyId::parse);
        if !from.has("kind") {
            let words: Vec<&str> = KINDS.iter().map(|(word, _)| *word).collect();
            from.problem("kind", format!("every notifier needs a kind: one of {}.", words.join(", ")));
        }
        let has_kind = from.has("kind");
        let kind = from.choice("kind", &KINDS);
        let events = read_events(&mut from);
        let services = read_services(&mut from);
        if services.is_some() && events.iter().all(|kind| *kind == EventKind::Parked) && !events.is_empty() {
            from.problem("services", "parked data belongs to no service, so this notifier would never be used; leave services out.");
        }
        let quiet = from.parsed("quiet_hours", QuietHours::parse);
        let to = if has_kind { read_to(kind, &mut from, secrets) } else { None };
        if has_kind {
            from.finish();
        }
        Some(Self { id: id?, to: to?, events, services, quiet })
    }

    /// Whether `event` is told here.
    #[must_use]
    pub fn wants(&self, event: &Event) -> bool {
        let is_about = |services: &Vec<ServiceName>| event.service.as_ref().is_some_and(|service| services.contains(service));
        self.events.contains(&event.name.kind) && self.services.as_ref().is_none_or(is_about)
    }
}

fn read_events(from: &mut Section) -> Vec<EventKind> {
    if !from.has("events") {
        // The key is known, whether it is there or not.
        let _ = from.texts("events");
        return EventKind::ALL.into_iter().filter(|kind| kind.is_news()).collect();
    }
    if from.is_empty_list("events") {
        let words: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
        from.problem("events", format!("no event would reach this notifier; name some of {}, or leave the key out.", words.join(", ")));
    }
    from.list("events", EventKind::parse)
}

fn read_services(from: &mut Section) -> Option<Vec<ServiceName>> {
    let is_there = from.has("services");
    if from.is_empty_list("services") {
        from.problem("services", "no event would reach this notifier; name some services, or leave the key out to mean all of them.");
    }
    let services = from.list("services", ServiceName::parse);
    is_there.then_some(services)
}

/// The notifiers: each has a name of its own, and the services that it is for are there.
pub(super) fn read_notifiers(
    root: &mut Section,
    secrets: &mut Vec<Secret>,
    services: &BTreeMap<ServiceName, Arc<Service>>,
) -> Vec<Arc<Notify>> {
    let notifiers: Vec<Notify> = root.sections("notify").into_iter().filter_map(|section| Notify::read(section, secrets)).collect();
    for (at, notifier) in notifiers.iter().enumerate() {
        let id = &notifier.id;
        if notifiers[..at].iter().any(|earlier| earlier.id == *id) {
            root.problem("notify", format!("two notifiers have the id {id}; records name a notifier by its id, so each needs its own."));
        }
        for name in notifier.services.iter().flatten().filter(|name| !services.contains_key(name)) {
            root.problem("notify", format!("the notifier {id} is for the service {name}, but there is no [service.{name}]."));
        }
    }
    notifiers.into_iter().map(Arc::new).collect()
}
