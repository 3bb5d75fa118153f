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
    // None at all: it is for the codes of approvals.
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

#[cfg(test)]
mod tests {
    use crate::config::check::check;

    const SERVICE: &str = "[service.web]\ndir = \"/srv/web\"\nproject = \"web\"\nimage = \"registry.example.com/acme/web\"\n";
    const HOOK: &str = "url = \"https://hooks.example.com/x\"\nsecret_file = \"hook.secret\"";
    const MAIL: &str = "server = \"smtp.example.com\"\nfrom = \"tagalong@example.com\"\nto = [\"ops@example.com\"]";

    fn problems(tables: &str) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in [
            ("hook.secret", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="),
            ("weak.secret", "whsec_MDEyMw=="),
            ("url", "https://hooks.example.com/secret-part\n"),
            ("clear.url", "http://hooks.example.com/secret-part"),
            ("no.url", "secret-part"),
            ("token", "a-token\n"),
            ("two.token", "a token\n"),
        ] {
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        check(&format!("version = 1\n[server]\n{SERVICE}{tables}"), folder.path()).err().unwrap_or_default()
    }

    fn table(kind: &str, keys: &str) -> String {
        format!("[[notify]]\nid = \"mine\"\nkind = \"{kind}\"\n{keys}\n")
    }

    #[test]
    fn every_kind_is_read() {
        for (kind, keys) in [
            ("webhook", HOOK),
            ("webhook", "url_file = \"url\"\nsecret_file = \"hook.secret\"\nevents = [\"failed\"]\nservices = [\"web\"]"),
            ("webhook", "url = \"http://n8n:5678/x\"\nsecret_file = \"hook.secret\"\nplain_http = true"),
            ("slack", "url_file = \"url\"\nquiet_hours = \"22:00-07:00 Europe/Paris\""),
            ("discord", "url_file = \"url\""),
            ("teams", "url_file = \"url\""),
            ("matrix", "url = \"https://matrix.example.com\"\nroom = \"!abc:example.com\"\ntoken_file = \"token\""),
            ("telegram", "chat = \"-1001\"\ntopic = 7\ntoken_file = \"token\""),
            ("telegram", "chat = \"@channel\"\ntoken_file = \"token\""),
            ("ntfy", "topic = \"ops\""),
            ("gotify", "url = \"http://127.0.0.1:80/push\"\ntoken_file = \"token\""),
            ("email", MAIL),
        ] {
            assert_eq!(problems(&table(kind, keys)), Vec::<String>::new(), "{kind}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_notifier_is_said_by_name() {
        let with = |keys: &str, more: &str| format!("{keys}\n{more}");
        for (kind, keys, part) in [
            ("pager", HOOK.to_owned(), "notify[0].kind: \"pager\" is not one of webhook, slack"),
            ("webhook", with(HOOK, "services = [\"db\"]"), "the notifier mine is for the service db, but there is no [service.db]"),
            ("webhook", with(HOOK, "services = []"), "notify[0].services: no event would reach"),
            ("webhook", with(HOOK, "events = [\"failures\"]"), "notify[0].events: The event \"failures\" is not valid"),
            ("webhook", with(HOOK, "events = [\"parked\"]\nservices = [\"web\"]"), "parked data belongs to no service"),
            ("webhook", with(HOOK, "quiet_hours = \"22:00-07:00\""), "notify[0].quiet_hours: \"22:00-07:00\" does not name"),
            ("webhook", HOOK.replace("https", "http"), "notify[0].url: the address uses plain http"),
            ("webhook", HOOK.replace("hooks.", "me:pw@hooks."), "notify[0].url: the address contains a user or password"),
            ("webhook", HOOK.replace("hook.secret", "weak.secret"), "notify[0].secret_file: the secret has 4 bytes"),
            ("webhook", HOOK.replace("secret_file = \"hook.secret\"", ""), "notify[0].secret_file: a webhook is signed"),
            ("webhook", with(HOOK, "room = \"x\""), "notify[0].room: unknown key"),
            ("slack", "url = \"https://hooks.example.com/x\"".to_owned(), "notify[0].url: whoever knows this address may write there"),
            ("slack", String::new(), "notify[0].url_file: this notifier needs an address"),
            ("discord", "url_file = \"clear.url\"".to_owned(), "notify[0].url_file: the address uses plain http"),
            ("teams", "url_file = \"no.url\"".to_owned(), "notify[0].url_file: the address is not valid"),
            ("matrix", "room = \"#ops:example.com\"".to_owned(), "notify[0].room: \"#ops:example.com\" is not the id of a room"),
            ("matrix", String::new(), "notify[0].token_file: this notifier needs the access token"),
            ("telegram", "chat = \"ops\"\ntoken_file = \"two.token\"".to_owned(), "notify[0].chat: \"ops\" is neither a number"),
            ("telegram", "chat = \"1\"\ntoken_file = \"two.token\"".to_owned(), "notify[0].token_file: it must contain a token"),
            ("ntfy", "topic = \"a b\"".to_owned(), "notify[0].topic: \"a b\" is not a topic"),
            ("gotify", "url = \"http://gotify.example.com\"\ntoken_file = \"token\"".to_owned(), "uses plain http"),
            ("email", MAIL.replace("ops@example.com", "ops"), "notify[0].to: \"ops\" is not an e-mail address"),
            ("email", MAIL.replace("ops@example.com", "a@b.example\\r\\nBcc: x@y.example"), "is not an e-mail address"),
            ("email", MAIL.replace("\"ops@example.com\"", ""), "notify[0].to: e-mail needs at least one receiver"),
            ("email", MAIL.replace("smtp.example.com", "smtp.example.com:25"), "the port has a key of its own"),
            ("email", with(MAIL, "user = \"robot\""), "notify[0].user: a login needs both"),
            ("email", with(MAIL, "user = \"robot\"\npassword_file = \"token\"\nencryption = \"none\""), "a password is only sent over"),
            ("email", with(MAIL, "ca_file = \"none.pem\""), "notify[0].ca_file: it cannot be read"),
        ] {
            let found = problems(&table(kind, &keys));
            assert!(found.iter().any(|problem| problem.contains(part)), "{part} is not in {found:#?}");
            assert!(!found.iter().any(|problem| problem.contains("secret-part")), "{found:#?}");
        }
        let twice = problems(&format!("{0}{0}", table("ntfy", "topic = \"ops\"")));
        assert!(twice.len() == 1 && twice[0].contains("two notifiers have the id mine"), "{twice:#?}");
        assert!(problems("[[notify]]\nkind = \"ntfy\"\ntopic = \"x\"")[0].contains("notify[0].id: every notifier needs an id"));
        assert!(problems("[[notify]]\nid = \"x\"")[0].contains("notify[0].kind: every notifier needs a kind"));
    }
}
