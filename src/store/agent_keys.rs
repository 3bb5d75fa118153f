//! The keys of an agent while one takes the place of another: each change stands in the audit trail, and one at a time is on its way.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::clock;
use crate::model::AgentName;
use crate::model::PublicKey;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::audit::Entry;
use crate::store::columns;
use crate::store::gate::Tx;

/// How long a key counts that was never used, ms.
const UNUSED_MS: i64 = 7 * 24 * 3600 * 1000;

fn entry(name: &AgentName, detail: String) -> Entry {
    Entry { caller: format!("agent:{name}"), action: "agent_key", target: name.to_string(), detail }
}

impl Store {
    /// `next` counts for `name` as well from now on, beside `key`, which it was proven with: also where it was known before and counted no
    /// more, as the agent goes over to it now. Another one that was on its way counts no more. Returns whether `next` counts; it does not
    /// where the agent was revoked meanwhile, and where it is the key of another agent.
    ///
    /// # Errors
    /// When the database does not answer; then nothing has changed.
    pub async fn add_agent_key(&self, name: &AgentName, key: &PublicKey, next: &PublicKey) -> Result<bool, StoreError> {
        let now_ms = clock::now_ms();
        let mut tx = self.gate.begin().await?;
        // Whoever revokes the agent has done so before this, or waits for it.
        let hold = sqlx::query("UPDATE agents SET revoked_ms = revoked_ms WHERE name = $1 AND revoked_ms IS NULL");
        if tx.execute(hold.bind(name.as_str())).await? == 0 || !counts(&mut tx, name, key).await? {
            return Ok(false);
        }
        let put = sqlx::query(
            "INSERT INTO agent_keys (public_key, agent, added_ms) VALUES ($1, $2, $3)
             ON CONFLICT (public_key) DO UPDATE SET added_ms = excluded.added_ms, ended_ms = NULL
             WHERE agent_keys.agent = excluded.agent AND (agent_keys.ended_ms IS NOT NULL OR agent_keys.added_ms <= $4)",
        );
        if tx.execute(put.bind(next.as_str()).bind(name.as_str()).bind(now_ms).bind(now_ms - UNUSED_MS)).await? == 0 {
            return counts(&mut tx, name, next).await;
        }
        let end = sqlx::query(
            "UPDATE agent_keys SET ended_ms = $4 WHERE agent = $1 AND public_key <> $2 AND public_key <> $3 AND ended_ms IS NULL",
        );
        tx.execute(end.bind(name.as_str()).bind(key.as_str()).bind(next.as_str()).bind(now_ms)).await?;
        let entry = entry(name, format!("the key {next} counts beside the key {key} that it was proven with"));
        self.committed(tx, vec![entry]).await?;
        Ok(true)
    }

    /// Only `key` counts for `name` from now on. Returns whether another one did.
    ///
    /// # Errors
    /// When the database does not answer; then nothing has changed.
    pub async fn keep_only_agent_key(&self, name: &AgentName, key: &PublicKey) -> Result<bool, StoreError> {
        let mut tx = self.gate.begin().await?;
        let end = sqlx::query("UPDATE agent_keys SET ended_ms = $3 WHERE agent = $1 AND public_key <> $2 AND ended_ms IS NULL");
        if tx.execute(end.bind(name.as_str()).bind(key.as_str()).bind(clock::now_ms())).await? == 0 {
            return Ok(false);
        }
        self.committed(tx, vec![entry(name, format!("the key {key} took the place of the one before"))]).await?;
        Ok(true)
    }
}

/// The next one of the keys of an agent, in the order in which they were added, if it counts beside `before`: one that is to take the place
/// of the first counts for a week, and for longer only once it was used.
pub(super) fn key_beside(before: &[PublicKey], row: &AnyRow) -> Result<Option<PublicKey>, StoreError> {
    let is_first = before.is_empty();
    let key = columns::parsed(row, "agent_keys", "public_key", PublicKey::parse)?;
    let is_fresh = row.try_get::<i64, _>("added_ms")? > clock::now_ms() - UNUSED_MS;
    Ok((is_first || is_fresh).then_some(key))
}

/// Whether `key` counts for `name`.
pub(super) async fn counts(tx: &mut Tx, name: &AgentName, key: &PublicKey) -> Result<bool, StoreError> {
    let key = sqlx::query("SELECT public_key FROM agent_keys WHERE public_key = $1 AND agent = $2 AND ended_ms IS NULL").bind(key.as_str());
    Ok(tx.fetch_optional(key.bind(name.as_str())).await?.is_some())
}
