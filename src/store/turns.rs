//! Who is next: the orders that wait for nothing but their turn.

use sqlx::Row as _;

use crate::model::DeploymentId;
use crate::model::OrderKind;
use crate::model::ServiceName;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::columns;

/// An order that waits for its turn; nothing is carried out for its service.
#[derive(Debug, Clone)]
pub struct Next {
    /// Its deployment.
    pub id: DeploymentId,
    /// Its service.
    pub service: ServiceName,
    /// What it wants.
    pub kind: OrderKind,
    /// When every guard that is asked about it had let it pass (ms since 1970, UTC).
    pub granted_ms: Option<i64>,
    /// Until when that counts at most (ms since 1970, UTC); none: nothing ends it early.
    pub granted_until_ms: Option<i64>,
}

impl Store {
    /// The orders that wait for their turn and whose services are free. One that does not read is said, and left to a person.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn next(&self) -> Result<Vec<Next>, StoreError> {
        // In this order the few rows are found by the index that keeps them few, whatever else the table holds.
        let waiting = sqlx::query(
            "SELECT d.id, d.service, d.kind, d.granted_ms, d.granted_until_ms FROM deployments AS d WHERE d.state = 'waiting' AND d.waits_for = 'turn'
             AND NOT EXISTS (SELECT 1 FROM deployments AS b WHERE b.service = d.service AND b.state = 'running') ORDER BY d.service",
        );
        let mut next = Vec::new();
        for row in self.gate.fetch_all(waiting).await? {
            let read = columns::parsed(&row, "deployments", "id", DeploymentId::parse).and_then(|id| {
                let service = columns::parsed(&row, "deployments", "service", ServiceName::parse)?;
                let kind = columns::parsed(&row, "deployments", "kind", OrderKind::parse)?;
                let granted_ms = row.try_get("granted_ms")?;
                Ok(Next { id, service, kind, granted_ms, granted_until_ms: row.try_get("granted_until_ms")? })
            });
            match read {
                Ok(read) => next.push(read),
                Err(error) => tracing::error!(%error, "a deployment is not carried out"),
            }
        }
        Ok(next)
    }

    /// What `executor` carries out and is to stop. One that does not read is said where it is looked at, and stops nothing here.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn cancelled(&self, executor: &str) -> Result<Vec<DeploymentId>, StoreError> {
        let cancelled = sqlx::query(
            "SELECT d.id FROM runs AS r JOIN deployments AS d ON d.id = r.deployment
             WHERE r.executor = $1 AND r.state = 'running' AND d.state = 'running' AND d.cancel_by IS NOT NULL",
        );
        let rows = self.gate.fetch_all(cancelled.bind(executor)).await?;
        Ok(rows.iter().filter_map(|row| columns::parsed(row, "deployments", "id", DeploymentId::parse).ok()).collect())
    }
}
