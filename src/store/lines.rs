//! The stored lines of journals. A run numbers its own lines. When they are stored, each also gets a position among all lines of the
//! deployment, which followers use.

use sqlx::Row as _;

use crate::model::DeploymentId;
use crate::model::Line;
use crate::model::LineDraft;
use crate::model::LineKind;
use crate::model::Stage;
use crate::store::Fence;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::columns;
use crate::store::gate::Tx;
use crate::store::many;

impl Store {
    /// Stores lines of a run in one transaction. Lines that are stored already stay as they are.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when another executor has taken the run over and numbers its lines from here on; or when the database does
    /// not answer. None of the lines is stored then.
    pub async fn append_lines(&self, fence: &Fence, lines: &[LineDraft]) -> Result<(), StoreError> {
        let mut tx = self.gate.begin().await?;
        // The row is locked until the lines are written, so that no executor takes the run over in between.
        let mine = sqlx::query("UPDATE runs SET fence = fence WHERE deployment = $1 AND run = $2 AND fence = $3");
        if tx.execute(mine.bind(fence.id.as_str()).bind(fence.run).bind(fence.number)).await? != 1 {
            return Err(StoreError::Fenced);
        }
        write(&mut tx, &fence.id, fence.run, lines).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Stores lines of the deployment itself, which belong to no run.
    ///
    /// # Errors
    /// When the database does not answer. None of the lines is stored then.
    pub async fn append_own_lines(&self, id: &DeploymentId, lines: &[LineDraft]) -> Result<(), StoreError> {
        let mut tx = self.gate.begin().await?;
        write(&mut tx, id, 0, lines).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The lines after `position`, in the order in which they were stored, at most `limit`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn lines_after(&self, id: &DeploymentId, position: i64, limit: i64) -> Result<Vec<Line>, StoreError> {
        let select = "SELECT deployment, run, seq, position, at_ms, step, kind, text FROM lines
                      WHERE deployment = $1 AND position > $2 ORDER BY position LIMIT $3";
        let rows = self.gate.fetch_all(sqlx::query(select).bind(id.as_str()).bind(position).bind(limit)).await?;
        rows.iter()
            .map(|row| {
                Ok(Line {
                    position: row.try_get("position")?,
                    run: row.try_get("run")?,
                    seq: row.try_get("seq")?,
                    at_ms: row.try_get("at_ms")?,
                    step: columns::parsed(row, "lines", "step", Stage::parse)?,
                    kind: columns::parsed(row, "lines", "kind", LineKind::parse)?,
                    text: row.try_get("text")?,
                })
            })
            .collect()
    }

    /// Position, kind and text of the lines after `position`, in the order in which they were stored, at most `limit`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn texts_after(&self, id: &DeploymentId, position: i64, limit: i64) -> Result<Vec<(i64, LineKind, String)>, StoreError> {
        let select = "SELECT position, kind, text FROM lines WHERE deployment = $1 AND position > $2 ORDER BY position LIMIT $3";
        let rows = self.gate.fetch_all(sqlx::query(select).bind(id.as_str()).bind(position).bind(limit)).await?;
        rows.iter()
            .map(|row| Ok((row.try_get("position")?, columns::parsed(row, "lines", "kind", LineKind::parse)?, row.try_get("text")?)))
            .collect()
    }

    /// The number of the last stored line of a run; 0 when there is none.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn last_seq(&self, fence: &Fence) -> Result<i64, StoreError> {
        let last = sqlx::query("SELECT COALESCE(MAX(seq), 0) AS last FROM lines WHERE deployment = $1 AND run = $2");
        let row = self.gate.fetch_one(last.bind(fence.id.as_str()).bind(fence.run)).await?;
        Ok(row.try_get("last")?)
    }

    /// The position of the last stored line of a deployment; 0 when there is none.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn last_position(&self, id: &DeploymentId) -> Result<i64, StoreError> {
        let last = sqlx::query("SELECT COALESCE(MAX(position), 0) AS last FROM lines WHERE deployment = $1").bind(id.as_str());
        let row = self.gate.fetch_one(last).await?;
        Ok(row.try_get("last")?)
    }
}

/// Writes lines after all others of the deployment. The deployment's row is locked from here on, so that nobody sees a line before one with
/// a lower position; rows of other deployments are not locked.
pub(super) async fn write(tx: &mut Tx, id: &DeploymentId, run: i64, lines: &[LineDraft]) -> Result<(), StoreError> {
    let next = sqlx::query("UPDATE deployments SET last_position = last_position + $2 WHERE id = $1 RETURNING last_position");
    let Some(row) = tx.fetch_optional(next.bind(id.as_str()).bind(lines.len() as i64)).await? else { return Ok(()) };
    let before = row.try_get::<i64, _>("last_position")? - lines.len() as i64;
    let placed: Vec<(i64, &LineDraft)> = (before + 1..).zip(lines).collect();
    for part in many::parts(&placed) {
        let table = "lines (deployment, run, seq, position, at_ms, step, kind, text)";
        let mut insert = many::insert(table, 8, part.len(), " ON CONFLICT (deployment, run, seq) DO NOTHING");
        for (position, line) in part {
            insert = insert.bind(id.as_str()).bind(run).bind(line.seq).bind(*position).bind(line.at_ms);
            insert = insert.bind(line.step.as_str()).bind(line.kind.as_str()).bind(&line.text);
        }
        tx.execute(insert).await?;
    }
    Ok(())
}
