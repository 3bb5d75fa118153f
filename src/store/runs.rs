//! Deployments while they are carried out, and looking at them.

use smoke::Report;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::clock;
use crate::model::CancelledBy;
use crate::model::DeploymentId;
use crate::model::ImageRef;
use crate::model::LineKind;
use crate::model::Outcome;
use crate::model::ServiceName;
use crate::model::Step;
use crate::store::Deployment;
use crate::store::Filter;
use crate::store::Listed;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::holds;
use crate::store::orders;
use crate::store::rows;

/// Who writes: the deployment and the number of this run of it. Writes of an earlier run are refused.
#[derive(Debug, Clone)]
pub struct Fence {
    /// The deployment.
    pub id: DeploymentId,
    /// The run's number.
    pub number: i64,
}

/// What became known with a step; what is none stays as it was.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The exact images.
    pub images: Option<Vec<ImageRef>>,
    /// Whether the release must not be rolled back past.
    pub barrier: Option<bool>,
    /// The pin's bytes before it is written.
    pub pin_before: Option<String>,
    /// What ran before.
    pub ran_before: Option<String>,
    /// The resolved compose configuration, without its secrets.
    pub resolved: Option<String>,
    /// The smoke report of the running release.
    pub baseline: Option<Report>,
    /// The smoke report of the new one.
    pub report: Option<Report>,
    /// Why it is being undone.
    pub undo_why: Option<String>,
    /// Whether it was verified.
    pub verified: Option<bool>,
}

fn text<T: serde::Serialize>(value: Option<&T>) -> Option<String> {
    value.and_then(|value| serde_json::to_string(value).ok())
}

/// The deployments that read. Those that do not are said, and left to a person: they stop nothing else.
fn readable(rows: &[AnyRow]) -> Vec<Deployment> {
    let listed = rows::listed(rows);
    for error in listed.unreadable {
        tracing::error!(%error, "a deployment is not carried out");
    }
    listed.deployments
}

impl Store {
    /// Takes the oldest waiting orders of `services` whose service has nothing running, each for this executor.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn claim(&self, services: &[ServiceName], executor: &str, lease_ms: i64) -> Result<Vec<Deployment>, StoreError> {
        let waiting = sqlx::query(
            "SELECT * FROM deployments AS d WHERE state = 'queued'
             AND NOT EXISTS (SELECT 1 FROM deployments AS r WHERE r.service = d.service AND r.state = 'running') ORDER BY id",
        );
        let mut claimed = Vec::new();
        for waiting in readable(&self.gate.fetch_all(waiting).await?) {
            let (id, service) = (waiting.id.as_str(), waiting.order.service.as_str());
            if !services.contains(&waiting.order.service) {
                continue;
            }
            let taken = self.gate.write(sqlx::query(
                "UPDATE deployments SET state = 'running', step = $4, executor = $2, lease_ms = $3, fence = fence + 1, attempts = attempts + 1,
                   started_ms = COALESCE(started_ms, $5)
                 WHERE id = $1 AND state = 'queued'
                   AND NOT EXISTS (SELECT 1 FROM deployments AS r WHERE r.service = $6 AND r.state = 'running')",
            )
            .bind(id)
            .bind(executor)
            .bind(clock::now_ms() + lease_ms)
            .bind(Step::Guards.as_str())
            .bind(clock::now_ms())
            .bind(service)).await;
            match taken {
                Ok(1) => claimed.extend(self.get(&waiting.id).await?),
                Ok(_) => {}
                // Another server was quicker: the unique index says so.
                Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(claimed)
    }

    /// Takes over the running deployments of `executor` that are not among `at_work` (an earlier life left them, or a run
    /// that lost the database), and those of others whose lease has run out. From now on writes of their earlier runs are
    /// refused.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn reclaim(
        &self,
        services: &[ServiceName],
        executor: &str,
        at_work: &[DeploymentId],
        lease_ms: i64,
    ) -> Result<Vec<Deployment>, StoreError> {
        let running = self.gate.fetch_all(sqlx::query("SELECT * FROM deployments WHERE state = 'running' ORDER BY id")).await?;
        let mut taken = Vec::new();
        for row in running {
            let Some(left) = readable(std::slice::from_ref(&row)).pop() else { continue };
            let is_own = left.executor.as_deref() == Some(executor);
            let expired = row.try_get::<Option<i64>, _>("lease_ms")?.is_none_or(|lease| lease < clock::now_ms());
            let wanted = if is_own { !at_work.contains(&left.id) } else { expired };
            if !wanted || !services.contains(&left.order.service) {
                continue;
            }
            let done = self
                .gate
                .write(
                    sqlx::query(
                        "UPDATE deployments SET executor = $3, lease_ms = $4, fence = fence + 1, attempts = attempts + 1
                 WHERE id = $1 AND fence = $2 AND state = 'running'",
                    )
                    .bind(left.id.as_str())
                    .bind(left.fence)
                    .bind(executor)
                    .bind(clock::now_ms() + lease_ms),
                )
                .await?;
            if done == 1 {
                taken.extend(self.get(&left.id).await?);
            }
        }
        Ok(taken)
    }

    /// Prolongs the lease of everything that `executor` runs.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn renew(&self, executor: &str, lease_ms: i64) -> Result<(), StoreError> {
        self.gate
            .write(
                sqlx::query("UPDATE deployments SET lease_ms = $2 WHERE executor = $1 AND state = 'running'")
                    .bind(executor)
                    .bind(clock::now_ms() + lease_ms),
            )
            .await?;
        Ok(())
    }

    /// Stores that `step` begins, with what is known by then: when this returns, both are on disk.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when another run has taken over.
    pub async fn advance(&self, fence: &Fence, step: Step, facts: &Facts) -> Result<(), StoreError> {
        let done = self
            .gate
            .write(
                sqlx::query(
                    "UPDATE deployments SET step = $3, images = COALESCE($4, images), barrier = COALESCE($5, barrier),
               pin_before = COALESCE($6, pin_before), ran_before = COALESCE($7, ran_before), resolved = COALESCE($8, resolved),
               baseline = COALESCE($9, baseline), report = COALESCE($10, report), undo_why = COALESCE($11, undo_why),
               verified = COALESCE($12, verified)
             WHERE id = $1 AND fence = $2 AND state = 'running'",
                )
                .bind(fence.id.as_str())
                .bind(fence.number)
                .bind(step.as_str())
                .bind(facts.images.as_deref().map(rows::images_text))
                .bind(facts.barrier.map(i64::from))
                .bind(facts.pin_before.clone())
                .bind(facts.ran_before.clone())
                .bind(facts.resolved.clone())
                .bind(text(facts.baseline.as_ref()))
                .bind(text(facts.report.as_ref()))
                .bind(facts.undo_why.clone())
                .bind(facts.verified.map(i64::from)),
            )
            .await?;
        if done == 1 { Ok(()) } else { Err(StoreError::Fenced) }
    }

    /// Ends a run with `outcome`, whose text becomes line `seq` of the journal: both or neither.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when another run has taken over.
    pub async fn finish(&self, fence: &Fence, outcome: &Outcome, step: Step, seq: i64) -> Result<(), StoreError> {
        let is_rollback = self.gate.fetch_optional(holds::before(fence.id.as_str())).await?.is_some();
        let mut tx = self.gate.begin().await?;
        if is_rollback {
            // Holds are given back in the order in which they are taken: no acceptance comes between.
            tx.alone("queue").await?;
        }
        let done = tx
            .execute(
                sqlx::query(
                    "UPDATE deployments SET state = 'done', outcome = $3, outcome_name = $4, ended_ms = $5,
               verified = CASE WHEN $4 = 'live' THEN 1 ELSE 0 END, lease_ms = NULL
             WHERE id = $1 AND fence = $2 AND state = 'running'",
                )
                .bind(fence.id.as_str())
                .bind(fence.number)
                .bind(serde_json::to_string(outcome).unwrap_or_default())
                .bind(outcome.name())
                .bind(clock::now_ms()),
            )
            .await?;
        if done != 1 {
            return Err(StoreError::Fenced);
        }
        tx.execute(
            sqlx::query(
                "INSERT INTO lines (deployment, seq, at_ms, step, kind, text) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
            )
            .bind(fence.id.as_str())
            .bind(seq)
            .bind(clock::now_ms())
            .bind(step.as_str())
            .bind(LineKind::Outcome.as_str())
            .bind(outcome.to_string()),
        )
        .await?;
        holds::settle(&mut tx, fence.id.as_str(), outcome).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Ends a waiting deployment that is not to be carried out; its journal says how.
    ///
    /// Returns whether it still waited.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn finish_waiting(&self, id: &DeploymentId, outcome: &Outcome) -> Result<bool, StoreError> {
        let mut tx = self.gate.begin().await?;
        tx.alone("queue").await?;
        let ended = orders::end_waiting(&mut tx, id.as_str(), outcome).await?;
        tx.commit().await?;
        Ok(ended)
    }

    /// Records that a deployment is to be cancelled: a running one now, a waiting one at its turn. Returns whether it had not
    /// ended yet.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn ask_cancel(&self, id: &DeploymentId, by: &CancelledBy) -> Result<bool, StoreError> {
        let done = self
            .gate
            .write(
                sqlx::query("UPDATE deployments SET cancel_by = COALESCE(cancel_by, $2) WHERE id = $1 AND state <> 'done'")
                    .bind(id.as_str())
                    .bind(by.to_string()),
            )
            .await?;
        Ok(done == 1)
    }

    /// One deployment.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn get(&self, id: &DeploymentId) -> Result<Option<Deployment>, StoreError> {
        let row = self.gate.fetch_optional(sqlx::query("SELECT * FROM deployments WHERE id = $1").bind(id.as_str())).await?;
        row.as_ref().map(rows::deployment).transpose()
    }

    /// Deployments, newest first. A row that does not read hides no other.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list(&self, filter: &Filter) -> Result<Listed, StoreError> {
        let rows = self
            .gate
            .fetch_all(
                sqlx::query(
                    "SELECT * FROM deployments WHERE ($1 IS NULL OR service = $1) AND ($2 IS NULL OR state = $2 OR outcome_name = $2)
             AND ($3 IS NULL OR id < $3) ORDER BY id DESC LIMIT $4",
                )
                .bind(filter.service.as_ref().map(|name| name.as_str().to_owned()))
                .bind(filter.state.clone())
                .bind(filter.before.as_ref().map(|id| id.as_str().to_owned()))
                .bind(filter.limit),
            )
            .await?;
        Ok(rows::listed(&rows))
    }

    /// The verified deployments of a service, newest first. One that does not read stands in its place as its fault, so that
    /// nobody takes the one behind it for the newer.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn verified(&self, service: &ServiceName) -> Result<Vec<Result<Deployment, StoreError>>, StoreError> {
        let rows = self
            .gate
            .fetch_all(
                sqlx::query("SELECT * FROM deployments WHERE service = $1 AND verified = 1 ORDER BY id DESC LIMIT 200")
                    .bind(service.as_str()),
            )
            .await?;
        Ok(rows.iter().map(rows::deployment).collect())
    }

    /// The running and the waiting deployment of a service.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn unfinished(&self, service: &ServiceName) -> Result<Vec<Deployment>, StoreError> {
        let rows = self
            .gate
            .fetch_all(sqlx::query("SELECT * FROM deployments WHERE service = $1 AND state <> 'done' ORDER BY id").bind(service.as_str()))
            .await?;
        rows.iter().map(rows::deployment).collect()
    }

    /// The last ended deployment of a service that changed the host.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn last_change(&self, service: &ServiceName) -> Result<Option<Deployment>, StoreError> {
        let row = self.gate.fetch_optional(sqlx::query(
            "SELECT * FROM deployments WHERE service = $1 AND state = 'done'
             AND (outcome_name IN ('live', 'rolled_back', 'rollback_failed', 'broken', 'held') OR (outcome_name = 'cancelled' AND outcome LIKE '%\"changed\":true%'))
             ORDER BY id DESC LIMIT 1",
        )
        .bind(service.as_str())).await?;
        row.as_ref().map(rows::deployment).transpose()
    }

    /// How many deployments wait and how many run.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn counts(&self) -> Result<(i64, i64), StoreError> {
        let rows = self
            .gate
            .fetch_all(sqlx::query("SELECT state, COUNT(*) AS many FROM deployments WHERE state <> 'done' GROUP BY state"))
            .await?;
        let mut counts = (0, 0);
        for row in rows {
            let many: i64 = row.try_get("many")?;
            match row.try_get::<String, _>("state")?.as_str() {
                "queued" => counts.0 = many,
                "running" => counts.1 = many,
                other => return Err(rows::wrong(&row, "deployments", "state", &format!("\"{}\" is no state", other.escape_default()))),
            }
        }
        Ok(counts)
    }
}
