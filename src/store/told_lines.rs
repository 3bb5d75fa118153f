//! How much an agent may say of one deployment, and until when.

use sqlx::Row as _;

use crate::clock;
use crate::model::AgentName;
use crate::model::DeploymentId;
use crate::store::Store;
use crate::store::StoreError;

/// How long the lines of a deployment may be together, bytes, as far as an agent has said them.
const MOST_BYTES: i64 = 64 << 20;
/// How long after its end lines of a deployment are taken, ms: an agent may be away for days between the end and the last lines.
const OPEN_MS: i64 = 7 * 24 * 3600 * 1000;

impl Store {
    /// Counts `bytes` more that an agent has said of `id`. Returns whether there was room for them.
    ///
    /// # Errors
    /// When the database does not answer; then nothing was counted.
    pub async fn has_room_for_told(&self, id: &DeploymentId, bytes: i64) -> Result<bool, StoreError> {
        let count = sqlx::query(
            "UPDATE deployments SET told_bytes = COALESCE(told_bytes, 0) + $2 WHERE id = $1 AND COALESCE(told_bytes, 0) + $2 <= $3",
        );
        Ok(self.gate.write(count.bind(id.as_str()).bind(bytes).bind(MOST_BYTES)).await? == 1)
    }

    /// Whether `agent` may still say something of `id`, which has ended: it was on its host, and has not ended long ago.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn may_tell(&self, id: &DeploymentId, agent: &AgentName) -> Result<bool, StoreError> {
        let select = "SELECT d.told_by, d.told_ms, d.ended_ms, r.host FROM deployments AS d
                      LEFT JOIN runs AS r ON r.deployment = d.id AND r.run = 1 WHERE d.id = $1";
        let Some(row) = self.gate.fetch_optional(sqlx::query(select).bind(id.as_str())).await? else { return Ok(false) };
        let is_its = |column: &str| Ok::<_, StoreError>(row.try_get::<Option<String>, _>(column)?.as_deref() == Some(agent.as_str()));
        let known_ms: Option<i64> = row.try_get("told_ms")?;
        let ended_ms: Option<i64> = row.try_get("ended_ms")?;
        let is_open = known_ms.or(ended_ms).is_none_or(|since_ms| clock::now_ms() < since_ms + OPEN_MS);
        Ok(is_open && (is_its("told_by")? || is_its("host")?))
    }
}
