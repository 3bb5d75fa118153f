//! The stored lines of journals.

use sqlx::Row as _;

use crate::model::DeploymentId;
use crate::model::Line;
use crate::model::LineKind;
use crate::model::Step;
use crate::store::Fence;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::rows;

impl Store {
    /// Stores lines of one run of a deployment in one transaction.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when another run has taken over, which numbers its lines from here on; or when the database
    /// does not answer. None of them is stored then.
    pub async fn append_lines(&self, fence: &Fence, lines: &[Line]) -> Result<(), StoreError> {
        let mut tx = self.gate.begin().await?;
        // The row is locked until the lines are there, so nobody takes over in between.
        let mine = sqlx::query("UPDATE deployments SET fence = fence WHERE id = $1 AND fence = $2");
        if tx.execute(mine.bind(fence.id.as_str()).bind(fence.number)).await? != 1 {
            return Err(StoreError::Fenced);
        }
        for line in lines {
            // A line that a run stored before it was taken over stays as it is.
            let insert = sqlx::query(
                "INSERT INTO lines (deployment, seq, at_ms, step, kind, text) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
            )
            .bind(fence.id.as_str())
            .bind(line.seq)
            .bind(line.at_ms)
            .bind(line.step.as_str())
            .bind(line.kind.as_str())
            .bind(&line.text);
            tx.execute(insert).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// The lines behind `seq`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn lines_after(&self, id: &DeploymentId, seq: i64, limit: i64) -> Result<Vec<Line>, StoreError> {
        let select = "SELECT deployment, seq, at_ms, step, kind, text FROM lines WHERE deployment = $1 AND seq > $2 ORDER BY seq LIMIT $3";
        let rows = self.gate.fetch_all(sqlx::query(select).bind(id.as_str()).bind(seq).bind(limit)).await?;
        rows.iter()
            .map(|row| {
                Ok(Line {
                    seq: row.try_get("seq")?,
                    at_ms: row.try_get("at_ms")?,
                    step: rows::parsed(row, "lines", "step", Step::parse)?,
                    kind: rows::parsed(row, "lines", "kind", LineKind::parse)?,
                    text: row.try_get("text")?,
                })
            })
            .collect()
    }

    /// The number of the last stored line; 0 when there is none.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn last_seq(&self, id: &DeploymentId) -> Result<i64, StoreError> {
        let last = sqlx::query("SELECT COALESCE(MAX(seq), 0) AS last FROM lines WHERE deployment = $1").bind(id.as_str());
        let row = self.gate.fetch_one(last).await?;
        Ok(row.try_get("last")?)
    }
}
