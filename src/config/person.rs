//! People: which callers, users, names at forges and e-mail addresses are one person, so that "somebody else" means somebody else.

use std::collections::BTreeMap;

use crate::config::Key;
use crate::config::ScopedSocket;
use crate::config::reader::Section;
use crate::model::Caller;
use crate::model::KeyId;
use crate::model::Order;
use crate::model::UserName;
use crate::model::is_actor;

/// A person of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The name in records.
    pub id: KeyId,
    /// The names at forges.
    pub actors: Vec<String>,
    /// The e-mail addresses; messages go to the first of them.
    pub emails: Vec<String>,
    /// The keys, and further sockets, that this person alone uses.
    pub keys: Vec<KeyId>,
    /// The users on the host, by number.
    pub uids: Vec<u32>,
    /// The users of the dashboard.
    pub users: Vec<UserName>,
    /// The `[[notify]]` by which this person alone is reached.
    pub notify: Option<KeyId>,
}

impl Person {
    pub(super) fn read(mut from: Section) -> Option<Self> {
        let id = from.needed("id", "every person needs an id, which appears in records.", KeyId::parse);
        let actors = from.list("actors", actor);
        let emails = from.list("emails", email);
        let keys = from.list("keys", KeyId::parse);
        let uids = read_uids(&mut from);
        let users = from.list("users", UserName::parse);
        let notify = from.parsed("notify", KeyId::parse);
        from.finish();
        Some(Self { id: id?, actors, emails, keys, uids, users, notify })
    }

    /// Whether this is who calls.
    #[must_use]
    pub fn is_caller(&self, caller: &Caller) -> bool {
        match caller {
            Caller::Key(id) => self.keys.contains(id),
            Caller::Local(uid) => self.uids.contains(uid),
            Caller::User(name) => self.users.contains(name),
            _ => false,
        }
    }

    /// Everything that this person is known by, as one writes it.
    fn identities(&self) -> impl Iterator<Item = String> {
        let actors = self.actors.iter().map(|actor| format!("the actor {}", actor.to_ascii_lowercase()));
        let emails = self.emails.iter().map(|email| email.to_ascii_lowercase());
        let keys = self.keys.iter().map(|id| Caller::Key(id.clone()).to_string());
        let uids = self.uids.iter().map(|uid| Caller::Local(*uid).to_string());
        let users = self.users.iter().map(|name| Caller::User(name.clone()).to_string());
        std::iter::once(self.id.to_string()).chain(actors).chain(emails).chain(keys).chain(uids).chain(users)
    }
}

/// Everybody in the configuration.
#[derive(Debug, Clone, Default)]
pub struct People(Vec<Person>);

impl People {
    /// The people of `[[person]]`; nobody may be two of them.
    pub(super) fn read(root: &mut Section, keys: &[Key], sockets: &[ScopedSocket]) -> Self {
        let callers: Vec<&KeyId> = keys.iter().chain(sockets.iter().map(|socket| &socket.key)).map(|key| &key.id).collect();
        let people: Vec<Person> = root.sections("person").into_iter().filter_map(Person::read).collect();
        let mut seen: BTreeMap<String, &KeyId> = BTreeMap::new();
        for person in &people {
            for identity in person.identities() {
                if let Some(other) = seen.insert(identity.clone(), &person.id) {
                    let why = "an order must be one person's alone to be approved by another";
                    root.problem("person", format!("{identity} stands with {other} and with {}: {why}.", person.id));
                }
            }
            for missing in person.keys.iter().filter(|id| !callers.contains(id)) {
                root.problem("person", format!("{} has the key {missing}, but there is no [[key]] or [[socket]] of that id.", person.id));
            }
        }
        Self(people)
    }

    /// Who is meant by `word`: an id, an e-mail address, `key:ID`, `local:UID` or `user:NAME`.
    #[must_use]
    pub fn named(&self, word: &str) -> Option<&Person> {
        let is_meant = |person: &&Person| {
            let by_caller = Caller::parse(word).is_ok_and(|caller| person.is_caller(&caller));
            person.id.as_str() == word || by_caller || person.emails.iter().any(|email| email.eq_ignore_ascii_case(word))
        };
        self.0.iter().find(is_meant)
    }

    /// The person of that id.
    #[must_use]
    pub fn get(&self, id: &KeyId) -> Option<&Person> {
        self.0.iter().find(|person| person.id == *id)
    }

    /// Everybody's id.
    pub fn ids(&self) -> impl Iterator<Item = &KeyId> {
        self.0.iter().map(|person| &person.id)
    }

    /// Who calls; none: nobody that the configuration names.
    #[must_use]
    pub fn calling(&self, caller: &Caller) -> Option<&Person> {
        self.0.iter().find(|person| person.is_caller(caller))
    }

    /// Who is `actor` at a forge.
    #[must_use]
    pub fn at_forge(&self, actor: &str) -> Option<&Person> {
        self.0.iter().find(|person| person.actors.iter().any(|mine| mine.eq_ignore_ascii_case(actor)))
    }

    /// Whether `person` is behind `order`: by the caller, or by who a forge has proven, of its job or of a user who logged in by it.
    #[must_use]
    pub fn is_behind(&self, person: &Person, order: &Order) -> bool {
        let login = if let Caller::User(name) = &order.caller { name.login_at_forge() } else { None };
        let is_actor = |actor: &str| self.at_forge(actor).is_some_and(|actor| actor.id == person.id);
        person.is_caller(&order.caller) || order.actor.as_deref().is_some_and(is_actor) || login.is_some_and(is_actor)
    }
}

fn read_uids(from: &mut Section) -> Vec<u32> {
    let Some(value) = from.value("uids") else { return Vec::new() };
    let uid = |item: &toml::Value| item.as_integer().and_then(|uid| u32::try_from(uid).ok());
    let uids: Option<Vec<u32>> = value.as_array().and_then(|list| list.iter().map(uid).collect());
    uids.unwrap_or_else(|| {
        from.problem("uids", "it must be a list of numbers of users, as `id -u` shows them.");
        Vec::new()
    })
}

fn actor(text: &str) -> Result<String, String> {
    if is_actor(text) { Ok(text.to_owned()) } else { Err(format!("\"{}\" is not the name of a user at a forge.", text.escape_default())) }
}

fn email(text: &str) -> Result<String, String> {
    let is_part = |part: &str| !part.is_empty() && !part.chars().any(|c| c.is_whitespace() || c.is_control() || "<>,;\"@".contains(c));
    let is_email = text.len() <= 254 && text.split_once('@').is_some_and(|(user, host)| is_part(user) && is_part(host));
    if is_email { Ok(text.to_owned()) } else { Err(format!("\"{}\" is not an e-mail address.", text.escape_default())) }
}
