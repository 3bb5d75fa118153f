//! What the data folder of a control plane remembers of its agents beside the database: their names, machines and public keys. Where the
//! database is lost, a person can readmit them by it. Nothing here counts by itself, nothing here is secret, and an agent that was revoked
//! is remembered as that: a database that is put back from a time before its revocation does not let it in again.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::sync::PoisonError;

use serde::Deserialize;
use serde::Serialize;
use tokio::sync::Mutex;

use crate::line::keys::KNOWN_FILE;
use crate::line::keys::KeyError;
use crate::line::keys::replace;
use crate::model::AgentName;
use crate::model::MachineId;
use crate::model::PublicKey;
use crate::store::Agent;
use crate::store::Store;

/// An agent that was known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// Its name.
    pub name: AgentName,
    /// The machine that its key was made on.
    pub machine: MachineId,
    /// The keys that counted.
    pub keys: Vec<PublicKey>,
    /// Whether a person has cut it off.
    #[serde(default)]
    pub is_revoked: bool,
    /// When a person did so last (ms since 1970, UTC), whatever the database says later; none: never, or an earlier version wrote this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_ms: Option<i64>,
}

impl Remembered {
    fn of(agent: &Agent, before: Option<&Self>) -> Self {
        let revoked_ms = agent.revoked_ms.max(before.and_then(|before| before.revoked_ms));
        let is_revoked = agent.revoked_ms.is_some() || is_before(agent, revoked_ms);
        Self { name: agent.name.clone(), machine: agent.machine.clone(), keys: agent.keys.clone(), is_revoked, revoked_ms }
    }
}

/// Whether all that is known of `agent` is from before it was revoked: only a person who enrols it anew ends that.
fn is_before(agent: &Agent, revoked_ms: Option<i64>) -> bool {
    revoked_ms.is_some_and(|revoked_ms| agent.enrolled_ms <= revoked_ms)
}

/// The file of a data folder.
#[derive(Debug)]
pub struct Memory {
    file: PathBuf,
    /// Held by whoever writes: what was read first must not take the place of what was read later.
    turn: Mutex<()>,
    /// When agents were revoked last (ms since 1970, UTC), as the file says; none: it was not read yet.
    revoked: std::sync::Mutex<Option<BTreeMap<AgentName, i64>>>,
}

impl Memory {
    /// The memory in the data folder `dir`.
    #[must_use]
    pub fn of(dir: &Path) -> Self {
        Self { file: dir.join(KNOWN_FILE), turn: Mutex::default(), revoked: std::sync::Mutex::default() }
    }

    /// Everything that is remembered.
    ///
    /// # Errors
    /// When the file cannot be read, or says something else.
    pub fn all(&self) -> Result<Vec<Remembered>, KeyError> {
        match std::fs::read_to_string(&self.file) {
            Ok(text) => {
                let wrong = |error: serde_json::Error| KeyError::Content(self.file.clone(), error.to_string());
                serde_json::from_str(&text).map_err(wrong)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(KeyError::File(self.file.clone(), error)),
        }
    }

    /// The agents that are remembered, count no more than that, and are unknown to the database, whose agents are `known`.
    ///
    /// # Errors
    /// As [`Memory::all`].
    pub fn lost(&self, known: &[Agent]) -> Result<Vec<Remembered>, KeyError> {
        let is_known = |one: &Remembered| known.iter().any(|agent| agent.name == one.name);
        Ok(self.all()?.into_iter().filter(|one| !one.is_revoked && !one.keys.is_empty() && !is_known(one)).collect())
    }

    /// Whether `agent`, which counts for the database, was revoked since it was enrolled: the database was put back from before.
    ///
    /// # Errors
    /// As [`Memory::all`].
    pub fn is_revoked(&self, agent: &Agent) -> Result<bool, KeyError> {
        let mut revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        if revoked.is_none() {
            *revoked = Some(revocations(&self.all()?));
        }
        let revoked_ms = revoked.as_ref().and_then(|revoked| revoked.get(&agent.name)).copied();
        Ok(agent.revoked_ms.is_none() && is_before(agent, revoked_ms))
    }

    /// What `other` says of revocations is remembered here as well.
    ///
    /// # Errors
    /// When one of the files cannot be read or written, or says something else.
    pub fn take_revocations(&self, other: &Self) -> Result<(), KeyError> {
        let before = self.all()?;
        let others = revocations(&other.all()?);
        let mut all = before.clone();
        for one in &mut all {
            one.revoked_ms = one.revoked_ms.max(others.get(&one.name).copied());
        }
        if all == before { Ok(()) } else { self.put(&all) }
    }

    /// What `store` knows now is remembered; what it does not know stays as it was. That this cannot be written is a warning: the database
    /// is what counts.
    pub async fn keep(&self, store: &Store) {
        let _turn = self.turn.lock().await;
        let known = match store.agents().await {
            Ok(known) => known,
            Err(error) => return tracing::warn!(%error, "which agents are enrolled could not be read from the database"),
        };
        if let Err(error) = self.write(&known) {
            tracing::warn!(%error, "which agents are enrolled could not be written beside the database");
        }
    }

    fn write(&self, known: &[Agent]) -> Result<(), KeyError> {
        let before = self.all()?;
        let was = |agent: &Agent| before.iter().find(|one| one.name == agent.name);
        let mut all: Vec<Remembered> = known.iter().map(|agent| Remembered::of(agent, was(agent))).collect();
        all.extend(before.iter().filter(|one| !known.iter().any(|agent| agent.name == one.name)).cloned());
        all.sort_by(|a, b| a.name.cmp(&b.name));
        *self.revoked.lock().unwrap_or_else(PoisonError::into_inner) = Some(revocations(&all));
        if all == before {
            return Ok(());
        }
        self.put(&all)
    }

    fn put(&self, all: &[Remembered]) -> Result<(), KeyError> {
        let text = serde_json::to_string_pretty(all).unwrap_or_default();
        replace(&self.file, &text).map_err(|error| KeyError::File(self.file.clone(), error))
    }
}

fn revocations(all: &[Remembered]) -> BTreeMap<AgentName, i64> {
    all.iter().filter_map(|one| Some((one.name.clone(), one.revoked_ms?))).collect()
}

#[cfg(test)]
mod tests {
    use super::Memory;
    use super::Remembered;
    use crate::model::AgentName;
    use crate::model::MachineId;

    #[test]
    fn an_older_file_that_is_put_in_place_takes_over_what_was_revoked_since() {
        let (older, now) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let one = |name: &str, revoked_ms: Option<i64>| Remembered {
            name: AgentName::parse(name).unwrap(),
            machine: MachineId::of([7; 16]),
            keys: Vec::new(),
            is_revoked: false,
            revoked_ms,
        };
        let (older, now) = (Memory::of(older.path()), Memory::of(now.path()));
        older.put(&[one("micro", None), one("nano", Some(7)), one("pico", None)]).unwrap();
        now.put(&[one("micro", Some(9)), one("nano", Some(3))]).unwrap();
        older.take_revocations(&now).unwrap();
        assert_eq!(older.all().unwrap(), [one("micro", Some(9)), one("nano", Some(7)), one("pico", None)]);
    }
}
