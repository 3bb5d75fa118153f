//! Which agents are here, for everybody who asks: there is no other source. A line is entered when its agent has proven itself, and has left
//! when its [`OpenLine`] is dropped.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use process::Cancel;
use tokio::sync::watch;

use crate::api;
use crate::clock;
use crate::model::AgentName;
use crate::model::PublicKey;
use crate::store::Agent;
use crate::store::Store;

/// How often it is stored that agents are there.
const SEEN_EVERY: Duration = Duration::from_secs(10);
/// After how long without that an agent counts as away.
const SEEN_LATELY: Duration = Duration::from_secs(40);
/// How often servers of one database look whether another one has revoked an agent.
const REVOKED_EVERY: Duration = Duration::from_secs(2);
/// How many earlier processes of an agent are remembered.
const MOST_LIVES: usize = 16;
/// How many openings of an agent are remembered.
const MOST_NONCES: usize = 256;

/// Why a line is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The agent has a newer line.
    Newer,
    /// A person has revoked the agent.
    Revoked,
    /// The server dials a host of that name from now on.
    Dialled,
    /// The server stops.
    Stopping,
}

impl Cut {
    /// What the agent is told.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Newer => "a newer line of this agent took its place",
            Self::Revoked => "this agent was revoked",
            Self::Dialled => "this server dials the host of that name",
            Self::Stopping => "the server stops",
        }
    }
}

/// Why a line is not entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotEntered {
    /// There are as many lines as this server can have.
    Full,
    /// Another process came with the same key in between and is still there: there are two.
    Clone,
}

/// An agent that is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Here {
    /// Since when.
    pub since_ms: i64,
    /// Since when it answers but does not do its part; none: it does.
    pub stuck_ms: Option<i64>,
}

/// Every agent that is here.
#[derive(Debug)]
pub struct Presence {
    held: Mutex<Held>,
    /// How often somebody came, went or got stuck.
    changes: watch::Sender<u64>,
    most: usize,
    is_stopping: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Held {
    next: u64,
    open: BTreeMap<AgentName, Entry>,
    lives: BTreeMap<AgentName, VecDeque<String>>,
    /// The nonces that each agent has opened a line with lately.
    nonces: BTreeMap<AgentName, VecDeque<String>>,
    /// Those that are connected to another server of the same database.
    elsewhere: BTreeSet<AgentName>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    here: Here,
    /// The key that its line was proven with, once that is known to count.
    key: Option<PublicKey>,
    cut: watch::Sender<Option<Cut>>,
}

/// A line that is open.
#[derive(Debug)]
pub struct OpenLine {
    presence: Arc<Presence>,
    name: AgentName,
    number: u64,
    cut: watch::Receiver<Option<Cut>>,
    /// Since when.
    pub since_ms: i64,
}

impl Presence {
    /// Nobody is here, and at most so many may be.
    #[must_use]
    pub fn new(most: usize) -> Arc<Self> {
        let (changes, _) = watch::channel(0);
        let (is_stopping, _) = watch::channel(false);
        Arc::new(Self { held: Mutex::default(), changes, most, is_stopping })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // No code panics while it holds this lock, so the data are consistent.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// The agent is here, by a line of its process `life` that was proven. An older line of it is cut.
    ///
    /// # Errors
    /// [`NotEntered`]; then an older line stays.
    pub fn enter(self: &Arc<Self>, name: &AgentName, life: &str) -> Result<OpenLine, NotEntered> {
        let mut held = self.held();
        if *self.is_stopping.borrow() || (held.open.len() >= self.most && !held.open.contains_key(name)) {
            return Err(NotEntered::Full);
        }
        let is_open = held.open.contains_key(name);
        let lives = held.lives.entry(name.clone()).or_default();
        match lives.iter().position(|known| known == life) {
            // Nobody else came since.
            Some(at) if at + 1 == lives.len() => {}
            Some(_) if is_open => return Err(NotEntered::Clone),
            Some(at) => {
                lives.remove(at);
                lives.push_back(life.to_owned());
            }
            None => lives.push_back(life.to_owned()),
        }
        if lives.len() > MOST_LIVES {
            lives.pop_front();
        }
        let number = held.next;
        held.next += 1;
        let (sender, cut) = watch::channel(None);
        let since_ms = clock::now_ms();
        let entry = Entry { number, here: Here { since_ms, stuck_ms: None }, key: None, cut: sender };
        if let Some(older) = held.open.insert(name.clone(), entry) {
            older.cut.send_replace(Some(Cut::Newer));
        }
        drop(held);
        self.changed();
        Ok(OpenLine { presence: Arc::clone(self), name: name.clone(), number, cut, since_ms })
    }

    /// Whether no line of `name` was opened with `nonce` before, as far as is remembered. From now on one was.
    #[must_use]
    pub fn is_new(&self, name: &AgentName, nonce: &str) -> bool {
        let mut held = self.held();
        let nonces = held.nonces.entry(name.clone()).or_default();
        if nonces.iter().any(|known| known == nonce) {
            return false;
        }
        nonces.push_back(nonce.to_owned());
        if nonces.len() > MOST_NONCES {
            nonces.pop_front();
        }
        true
    }

    /// The lines that are open, each with the key that it was proven with.
    fn proven(&self) -> Vec<(AgentName, u64, Option<PublicKey>)> {
        self.held().open.iter().map(|(name, entry)| (name.clone(), entry.number, entry.key.clone())).collect()
    }

    /// Cuts the lines of `proven` whose keys count no more for `agents`: another server of the same database may have revoked or enrolled
    /// the agent, or the agent has renewed its key there.
    fn cut_without_key(&self, proven: &[(AgentName, u64, Option<PublicKey>)], agents: &[Agent]) {
        for (name, number, key) in proven {
            let agent = agents.iter().find(|agent| agent.name == *name);
            let counts = agent.is_some_and(|agent| agent.revoked_ms.is_none() && key.as_ref().is_none_or(|key| agent.keys.contains(key)));
            if let Some(entry) = self.held().open.get(name).filter(|entry| entry.number == *number && !counts) {
                entry.cut.send_replace(Some(Cut::Revoked));
            }
        }
    }

    /// Whether another line may be begun.
    #[must_use]
    pub fn has_room(&self) -> bool {
        !*self.is_stopping.borrow() && self.held().open.len() < self.most
    }

    /// Cuts the line of `name`, if one is open.
    pub fn cut(&self, name: &AgentName, why: Cut) {
        if let Some(entry) = self.held().open.get(name) {
            entry.cut.send_replace(Some(why));
        }
    }

    /// Cuts every line, and takes no more.
    pub fn stop(&self) {
        self.is_stopping.send_replace(true);
        for entry in self.held().open.values() {
            entry.cut.send_replace(Some(Cut::Stopping));
        }
    }

    /// How `name` is here; none: it is away, as far as this server knows.
    #[must_use]
    pub fn of(&self, name: &AgentName) -> Option<Here> {
        self.held().open.get(name).map(|entry| entry.here)
    }

    /// The agent pings but does not do its part in time, or does again.
    pub fn set_stuck(&self, name: &AgentName, is_stuck: bool) {
        let mut held = self.held();
        let Some(entry) = held.open.get_mut(name) else { return };
        if entry.here.stuck_ms.is_some() != is_stuck {
            entry.here.stuck_ms = is_stuck.then(clock::now_ms);
            drop(held);
            self.changed();
        }
    }

    /// Tells of every change from now on; the number itself means nothing.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Whether `name` is connected to another server of the same database, and not to this one.
    #[must_use]
    pub fn is_elsewhere(&self, name: &AgentName) -> bool {
        let held = self.held();
        !held.open.contains_key(name) && held.elsewhere.contains(name)
    }

    /// The agents that are connected to other servers of the same database, and not to this one.
    #[must_use]
    pub fn elsewhere(&self) -> Vec<AgentName> {
        let held = self.held();
        held.elsewhere.iter().filter(|name| !held.open.contains_key(*name)).cloned().collect()
    }

    /// How each of `agents` stands.
    #[must_use]
    pub fn views(&self, agents: &[Agent]) -> Vec<api::Agent> {
        agents.iter().map(|agent| self.view(agent)).collect()
    }

    /// How `agent` stands.
    #[must_use]
    pub fn view(&self, agent: &Agent) -> api::Agent {
        let here = self.of(&agent.name);
        let elsewhere = online_elsewhere(agent);
        let (state, since_ms) = match (here, agent.revoked_ms, elsewhere) {
            (_, Some(revoked_ms), _) => (api::AgentState::Revoked, revoked_ms),
            (Some(Here { stuck_ms: Some(stuck_ms), .. }), ..) => (api::AgentState::Stuck, stuck_ms),
            (Some(here), ..) => (api::AgentState::Online, here.since_ms),
            (None, None, Some(online_ms)) => (api::AgentState::Online, online_ms),
            (None, None, None) => match agent.seen_ms {
                Some(seen_ms) => (api::AgentState::Away, seen_ms),
                None => (api::AgentState::Never, agent.enrolled_ms),
            },
        };
        api::Agent {
            name: agent.name.clone(),
            state,
            since_ms,
            version: None,
            enrolled_ms: agent.enrolled_ms,
            keys: agent.keys.clone(),
            clone: agent.clone.as_ref().map(|(what, at_ms)| api::AgentClone { what: what.clone(), at_ms: *at_ms }),
        }
    }

    /// Stores who is here, and cuts what another server of the same database has revoked, until `stop`.
    pub async fn work(self: Arc<Self>, store: Store, holder: String, stop: Cancel) {
        let pause = if store.is_sqlite() { SEEN_EVERY } else { REVOKED_EVERY };
        let mut stored = tokio::time::Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            let mine = self.proven();
            if mine.is_empty() && store.is_sqlite() {
                continue;
            }
            let is_due = stored.elapsed() >= SEEN_EVERY;
            let looked = async {
                if is_due {
                    store.agents_seen(&holder).await?;
                }
                store.agents().await
            };
            match looked.await {
                Ok(agents) => {
                    let is_there = |agent: &&Agent| agent.holder.as_ref() != Some(&holder) && online_elsewhere(agent).is_some();
                    self.held().elsewhere = agents.iter().filter(is_there).map(|agent| agent.name.clone()).collect();
                    self.cut_without_key(&mine, &agents);
                    stored = if is_due { tokio::time::Instant::now() } else { stored };
                }
                Err(error) => tracing::warn!(%error, "it could not be stored which agents are connected"),
            }
        }
    }
}

/// Since when `agent` is connected to a server that has said so lately; one that was killed says nothing any more.
fn online_elsewhere(agent: &Agent) -> Option<i64> {
    let lately_ms = clock::now_ms() - SEEN_LATELY.as_millis() as i64;
    agent.online_ms.filter(|_| agent.seen_ms.is_some_and(|seen_ms| seen_ms > lately_ms))
}

impl OpenLine {
    /// The line was proven with `key`, which counts: it ends when that does not any more.
    pub fn was_proven_with(&self, key: &PublicKey) {
        let mut held = self.presence.held();
        if let Some(entry) = held.open.get_mut(&self.name).filter(|entry| entry.number == self.number) {
            entry.key = Some(key.clone());
        }
    }

    /// Returns when the line is to be cut.
    pub async fn cut(&self) -> Cut {
        let mut cut = self.cut.clone();
        let why = cut.wait_for(Option::is_some).await.map(|why| *why);
        match why {
            Ok(Some(why)) => why,
            // A newer one took its place and is gone as well.
            _ => Cut::Newer,
        }
    }
}

impl Drop for OpenLine {
    fn drop(&mut self) {
        let mut held = self.presence.held();
        if held.open.get(&self.name).is_some_and(|entry| entry.number == self.number) {
            held.open.remove(&self.name);
            drop(held);
            self.presence.changed();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::Cut;
    use super::NotEntered;
    use super::Presence;
    use crate::model::AgentName;

    fn name(name: &str) -> AgentName {
        AgentName::parse(name).unwrap()
    }

    #[test]
    fn a_newer_line_cuts_the_older_and_is_not_ended_by_its_end() {
        let presence = Presence::new(2);
        let first = presence.enter(&name("a"), "1").unwrap();
        let second = presence.enter(&name("a"), "2").unwrap();
        assert_eq!(first.cut().now_or_never(), Some(Cut::Newer));
        assert_eq!(second.cut().now_or_never(), None);
        drop(first);
        assert!(presence.of(&name("a")).is_some());
        presence.cut(&name("a"), Cut::Revoked);
        assert_eq!(second.cut().now_or_never(), Some(Cut::Revoked));
        drop(second);
        assert!(presence.of(&name("a")).is_none());
    }

    #[test]
    fn two_processes_that_come_in_turn_are_told_apart_from_one_that_was_started_again() {
        let presence = Presence::new(10);
        let first = presence.enter(&name("a"), "1").unwrap();
        // The same process, connected anew.
        let again = presence.enter(&name("a"), "1").unwrap();
        drop(first);
        let copy = presence.enter(&name("a"), "2").unwrap();
        drop(again);
        assert_eq!(presence.enter(&name("a"), "1").err(), Some(NotEntered::Clone));
        assert_eq!(copy.cut().now_or_never(), None, "the line that is open stays");
        drop(copy);
        assert!(presence.enter(&name("a"), "1").is_ok());
    }

    #[test]
    fn there_are_only_so_many_and_none_when_it_stops() {
        let presence = Presence::new(1);
        let mut changes = presence.changes();
        let only = presence.enter(&name("a"), "1").unwrap();
        assert_eq!(presence.enter(&name("b"), "1").err(), Some(NotEntered::Full));
        assert!(!presence.has_room() && presence.enter(&name("a"), "1").is_ok());
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        presence.set_stuck(&name("b"), true);
        assert!(!changes.has_changed().unwrap());
        drop(only);
        presence.stop();
        assert_eq!(presence.enter(&name("b"), "1").err(), Some(NotEntered::Full));
    }
}
