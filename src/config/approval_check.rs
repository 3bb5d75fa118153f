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
                let why = "set server.public_url for the form, or give the [[person]] uids, users, or a key with the scope";
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
        // What a user may do stands in the store.
        has_form || has_socket || !person.users.is_empty() || self.with(Verb::Approve, service).any(|key| person.keys.contains(&key.id))
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;
    use crate::model::Caller;
    use crate::model::KeyId;
    use crate::model::Order;
    use crate::model::OrderKind;
    use crate::model::ServiceName;
    use crate::model::UserName;

    const PEOPLE: &str = "[[person]]\nid = \"ada\"\nactors = [\"ada\"]\nkeys = [\"ops\"]\nusers = [\"ada.l\"]\nnotify = \"a\"\n\
                          [[person]]\nid = \"bob\"\nemails = [\"bob@example.com\"]\nuids = [7]\nnotify = \"b\"\n";

    /// The configuration with these lines of the approval, these people, and a key for CI and one of ada's.
    fn read(approval: &str, people: &str, more: &str) -> Result<Config, Vec<String>> {
        let folder = tempfile::tempdir().expect("a folder");
        for (key, byte) in [("ci", 'a'), ("ops", 'b'), ("hook", 'c')] {
            let secret = format!("whsec_{}{}", byte.to_string().repeat(31), "d".repeat(9));
            std::fs::write(folder.path().join(format!("{key}.secret")), secret).expect("a file");
        }
        let notify = |id: &str| {
            format!(
                "[[notify]]\nid = \"{id}\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:1/{id}\"\nsecret_file = \"hook.secret\"\nevents = []\n"
            )
        };
        let text = format!(
            "version = 1\n[server]\nsocket = \"s\"\ndata_dir = \"data\"\npublic_url = \"https://tagalong.example.com\"\n\
             [[key]]\nid = \"ops\"\nsecret_file = \"ops.secret\"\nscopes = [\"deploy:web\", \"approve:web\"]\n\
             {more}\n{people}\n{}{}[service.web]\ndir = \"web\"\nproject = \"web\"\nimage = \"example.com/web\"\nvariable = \"TAG\"\n\
             [service.web.approval]\n{approval}\n",
            notify("a"),
            notify("b"),
        );
        Config::read(&text, Path::new("tagalong.toml"), folder.path()).map_err(|error| error.problems)
    }

    const CI: &str = "[[key]]\nid = \"ci\"\nsecret_file = \"ci.secret\"\nscopes = [\"deploy:web\"]\n";
    const BOTH: &str = "approvers = [\"ada\", \"bob@example.com\"]";

    #[test]
    fn an_approval_that_nobody_can_give_is_refused() {
        for good in [BOTH, "approvers = [\"key:ops\", \"local:7\"]\nneeded = 2\norders = \"ci\"\nrollbacks = true\nexpires_s = 60"] {
            assert_eq!(read(good, PEOPLE, CI).err(), None, "{good}");
        }
        let without_notify = PEOPLE.replace("notify = \"b\"", "");
        let shared = PEOPLE.replace("notify = \"b\"", "notify = \"a\"");
        let twice = PEOPLE.replace("uids = [7]", "uids = [7]\nactors = [\"Ada\"]");
        for (approval, people, more, part) in [
            ("approvers = [\"eve\"]", PEOPLE, CI, "\"eve\" is nobody"),
            ("", PEOPLE, CI, "1 people must approve, but only 0 may"),
            ("approvers = [\"ada\"]\nneeded = 2", PEOPLE, CI, "2 people must approve, but only 1 may"),
            ("approvers = [\"ada\", \"key:ops\"]", PEOPLE, CI, "ada is named twice"),
            (BOTH, &without_notify, CI, "bob cannot be sent a code"),
            (BOTH, &shared, CI, "ada and bob are reached by the same"),
            (BOTH, &twice, CI, "the actor ada stands with ada and with bob"),
            // Only ada's key may order, and only ada may approve.
            ("approvers = [\"ada\"]", PEOPLE, "", "only ada may order a deployment"),
        ] {
            let problems = read(approval, people, more).err().unwrap_or_default();
            assert!(problems.iter().any(|problem| problem.contains(part)), "{part}: {problems:#?}");
        }
    }

    #[test]
    fn nobody_approves_an_order_of_their_own_by_whichever_name() {
        let config = read(BOTH, PEOPLE, CI).expect("a configuration");
        let web = ServiceName::parse("web").expect("a name");
        let approval = config.services[&web].approval.as_ref().expect("an approval");
        let key = |id: &str| Caller::Key(KeyId::parse(id).expect("an id"));
        let hub = || KeyId::parse("hub").expect("an id");
        let user = |name: &str| Caller::User(UserName::parse(name).expect("a name"));
        for (caller, actor, able) in [
            (key("ci"), None, &["ada", "bob"][..]),
            (key("ops"), None, &["bob"]),
            (user("ada.l"), None, &["bob"]),
            // Whoever logged in by a forge is who has that name there.
            (user("ada@hub"), None, &["bob"]),
            (user("ada"), None, &["ada", "bob"]),
            (user("ada.l@hub"), None, &["ada", "bob"]),
            (Caller::Local(7), None, &["ada"]),
            (Caller::Local(8), None, &["ada", "bob"]),
            (Caller::Oidc(hub()), Some("ADA"), &["bob"]),
            (Caller::Forge(hub()), Some("eve"), &["ada", "bob"]),
            (Caller::Local(7), Some("ada"), &[]),
        ] {
            let order = Order { actor: actor.map(str::to_owned), ..Order::new(OrderKind::Deploy, web.clone(), caller) };
            let found: Vec<&str> = approval.able(&order, &config.people).iter().map(|person| person.id.as_str()).collect();
            assert_eq!(found, able, "{order:?}");
        }
    }

    #[test]
    fn orders_of_ci_are_those_of_nobody_in_particular() {
        let is_for = |approval: &str, order: &Order| {
            let config = read(&format!("{BOTH}\n{approval}"), PEOPLE, CI).expect("a configuration");
            config.services[&order.service].approval.as_ref().expect("an approval").is_for(order, &config.people)
        };
        let web = || ServiceName::parse("web").expect("a name");
        let by = |kind: OrderKind, caller: Caller| Order::new(kind, web(), caller);
        let key = |id: &str| Caller::Key(KeyId::parse(id).expect("an id"));
        for (caller, is_ci) in
            [(key("ci"), true), (Caller::Oidc(KeyId::parse("x").expect("an id")), true), (key("ops"), false), (Caller::Local(0), false)]
        {
            let order = by(OrderKind::Deploy, caller);
            assert_eq!((is_for("", &order), is_for("orders = \"ci\"", &order)), (true, is_ci), "{order:?}");
            // It lands nothing; and force replaces no approval.
            assert!(!is_for("", &Order { dry_run: true, ..order.clone() }) && is_for("", &Order { force: true, ..order }));
        }
        for (kind, default, with_rollbacks) in
            [(OrderKind::Rollback, false, true), (OrderKind::Adopt, false, false), (OrderKind::Repair, false, false)]
        {
            let order = by(kind, key("ci"));
            assert_eq!((is_for("", &order), is_for("rollbacks = true", &order)), (default, with_rollbacks), "{kind:?}");
        }
    }
}
