//! Running deployments, each by its run on a host.

use std::time::Duration;

use smoke::Availability;
use sqlx::Row as _;
use sqlx::any::AnyRow;
use tokio::time::Instant;

use crate::clock;
use crate::config::WatchTerms;
use crate::model::AgentName;
use crate::model::DeploymentId;
use crate::model::LineDraft;
use crate::model::LineKind;
use crate::model::Outcome;
use crate::model::RolloutPlan;
use crate::model::ServiceName;
use crate::model::Stage;
use crate::model::Step;
use crate::model::Tree;
use crate::store::Deployment;
use crate::store::Facts;
use crate::store::Fence;
use crate::store::Hold;
use crate::store::RunLease;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::columns;
use crate::store::gate::Tx;
use crate::store::holds;
use crate::store::left::Left;
use crate::store::lines;
use crate::store::now::by_the_databases_clock;
use crate::store::rows;
use crate::store::rows::StoredOutcome;
use crate::store::rows::select_deployments;
use crate::store::watches;

/// The host of the run of a rollout, which is on several.
const SEVERAL: &str = "*";
/// The number of the run that carries out an order on that host.
const FIRST_RUN: i64 = 1;

/// A deployment whose turn has come.
#[derive(Debug, Clone)]
pub struct Turn {
    /// The deployment, which is running from now on.
    pub deployment: Deployment,
    /// The service's hold, also one whose time is over.
    pub hold: Option<Hold>,
}

/// Where an order is carried out.
#[derive(Debug, Clone)]
pub enum Site {
    /// On the host of this server.
    Here,
    /// On the host of an agent.
    At(AgentName),
    /// On several hosts, one after the other.
    Several(RolloutPlan),
}

impl Site {
    /// What stands for it in `runs`.
    fn columns(&self) -> (&str, Option<String>) {
        match self {
            Self::Here => (Deployment::HERE, None),
            Self::At(agent) => (agent.as_str(), None),
            Self::Several(plan) => (SEVERAL, text(Some(plan))),
        }
    }
}

/// How a run ends.
#[derive(Debug, Clone, Copy)]
pub struct Ending<'a> {
    /// Its outcome.
    pub outcome: &'a Outcome,
    /// The step that it was at.
    pub step: Stage,
    /// The number of the line of its journal that tells the outcome.
    pub seq: i64,
    /// How its release is watched from now on; none: it is not.
    pub watch: Option<WatchTerms>,
}

fn text<T: serde::Serialize>(value: Option<&T>) -> Option<String> {
    value.and_then(|value| serde_json::to_string(value).ok())
}

/// The deployments that can be read. Those that cannot are logged and left to an operator; they stop no others.
fn readable(rows: &[AnyRow]) -> Vec<Deployment> {
    let listed = rows::listed(rows);
    for error in listed.unreadable {
        tracing::error!(%error, "a deployment is not carried out");
    }
    listed.deployments
}

/// Takes one of several deployments. One that cannot be read, or whose rows are locked by another session, stops no other.
fn of_one(taken: Result<Option<Turn>, StoreError>) -> Result<Option<Turn>, StoreError> {
    match taken {
        Err(error) if error.is_unreadable() || error.is_held() => {
            tracing::error!(%error, "a deployment is not carried out");
            Ok(None)
        }
        taken => taken,
    }
}

impl Store {
    /// Begins those of the waiting `orders` whose turn has come, each where it is carried out: from now on each has a run of this
    /// executor. An order that has replaced one of them meanwhile is not included.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn claim(&self, orders: &[(DeploymentId, Site)], executor: &str, lease: Duration) -> Result<Vec<Turn>, StoreError> {
        // With this ORDER BY the database uses the index that contains only these few rows, however large the table is.
        let waiting = sqlx::query(select_deployments!(
            "WHERE d.state = 'waiting' AND d.waits_for = 'turn'
             AND NOT EXISTS (SELECT 1 FROM deployments AS b WHERE b.service = d.service AND b.state = 'running') ORDER BY d.service"
        ));
        let mut turns = Vec::new();
        for waiting in readable(&self.gate.fetch_all(waiting).await?) {
            let Some((_, site)) = orders.iter().find(|(id, _)| *id == waiting.id) else { continue };
            turns.extend(of_one(self.take(&waiting, site, executor, lease).await)?);
        }
        Ok(turns)
    }

    /// Begins a run of `waiting`, unless another server was faster.
    async fn take(&self, waiting: &Deployment, site: &Site, executor: &str, lease: Duration) -> Result<Option<Turn>, StoreError> {
        let asked = Instant::now();
        let mut tx = self.gate.begin().await?;
        // An order that is waiting while another one is decided must still be waiting when that decision is written, so no run may begin in
        // between.
        tx.alone("queue").await?;
        let free = tx.seizing("SELECT id FROM deployments WHERE id = $1 AND state = 'waiting'");
        if tx.fetch_optional(free.bind(waiting.id.as_str())).await?.is_none() {
            return Ok(None);
        }
        let now_ms = clock::now_ms();
        let service = waiting.order.service.as_str();
        let running = sqlx::query(
            "UPDATE deployments SET state = 'running', waits_for = NULL, waits_why = NULL, started_ms = COALESCE(started_ms, $2)
             WHERE id = $1 AND state = 'waiting' AND (granted_until_ms IS NULL OR granted_until_ms > $2)
               AND NOT EXISTS (SELECT 1 FROM deployments AS b WHERE b.service = $3 AND b.state = 'running')",
        );
        let running = running.bind(waiting.id.as_str()).bind(now_ms).bind(service);
        let run = sqlx::query(by_the_databases_clock!(
            self,
            "INSERT INTO runs (deployment, run, service, host, state, step, verified, barrier, changed, attempts, executor, fence, started_ms, plan, lease_ms)
             VALUES ($1, $2, $3, $4, 'running', $5, 0, 0, 0, 1, $6, 1, $7, $8, $9 + ",
            ") ON CONFLICT (deployment, run) DO UPDATE SET state = 'running', step = excluded.step, attempts = runs.attempts + 1,
               executor = excluded.executor, fence = runs.fence + 1, lease_ms = excluded.lease_ms"
        ));
        let (host, plan) = site.columns();
        let run = run.bind(waiting.id.as_str()).bind(FIRST_RUN).bind(service).bind(host).bind(Step::Guards.as_str());
        for statement in [running, run.bind(executor).bind(now_ms).bind(plan).bind(lease.as_millis() as i64)] {
            match tx.execute(statement).await {
                Ok(1) => {}
                Ok(_) => return Ok(None),
                // The unique indexes say that another server was faster, or that another run is active on the host.
                Err(sqlx::Error::Database(error)) if error.is_unique_violation() => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        let hold = holds::of(&mut tx, waiting.order.service.as_str()).await?;
        tx.commit().await?;
        let Some(deployment) = self.get(&waiting.id).await? else { return Ok(None) };
        self.leases.begin(&self.leases_gate, deployment.fence(), asked, lease, false);
        Ok(Some(Turn { deployment, hold }))
    }

    /// Takes over the runs of `executor` whose deployments are not in `at_work` (an earlier process left them, or a run that lost the
    /// database), and runs of other executors whose lease has expired. On this host it takes those of `services`, and on hosts of agents
    /// those whose agents are not `elsewhere`, connected to another server. From now on their previous owners can neither write nor get
    /// leave to act.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn reclaim(
        &self,
        services: &[ServiceName],
        executor: &str,
        at_work: &[DeploymentId],
        elsewhere: &[AgentName],
        lease: Duration,
    ) -> Result<Vec<Turn>, StoreError> {
        let running = by_the_databases_clock!(
            self,
            "SELECT r.deployment, r.service, r.host, r.run, r.executor, r.fence, r.lease_ms, ",
            " AS now_ms FROM runs AS r JOIN deployments AS d ON d.id = r.deployment
             WHERE r.state = 'running' AND r.run = 1 AND d.state = 'running' ORDER BY r.service"
        );
        let mut others = Vec::new();
        let mut taken = Vec::new();
        for row in self.gate.fetch_all(sqlx::query(running)).await? {
            let Some(left) = Left::of_row(&row)? else { continue };
            let is_own = left.executor.as_deref() == Some(executor);
            let wanted = if is_own { !at_work.contains(&left.id) } else { self.leases.has_run_out(&left.id, left.stored, lease) };
            if wanted && left.may_go_on(services, elsewhere) {
                taken.extend(of_one(self.take_over(&left, executor, lease).await)?);
            }
            others.push(left.id);
        }
        self.leases.keep(&others.iter().collect::<Vec<_>>());
        Ok(taken)
    }

    async fn take_over(&self, left: &Left, executor: &str, lease: Duration) -> Result<Option<Turn>, StoreError> {
        // A deployment that cannot be read is logged, and left as it is.
        if self.get(&left.id).await?.is_none() {
            return Ok(None);
        }
        let asked = Instant::now();
        let mut tx = self.gate.begin().await?;
        let free = tx.seizing("SELECT fence FROM runs WHERE deployment = $1 AND run = $2 AND fence = $3 AND state = 'running'");
        let free = free.bind(left.id.as_str()).bind(left.run).bind(left.stored.fence);
        if tx.fetch_optional(free).await?.is_none() {
            return Ok(None);
        }
        let take = by_the_databases_clock!(
            self,
            "UPDATE runs SET executor = $4, fence = fence + 1, attempts = attempts + 1, lease_ms = $5 + ",
            " WHERE deployment = $1 AND run = $2 AND fence = $3 AND state = 'running'"
        );
        let take = sqlx::query(take).bind(left.id.as_str()).bind(left.run).bind(left.stored.fence);
        if tx.execute(take.bind(executor).bind(lease.as_millis() as i64)).await? != 1 {
            return Ok(None);
        }
        let hold = holds::of(&mut tx, left.service.as_str()).await?;
        tx.commit().await?;
        let Some(deployment) = self.get(&left.id).await? else { return Ok(None) };
        // With SQLite, a previous owner may be working on a copy of the database, so it would not notice that it has lost the run.
        self.leases.begin(&self.leases_gate, deployment.fence(), asked, lease, !self.is_sqlite);
        Ok(Some(Turn { deployment, hold }))
    }

    /// Renews the leases of all runs of `executor`. Rows that another session has locked are skipped until the next time, so nothing waits
    /// for it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn renew(&self, executor: &str, lease: Duration) -> Result<(), StoreError> {
        let asked = Instant::now();
        let mut tx = self.leases_gate.begin().await?;
        let free = tx.seizing("SELECT deployment, run, fence FROM runs WHERE executor = $1 AND state = 'running'");
        let mut renewed = Vec::new();
        for row in tx.fetch_all(free.bind(executor)).await? {
            let id = columns::parsed(&row, "runs", "deployment", DeploymentId::parse)?;
            let fence = Fence { id, run: row.try_get("run")?, number: row.try_get("fence")? };
            let renew = by_the_databases_clock!(self, "UPDATE runs SET lease_ms = $3 + ", " WHERE deployment = $1 AND run = $2");
            let renew = sqlx::query(renew).bind(fence.id.to_string()).bind(fence.run).bind(lease.as_millis() as i64);
            tx.execute(renew).await?;
            renewed.push(fence);
        }
        tx.commit().await?;
        for fence in &renewed {
            self.leases.renewed(fence, asked, lease);
        }
        Ok(())
    }

    /// The lease of a run that was claimed or taken over here and has not ended; none: this server has no such run.
    #[must_use]
    pub fn lease(&self, fence: &Fence) -> Option<RunLease> {
        self.leases.of(fence)
    }

    /// Stores that `step` begins, together with `facts`. When this returns, both are on disk.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when another executor has taken over.
    pub async fn advance(&self, fence: &Fence, step: Stage, facts: &Facts) -> Result<(), StoreError> {
        let advance = sqlx::query(
            "UPDATE runs SET step = $4, images = COALESCE($5, images), barrier = COALESCE($6, barrier),
               pin_before = COALESCE($7, pin_before), ran_before = COALESCE($8, ran_before), resolved = COALESCE($9, resolved),
               baseline = COALESCE($10, baseline), report = COALESCE($11, report), undo_why = COALESCE($12, undo_why),
               verified = COALESCE($13, verified), away = COALESCE($14, away), parts = COALESCE($15, parts),
               files = COALESCE($16, files), files_before = COALESCE($17, files_before)
             WHERE deployment = $1 AND run = $2 AND fence = $3 AND state = 'running'",
        );
        let advance = advance
            .bind(fence.id.as_str())
            .bind(fence.run)
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
            .bind(facts.verified.map(i64::from))
            .bind(text(facts.away.as_ref()))
            .bind(text(facts.parts.as_ref()))
            .bind(facts.files.as_ref().map(Tree::to_string))
            .bind(text(facts.files_before.as_ref()));
        if self.gate.write(advance).await? == 1 { Ok(()) } else { Err(StoreError::Fenced) }
    }

    /// How available the page of `service` was during its last deployments, newest first, at most `most`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn last_away(&self, service: &ServiceName, most: i64) -> Result<Vec<Availability>, StoreError> {
        let select = "SELECT away FROM runs WHERE service = $1 AND away IS NOT NULL ORDER BY deployment DESC LIMIT $2";
        let found = self.gate.fetch_all(sqlx::query(select).bind(service.as_str()).bind(most)).await?;
        // One that cannot be read is merely missing from a comparison.
        Ok(found.iter().filter_map(|row| serde_json::from_str(row.try_get::<&str, _>("away").ok()?).ok()).collect())
    }

    /// Ends a run and its deployment with its outcome, whose text becomes the last line of the run's journal. If the run has changed something,
    /// the watch over the release before it ends, and the watch over its own release begins. Either all of it is stored or nothing.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when another executor has taken over.
    pub async fn finish(&self, fence: &Fence, ending: Ending<'_>) -> Result<(), StoreError> {
        let Ending { outcome, step, seq, watch } = ending;
        let mut tx = self.gate.begin().await?;
        // Holds must be restored in the order in which they were taken, so no order may be accepted in between.
        tx.alone("queue").await?;
        let now_ms = clock::now_ms();
        let service = end_run(&mut tx, fence, outcome, now_ms).await?.ok_or(StoreError::Fenced)?;
        let ended = sqlx::query(
            "UPDATE deployments SET state = 'done', outcome = $2, outcome_name = $3, ended_ms = $4, guard = $5, refused_by = $6
             WHERE id = $1 AND state = 'running'",
        );
        let stored = StoredOutcome::of(outcome);
        let ended = ended.bind(fence.id.as_str()).bind(stored.text).bind(outcome.name()).bind(now_ms);
        tx.execute(ended.bind(stored.guard).bind(stored.refused_by)).await?;
        let last = LineDraft { seq, at_ms: now_ms, step, kind: LineKind::Outcome, text: outcome.to_string() };
        lines::write(&mut tx, &fence.id, fence.run, &[last]).await?;
        holds::settle(&mut tx, fence.id.as_str(), outcome).await?;
        holds::follow(&mut tx, &service, fence.id.as_str(), outcome).await?;
        if outcome.is_change() {
            watches::overtake(&mut tx, &service, &fence.id, now_ms).await?;
        }
        if let Some(terms) = watch {
            watches::begin(&mut tx, self, &service, &fence.id, terms).await?;
        }
        tx.commit().await?;
        self.leases.end(fence);
        self.has_news();
        Ok(())
    }
}

/// Ends the run itself. Returns its service; none if another executor has taken it over.
async fn end_run(tx: &mut Tx, fence: &Fence, outcome: &Outcome, now_ms: i64) -> Result<Option<String>, StoreError> {
    let end = sqlx::query(
        "UPDATE runs SET state = 'done', outcome = $4, ended_ms = $5, verified = $6, changed = $7, lease_ms = NULL
         WHERE deployment = $1 AND run = $2 AND fence = $3 AND state = 'running' RETURNING service",
    );
    let end = end
        .bind(fence.id.as_str())
        .bind(fence.run)
        .bind(fence.number)
        .bind(StoredOutcome::of(outcome).text)
        .bind(now_ms)
        .bind(i64::from(matches!(outcome, Outcome::Live { .. })))
        .bind(i64::from(outcome.is_change()));
    Ok(tx.fetch_optional(end).await?.map(|row| row.try_get("service")).transpose()?)
}
