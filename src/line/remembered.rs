//! What the data folder of a control plane remembers of its agents beside the database: their names, machines and public keys. Where the
//! database is lost, a person can readmit them by it. Nothing here counts by itself, nothing here is secret, and an agent that was revoked
//! is remembered as that.

use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;
use tokio::sync::Mutex;

use crate::line::keys::KEY_FILES;
use crate::line::keys::KeyError;
use crate::line::keys::replace;
use crate::model::AgentName;
use crate::model::MachineId;
use crate::model::PublicKey;
use crate::store::Agent;
use crate::store::Store;

/// The file.
const FILE: &str = KEY_FILES[2];

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
}

impl Remembered {
    fn of(agent: &Agent) -> Self {
        let is_revoked = agent.revoked_ms.is_some();
        Self { name: agent.name.clone(), machine: agent.machine.clone(), keys: agent.keys.clone(), is_revoked }
    }
}

/// The file of a data folder.
#[derive(Debug)]
pub struct Memory {
    file: PathBuf,
    /// Held by whoever writes: what was read first must not take the place of what was read later.
    turn: Mutex<()>,
}

impl Memory {
    /// The memory in the data folder `dir`.
    #[must_use]
    pub fn of(dir: &Path) -> Self {
        Self { file: dir.join(FILE), turn: Mutex::default() }
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
        let mut all: Vec<Remembered> = known.iter().map(Remembered::of).collect();
        all.extend(before.iter().filter(|one| !known.iter().any(|agent| agent.name == one.name)).cloned());
        all.sort_by(|a, b| a.name.cmp(&b.name));
        if all == before {
            return Ok(());
        }
        let text = serde_json::to_string_pretty(&all).unwrap_or_default();
        replace(&self.file, &text).map_err(|error| KeyError::File(self.file.clone(), error))
    }
}
