//! Agents: which hosts may dial in, by which keys, and since when each is here or away. No private key is ever here, and of a code only the
//! public half of the key pair that it is the seed of: who has the database can be nobody.

use std::collections::BTreeMap;

use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::clock;
use crate::model::AgentName;
use crate::model::MachineId;
use crate::model::PublicKey;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::agent_keys::counts;
use crate::store::agent_keys::key_beside;
use crate::store::audit::Entry;
use crate::store::columns;
use crate::store::placements;

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its name.
    pub name: AgentName,
    /// The machine that its key was made on.
    pub machine: MachineId,
    /// The keys that count: several while one takes the place of another.
    pub keys: Vec<PublicKey>,
    /// When it was enrolled last.
    pub enrolled_ms: i64,
    /// When a person cut it off; none: it may connect.
    pub revoked_ms: Option<i64>,
    /// Since when its line is open, as far as is stored; none: it is away.
    pub online_ms: Option<i64>,
    /// The server that its line is open to.
    pub holder: Option<String>,
    /// When it was last known to be there; none: never.
    pub seen_ms: Option<i64>,
    /// What last came with its key from elsewhere, and when.
    pub clone: Option<(String, i64)>,
}

/// What a host shows to be enrolled.
#[derive(Debug, Clone)]
pub struct Enrolment {
    /// The public half of its code.
    pub code: PublicKey,
    /// Its new public key.
    pub key: PublicKey,
    /// The machine.
    pub machine: MachineId,
}

/// An agent that is to count again.
#[derive(Debug, Clone)]
pub struct Readmitted {
    /// Its name.
    pub name: AgentName,
    /// The machine that its key was made on.
    pub machine: MachineId,
    /// The keys that counted.
    pub keys: Vec<PublicKey>,
}

/// What became of an enrolment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enrolled {
    /// The agent is enrolled.
    Done(AgentName),
    /// It was, with the same code and the same key, which still counts: its answer was lost.
    Again(AgentName),
    /// Its time is over.
    Expired(AgentName),
    /// It enrolled another key.
    Used(AgentName),
    /// There is no such code.
    Unknown,
}

const AGENTS: &str = "SELECT name, name AS id, machine, enrolled_ms, revoked_ms, online_ms, holder, seen_ms, clone_machine, clone_ms FROM agents ORDER BY name";
const AGENT: &str = "SELECT name, name AS id, machine, enrolled_ms, revoked_ms, online_ms, holder, seen_ms, clone_machine, clone_ms FROM agents WHERE name = $1";

impl Agent {
    fn of_row(row: &AnyRow) -> Result<Self, StoreError> {
        let elsewhere: Option<String> = row.try_get("clone_machine")?;
        let elsewhere_ms: Option<i64> = row.try_get("clone_ms")?;
        Ok(Self {
            name: columns::parsed(row, "agents", "name", AgentName::parse)?,
            machine: columns::parsed(row, "agents", "machine", MachineId::parse)?,
            keys: Vec::new(),
            enrolled_ms: row.try_get("enrolled_ms")?,
            revoked_ms: row.try_get("revoked_ms")?,
            online_ms: row.try_get("online_ms")?,
            holder: row.try_get("holder")?,
            seen_ms: row.try_get("seen_ms")?,
            clone: elsewhere.zip(elsewhere_ms),
        })
    }
}

impl Store {
    /// Every agent, by name.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn agents(&self) -> Result<Vec<Agent>, StoreError> {
        let rows = self.gate.fetch_all(sqlx::query(AGENTS)).await?;
        let mut agents: BTreeMap<AgentName, Agent> = BTreeMap::new();
        for row in &rows {
            let agent = Agent::of_row(row)?;
            agents.insert(agent.name.clone(), agent);
        }
        let keys = sqlx::query(
            "SELECT public_key, agent, agent AS id, added_ms FROM agent_keys WHERE ended_ms IS NULL ORDER BY agent, added_ms, public_key",
        );
        for row in &self.gate.fetch_all(keys).await? {
            let name = columns::parsed(row, "agent_keys", "agent", AgentName::parse)?;
            if let Some(agent) = agents.get_mut(&name) {
                agent.keys.extend(key_beside(&agent.keys, row)?);
            }
        }
        Ok(agents.into_values().collect())
    }

    /// The agent of that name.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn agent(&self, name: &AgentName) -> Result<Option<Agent>, StoreError> {
        let Some(row) = self.gate.fetch_optional(sqlx::query(AGENT).bind(name.as_str())).await? else { return Ok(None) };
        let mut agent = Agent::of_row(&row)?;
        let keys = sqlx::query(
            "SELECT public_key, agent AS id, added_ms FROM agent_keys WHERE agent = $1 AND ended_ms IS NULL ORDER BY added_ms, public_key",
        );
        for row in &self.gate.fetch_all(keys.bind(name.as_str())).await? {
            agent.keys.extend(key_beside(&agent.keys, row)?);
        }
        Ok(Some(agent))
    }

    /// Keeps the public half of a new code for `name` until `until_ms`. Codes that were made for it before and are not used are good for
    /// nothing from now on.
    ///
    /// # Errors
    /// When the database does not answer; then the code is good for nothing.
    pub async fn keep_agent_code(&self, code: &PublicKey, name: &AgentName, until_ms: i64, caller: &str) -> Result<(), StoreError> {
        let now_ms = clock::now_ms();
        let mut tx = self.gate.begin().await?;
        let old = sqlx::query("DELETE FROM agent_codes WHERE (agent = $1 AND used_by IS NULL) OR until_ms < $2");
        // What was used is kept for a while, so that a host that did not get its answer gets it when it asks again.
        tx.execute(old.bind(name.as_str()).bind(now_ms - 24 * 3600 * 1000)).await?;
        let put = sqlx::query("INSERT INTO agent_codes (public_key, agent, until_ms) VALUES ($1, $2, $3)");
        tx.execute(put.bind(code.as_str()).bind(name.as_str()).bind(until_ms)).await?;
        let detail = format!("a code to enrol it, good until {}", clock::utc(until_ms));
        let entry = Entry { caller: caller.to_owned(), action: "agent_code", target: name.to_string(), detail };
        self.committed(tx, vec![entry]).await
    }

    /// Enrols an agent by its code, which is used up then. Its earlier keys count no more, and neither does that it was revoked.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn enrol_agent(&self, new: &Enrolment) -> Result<Enrolled, StoreError> {
        let now_ms = clock::now_ms();
        let mut tx = self.gate.begin().await?;
        let find = sqlx::query("SELECT agent, agent AS id, until_ms, used_by FROM agent_codes WHERE public_key = $1");
        let Some(row) = tx.fetch_optional(find.bind(new.code.as_str())).await? else { return Ok(Enrolled::Unknown) };
        let name = columns::parsed(&row, "agent_codes", "agent", AgentName::parse)?;
        let used_by = columns::parsed_if_any(&row, "agent_codes", "used_by", PublicKey::parse)?;
        let is_late = row.try_get::<i64, _>("until_ms")? <= now_ms;
        match used_by {
            Some(before) if before == new.key && !is_late && counts(&mut tx, &name, &new.key).await? => return Ok(Enrolled::Again(name)),
            Some(_) => return Ok(Enrolled::Used(name)),
            None if is_late => return Ok(Enrolled::Expired(name)),
            None => {}
        }
        let take = sqlx::query("UPDATE agent_codes SET used_by = $2 WHERE public_key = $1 AND used_by IS NULL");
        if tx.execute(take.bind(new.code.as_str()).bind(new.key.as_str())).await? == 0 {
            return Ok(Enrolled::Used(name));
        }
        let put = sqlx::query(
            "INSERT INTO agents (name, machine, enrolled_ms) VALUES ($1, $2, $3)
             ON CONFLICT (name) DO UPDATE SET machine = excluded.machine, enrolled_ms = excluded.enrolled_ms, revoked_ms = NULL,
               clone_machine = NULL, clone_ms = NULL",
        );
        tx.execute(put.bind(name.as_str()).bind(new.machine.as_str()).bind(now_ms)).await?;
        let end = sqlx::query("UPDATE agent_keys SET ended_ms = $2 WHERE agent = $1 AND ended_ms IS NULL");
        tx.execute(end.bind(name.as_str()).bind(now_ms)).await?;
        // A host whose first answer was lost may come with the same key and a newer code.
        let key = sqlx::query(
            "INSERT INTO agent_keys (public_key, agent, added_ms) VALUES ($1, $2, $3)
             ON CONFLICT (public_key) DO UPDATE SET agent = excluded.agent, added_ms = excluded.added_ms, ended_ms = NULL",
        );
        tx.execute(key.bind(new.key.as_str()).bind(name.as_str()).bind(now_ms)).await?;
        let detail = format!("the key {} of the machine {}", new.key, new.machine);
        let entry = Entry { caller: format!("agent:{name}"), action: "agent_enrol", target: name.to_string(), detail };
        self.committed(tx, vec![entry]).await?;
        Ok(Enrolled::Done(name))
    }

    /// An agent that is unknown here counts again by what a person has found of it elsewhere: `known`, with its keys. Returns whether it
    /// does; one that is known here, or was revoked, stays as it is.
    ///
    /// # Errors
    /// When the database does not answer; then nothing has changed.
    pub async fn readmit_agent(&self, known: &Readmitted, caller: &str) -> Result<bool, StoreError> {
        let Readmitted { name, machine, keys } = known;
        let now_ms = clock::now_ms();
        let mut tx = self.gate.begin().await?;
        let put = sqlx::query("INSERT INTO agents (name, machine, enrolled_ms) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING");
        if tx.execute(put.bind(name.as_str()).bind(machine.as_str()).bind(now_ms)).await? == 0 {
            return Ok(false);
        }
        // The order in which they were added says which one is to take the place of the other.
        for (added_ms, key) in (now_ms..).zip(keys) {
            let put =
                sqlx::query("INSERT INTO agent_keys (public_key, agent, added_ms) VALUES ($1, $2, $3) ON CONFLICT (public_key) DO NOTHING");
            tx.execute(put.bind(key.as_str()).bind(name.as_str()).bind(added_ms)).await?;
        }
        let all: Vec<&str> = keys.iter().map(PublicKey::as_str).collect();
        let detail = format!("the key {} of the machine {machine}, which was known before the database was lost", all.join(" and "));
        let entry = Entry { caller: caller.to_owned(), action: "agent_readmit", target: name.to_string(), detail };
        self.committed(tx, vec![entry]).await?;
        Ok(true)
    }

    /// No key of `name` counts any more, neither does a code that was made for it, and no service belongs to it. Returns whether there is
    /// such an agent, or services of such a host.
    ///
    /// # Errors
    /// When the database does not answer; then nothing has changed.
    pub async fn revoke_agent(&self, name: &AgentName, caller: &str) -> Result<bool, StoreError> {
        let now_ms = clock::now_ms();
        let mut tx = self.gate.begin().await?;
        let revoke = sqlx::query("UPDATE agents SET revoked_ms = COALESCE(revoked_ms, $2) WHERE name = $1");
        let is_agent = tx.execute(revoke.bind(name.as_str()).bind(now_ms)).await? != 0;
        let freed = placements::free(&mut tx, name, caller).await?;
        if !is_agent && freed.is_none() {
            return Ok(false);
        }
        let end = sqlx::query("UPDATE agent_keys SET ended_ms = $2 WHERE agent = $1 AND ended_ms IS NULL");
        tx.execute(end.bind(name.as_str()).bind(now_ms)).await?;
        tx.execute(sqlx::query("DELETE FROM agent_codes WHERE agent = $1").bind(name.as_str())).await?;
        let detail = "its keys count no more".to_owned();
        let mut entries = vec![Entry { caller: caller.to_owned(), action: "agent_revoke", target: name.to_string(), detail }];
        entries.extend(freed.unwrap_or_default());
        self.committed(tx, entries).await?;
        Ok(true)
    }

    /// The line of `name` to the server `holder` is open since `at_ms`; none: it is away.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn agent_stands(&self, name: &AgentName, holder: &str, online_ms: Option<i64>) -> Result<(), StoreError> {
        let now_ms = clock::now_ms();
        let set = if let Some(online_ms) = online_ms {
            let here = sqlx::query("UPDATE agents SET online_ms = $4, holder = $2, seen_ms = $3 WHERE name = $1");
            here.bind(name.as_str()).bind(holder).bind(now_ms).bind(online_ms)
        } else {
            // One that is connected to another server meanwhile is not away.
            let away = sqlx::query("UPDATE agents SET online_ms = NULL, seen_ms = $3 WHERE name = $1 AND holder = $2");
            away.bind(name.as_str()).bind(holder).bind(now_ms)
        };
        self.gate.write(set).await?;
        Ok(())
    }

    /// All agents with a line to `holder` are there now.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn agents_seen(&self, holder: &str) -> Result<(), StoreError> {
        let set = sqlx::query("UPDATE agents SET seen_ms = $2 WHERE holder = $1 AND online_ms IS NOT NULL");
        self.gate.write(set.bind(holder).bind(clock::now_ms())).await?;
        Ok(())
    }

    /// No agent has a line to `holder`: it has only just started.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn no_agent_of(&self, holder: &str) -> Result<(), StoreError> {
        self.gate.write(sqlx::query("UPDATE agents SET online_ms = NULL WHERE holder = $1 AND online_ms IS NOT NULL").bind(holder)).await?;
        Ok(())
    }

    /// Something came with the key of `name` that is not the machine, or not the process, that it belongs to.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn agent_cloned(&self, name: &AgentName, machine: &str) -> Result<(), StoreError> {
        let set = sqlx::query("UPDATE agents SET clone_machine = $2, clone_ms = $3 WHERE name = $1");
        self.gate.write(set.bind(name.as_str()).bind(machine).bind(clock::now_ms())).await?;
        Ok(())
    }
}
