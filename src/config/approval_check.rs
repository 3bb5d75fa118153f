//! Approvals that nobody could give are refused with the configuration, not when an order waits for one.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::Approval;
use crate::config::Key;
use crate::config::Notify;
use crate::config::NotifyTo;
use crate::config::OidcPolicy;
use crate::config::People;
use crate::config::Person;
use crate::config::ScopedSocket;
use crate::config::Server;
use crate::config::Service;
use crate::config::WebhookAction;
use crate::config::WebhookRule;
use crate::config::reader::Section;
use crate::model::Caller;
use crate::model::Scope;
use crate::model::ServiceName;
use crate::model::Verb;

/// Who can place orders, for finding approvals that nobody could give.
pub(super) struct Callers<'c> {
    pub(super) server: Option<&'c Server>,
    pub(super) keys: &'c [Key],
    pub(super) sockets: &'c [ScopedSocket],
    pub(super) oidc: &'c [OidcPolicy],
    pub(super) hooks: &'c [WebhookRule],
    pub(super) notifiers: &'c [Arc<Notify>],
}

/// Every approval can be given.
pub(super) fn check_approvals(root: &Section, people: &People, services: &BTreeMap<ServiceName, Arc<Service>>, callers: &Callers<'_>) {
    for (service, approval) in services.values().filter_map(|service| Some((service, service.approval.as_ref()?))) {
        let problem = |key: &str, why: String| root.problem(&format!("service.{}.approval.{key}", service.name), why);
        for word in approval.approvers.iter().filter(|word| people.named(word).is_none()) {
            problem(
                "approvers",
                format!("\"{}\" is nobody: name the id of a [[person]], or one of their identities.", word.escape_default()),
            );
        }
        let able: Vec<&Person> = approval.approvers(people).collect();
        if let Some(twice) = able.iter().enumerate().find(|(at, person)| able[..*at].contains(person)) {
            problem("approvers", format!("{} is named twice, but is one person.", twice.1.id));
        }
        for person in &able {
            if person.notifier(callers.notifiers).is_none() {
                let why = "set notify in the [[person]] to the id of a [[notify]] that reaches this person alone";
                problem("approvers", format!("{} cannot be sent a code: {why}, or of one for e-mail, and emails.", person.id));
            }
            let is_shared = |other: &&&Person| other.id != person.id && callers.reach_alike(person, other);
            if let Some(other) = able.iter().find(is_shared) {
                let why = "each would see the other's code; give each a [[notify]] of their own";
                problem("approvers", format!("{} and {} are reached by the same [[notify]]: {why}.", person.id, other.id));
            }
            if !callers.can_answer(person, &service.name) {
                let why = "set server.public_url for the form, or give the [[person]] uids, or a key with the scope";
                problem("approvers", format!("{} has no way to enter a code: {why} approve:{}.", person.id, service.name));
            }
        }
        if able.len() < approval.needed {
            problem("approvers", format!("{} people must approve, but only {} may; name more.", approval.needed, able.len()));
        } else if let Some(why) = callers.leave_nobody(service, approval, people) {
            problem("approvers", why);
        }
    }
}

impl Callers<'_> {
    /// Whether `person` can enter a code for `service`.
    fn can_answer(&self, person: &Person, service: &ServiceName) -> bool {
        let has_form = self.server.is_some_and(|server| server.public_url.is_some());
        let has_socket = self.server.is_some_and(|server| server.socket.is_some()) && !person.uids.is_empty();
        has_form || has_socket || self.with(Verb::Approve, service).any(|key| person.keys.contains(&key.id))
    }

    /// Whether what reaches the one person reaches the other.
    fn reach_alike(&self, one: &Person, other: &Person) -> bool {
        let to = |person: &Person| {
            let plan = person.notifier(self.notifiers)?;
            let address = if let NotifyTo::Email(email) = &plan.to { email.to.first().map(|to| to.email.to_string()) } else { None };
            Some((plan.id.clone(), address))
        };
        to(one).is_some() && to(one) == to(other)
    }

    /// The keys and sockets that may do `verb` to `service`.
    fn with(&self, verb: Verb, service: &ServiceName) -> impl Iterator<Item = &Key> {
        let asked = Scope::on(verb, service);
        let all = self.keys.iter().chain(self.sockets.iter().map(|socket| &socket.key));
        all.filter(move |key| key.scopes.iter().any(|scope| scope.covers(&asked)))
    }

    /// Why nobody could ever approve an order of `service`: whoever may order it is among the approvers, and too few are left. Anybody
    /// on the host itself is not counted.
    fn leave_nobody(&self, service: &Service, approval: &Approval, people: &People) -> Option<String> {
        let mut orderers: Vec<Option<&Person>> = Vec::new();
        orderers.extend(self.with(Verb::Deploy, &service.name).map(|key| people.calling(&Caller::Key(key.id.clone()))));
        let asked = Scope::on(Verb::Deploy, &service.name);
        let is_ordered_by_jobs = self.oidc.iter().any(|policy| policy.scopes.iter().any(|scope| scope.covers(&asked)));
        let is_ordered = |rule: &WebhookRule| matches!(&rule.action, WebhookAction::Deploy(name, _) if *name == service.name);
        if is_ordered_by_jobs || self.hooks.iter().any(is_ordered) {
            let actors = service.source.as_ref().map(|source| source.admission.actors.as_slice()).unwrap_or_default();
            orderers.extend(actors.iter().map(|actor| people.at_forge(actor)));
            orderers.extend(actors.is_empty().then_some(None));
        }
        let able: Vec<&Person> = approval.approvers(people).collect();
        let is_left = |orderer: Option<&Person>| able.iter().filter(|person| Some(**person) != orderer).count() >= approval.needed;
        let (false, None) = (orderers.is_empty(), orderers.iter().find(|orderer| is_left(**orderer))) else { return None };
        let mut names: Vec<&str> = orderers.iter().flatten().map(|person| person.id.as_str()).collect();
        names.dedup();
        Some(format!("only {} may order a deployment, and nobody approves an order of their own; name somebody else.", names.join(" and ")))
    }
}
