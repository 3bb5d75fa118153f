//! How far forges were owed what becomes of deployments. What is owed and how far are written together, so that each change is owed
//! once, whichever server sees it first.

use crate::clock;
use crate::model::DeploymentId;
use crate::model::Lane;
use crate::model::ServiceName;
use crate::model::State;
use crate::store::Deployment;
use crate::store::Owe;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::outbox;
use crate::store::rows;
use crate::store::rows::select_deployments;

/// How far is remembered for so long, which is longer than anything waits and than is looked back.
const REMEMBERED_MS: i64 = 30 * 86_400_000;

/// A deployment whose state its forge was not owed yet.
#[derive(Debug, Clone)]
pub struct Unowed {
    /// The deployment.
    pub id: DeploymentId,
    /// Its service.
    pub service: ServiceName,
}

impl Store {
    /// The deployments whose state was not owed yet, the oldest first: those that have not ended, and those that did after `since_ms`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn unowed(&self, since_ms: i64) -> Result<Vec<Unowed>, StoreError> {
        let select = sqlx::query(
            "SELECT d.id, d.service FROM deployments AS d WHERE d.state <> 'done'
               AND COALESCE((SELECT x.stage FROM results AS x WHERE x.deployment = d.id), 0) < CASE d.state WHEN 'waiting' THEN 1 ELSE 2 END
             UNION ALL
             SELECT d.id, d.service FROM deployments AS d WHERE d.state = 'done' AND d.ended_ms > $1
               AND COALESCE((SELECT x.stage FROM results AS x WHERE x.deployment = d.id), 0) < 3
             ORDER BY 1",
        );
        let mut unowed = Vec::new();
        for row in self.gate.fetch_all(select.bind(since_ms)).await? {
            // One that does not read is said elsewhere, and hides no other.
            let id = rows::parsed(&row, "deployments", "id", DeploymentId::parse);
            let service = rows::parsed(&row, "deployments", "service", ServiceName::parse);
            if let (Ok(id), Ok(service)) = (id, service) {
                unowed.push(Unowed { id, service });
            }
        }
        Ok(unowed)
    }

    /// Owes `all`, which says how `deployment` stands, unless that or more was owed already. Gives whether it is owed now.
    ///
    /// # Errors
    /// When the database does not answer; then nothing of it is owed.
    pub async fn owe_results(&self, lane: &Lane, deployment: &Deployment, all: &[Owe]) -> Result<bool, StoreError> {
        let stage: i64 = match deployment.state {
            State::Waiting { .. } => 1,
            State::Running { .. } => 2,
            State::Done { .. } => 3,
        };
        let now_ms = clock::now_ms();
        let mut tx = self.gate.begin().await?;
        let mark = sqlx::query(
            "INSERT INTO results (deployment, stage, at_ms) VALUES ($1, $2, $3) ON CONFLICT (deployment) DO UPDATE
               SET stage = excluded.stage, at_ms = excluded.at_ms WHERE results.stage < excluded.stage",
        );
        if tx.execute(mark.bind(deployment.id.as_str()).bind(stage).bind(now_ms)).await? == 0 {
            return Ok(false);
        }
        if !all.is_empty() {
            outbox::owe(&mut tx, lane, all, now_ms, now_ms).await?;
        }
        tx.commit().await?;
        Ok(!all.is_empty())
    }

    /// Forgets how far was owed what is long over.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_results(&self) -> Result<(), StoreError> {
        self.gate.write(sqlx::query("DELETE FROM results WHERE at_ms < $1").bind(clock::now_ms() - REMEMBERED_MS)).await?;
        Ok(())
    }

    /// The deployment that was live before `deployment`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn live_before(&self, deployment: &Deployment) -> Result<Option<Deployment>, StoreError> {
        let select = sqlx::query(select_deployments!(
            shown "WHERE d.service = $1 AND d.outcome_name = 'live' AND d.kind <> 'adopt' AND d.id < $2 ORDER BY d.id DESC LIMIT 1"
        ));
        let row = self.gate.fetch_optional(select.bind(deployment.order.service.as_str()).bind(deployment.id.as_str())).await?;
        row.as_ref().map(rows::deployment).transpose()
    }
}
