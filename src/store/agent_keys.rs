//! The keys of an agent while one takes the place of another: each change stands in the audit trail, and one at a time is on its way.

use crate::clock;
use crate::model::AgentName;
use crate::model::PublicKey;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::audit;
use crate::store::audit::Entry;
use crate::store::gate::Tx;

/// How long a key counts that was never used, ms.
pub(super) const UNUSED_MS: i64 = 7 * 24 * 3600 * 1000;

fn entry(name: &AgentName, detail: String) -> Entry {
    Entry { caller: format!("agent:{name}"), action: "agent_key", target: name.to_string(), detail }
}

impl Store {
    /// `next` counts for `name` as well from now on, beside `key`, which it was proven with. Another one that was on its way counts no more.
    ///
    /// # Errors
    /// When the database does not answer; then nothing has changed.
    pub async fn add_agent_key(&self, name: &AgentName, key: &PublicKey, next: &PublicKey) -> Result<(), StoreError> {
        let now_ms = clock::now_ms();
        let mut tx = self.gate.begin().await?;
        let put =
            sqlx::query("INSERT INTO agent_keys (public_key, agent, added_ms) VALUES ($1, $2, $3) ON CONFLICT (public_key) DO NOTHING");
        if tx.execute(put.bind(next.as_str()).bind(name.as_str()).bind(now_ms)).await? == 0 {
            return Ok(());
        }
        let end = sqlx::query(
            "UPDATE agent_keys SET ended_ms = $4 WHERE agent = $1 AND public_key <> $2 AND public_key <> $3 AND ended_ms IS NULL",
        );
        tx.execute(end.bind(name.as_str()).bind(key.as_str()).bind(next.as_str()).bind(now_ms)).await?;
        self.told(tx, entry(name, format!("the key {next} counts beside the key {key} that it was proven with"))).await
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
        self.told(tx, entry(name, format!("the key {key} took the place of the one before"))).await?;
        Ok(true)
    }

    /// What was to take the place of `key`, with which `name` has proven itself, and was not used for a week counts no more.
    ///
    /// # Errors
    /// When the database does not answer; then nothing has changed.
    pub async fn end_unused_agent_keys(&self, name: &AgentName, key: &PublicKey) -> Result<(), StoreError> {
        let now_ms = clock::now_ms();
        let mut tx = self.gate.begin().await?;
        let end =
            sqlx::query("UPDATE agent_keys SET ended_ms = $3 WHERE agent = $1 AND public_key <> $2 AND ended_ms IS NULL AND added_ms < $4");
        let end = end.bind(name.as_str()).bind(key.as_str()).bind(now_ms).bind(now_ms - UNUSED_MS);
        if tx.execute(end).await? == 0 {
            return Ok(());
        }
        self.told(tx, entry(name, format!("a key that was to take the place of {key} was not used and counts no more"))).await
    }

    /// Commits what `entry` says.
    async fn told(&self, mut tx: Tx, entry: Entry) -> Result<(), StoreError> {
        let head = audit::append(&mut tx, &[entry]).await?;
        tx.commit().await?;
        self.head.note(&self.gate, &head).await;
        Ok(())
    }
}
