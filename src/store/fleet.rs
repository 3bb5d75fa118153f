//! What a control plane keeps of its agents: which services stand on which hosts, who waits for a host, and what agents have told.

use smoke::Availability;
use smoke::Report as PageReport;

use crate::clock;
use crate::model::AgentName;
use crate::model::DeploymentId;
use crate::model::ImageRef;
use crate::model::LineDraft;
use crate::model::Order;
use crate::model::OrderKind;
use crate::model::Outcome;
use crate::model::ServiceName;
use crate::model::Stage;
use crate::store::Deployment;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::asking;
use crate::store::audit::Entry;
use crate::store::columns;
use crate::store::gate::Tx;
use crate::store::holds;
use crate::store::lines;
use crate::store::many;
use crate::store::ordered;
use crate::store::rows;
use crate::store::rows::StoredOutcome;
use crate::store::rows::select_deployments;

/// How much of an outcome stands in the audit trail, characters.
const LONGEST_DETAIL: usize = 1000;

/// A deployment that has ended elsewhere and is not in the record.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its id, which it was given there.
    pub id: DeploymentId,
    /// The order.
    pub order: Order,
    /// On whose host.
    pub agent: AgentName,
    /// Whether its service has other hosts as well: what one of them has is not live everywhere.
    pub is_one_of_several: bool,
    /// Its outcome.
    pub outcome: Outcome,
    /// The step that it was at.
    pub step: Stage,
    /// Its images.
    pub images: Vec<ImageRef>,
    /// Whether it was verified from outside.
    pub verified: bool,
    /// Whether one must not go back past it.
    pub barrier: bool,
    /// What ran before.
    pub ran_before: Option<String>,
    /// What the look at the page found.
    pub report: Option<PageReport>,
    /// How the page answered meanwhile.
    pub away: Option<Availability>,
    /// When it was taken, began and ended (ms since 1970, UTC).
    pub created_ms: i64,
    /// When it began; none: it was never begun.
    pub started_ms: Option<i64>,
    /// When it ended.
    pub ended_ms: i64,
}

impl Store {
    /// From now on `id`, which waits for its turn, waits for its host; `why` is a line of its journal. Returns whether it still waited
    /// for its turn.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn await_host(&self, id: &DeploymentId, why: &str) -> Result<bool, StoreError> {
        let mut tx = self.gate.begin().await?;
        let wait = sqlx::query(
            "UPDATE deployments SET waits_for = 'host', waits_since_ms = $2, waits_why = $3 WHERE id = $1 AND state = 'waiting' AND waits_for = 'turn'",
        );
        if tx.execute(wait.bind(id.as_str()).bind(clock::now_ms()).bind(why)).await? != 1 {
            return Ok(false);
        }
        asking::say(&mut tx, id, why).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// The host that `id` waits for is back: it waits for its turn again.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn host_is_back(&self, id: &DeploymentId) -> Result<(), StoreError> {
        let back = sqlx::query(
            "UPDATE deployments SET waits_for = 'turn', waits_why = NULL, waits_since_ms = NULL WHERE id = $1 AND state = 'waiting' AND waits_for = 'host'",
        );
        self.gate.write(back.bind(id.as_str())).await?;
        Ok(())
    }

    /// The orders that wait for their hosts.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn awaiting_hosts(&self) -> Result<Vec<Deployment>, StoreError> {
        // In this order the few rows are found by the index that keeps them few, whatever else the table holds.
        let waiting = sqlx::query(select_deployments!("WHERE d.state = 'waiting' AND d.waits_for = 'host' ORDER BY d.service"));
        let listed = rows::listed(&self.gate.fetch_all(waiting).await?);
        for error in listed.unreadable {
            tracing::error!(%error, "a deployment is not carried out");
        }
        Ok(listed.deployments)
    }

    /// Stores lines that an agent has numbered, of a run of its own or of the deployment itself. Lines that are stored already stay as
    /// they are.
    ///
    /// # Errors
    /// When the database does not answer. None of the lines is stored then.
    pub async fn copy_lines(&self, id: &DeploymentId, run: i64, lines: &[LineDraft]) -> Result<(), StoreError> {
        let mut tx = self.gate.begin().await?;
        lines::write(&mut tx, id, run, lines).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The newest deployment of a service that has ended.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn newest_ended(&self, service: &ServiceName) -> Result<Option<DeploymentId>, StoreError> {
        let newest = sqlx::query("SELECT id FROM deployments WHERE service = $1 AND state = 'done' ORDER BY id DESC LIMIT 1");
        let row = self.gate.fetch_optional(newest.bind(service.as_str())).await?;
        row.map(|row| columns::parsed(&row, "deployments", "id", DeploymentId::parse)).transpose()
    }

    /// Adds a deployment that has ended elsewhere, with an entry of the audit trail. Returns whether the record did not have it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn add_report(&self, report: &Report) -> Result<bool, StoreError> {
        let mut tx = self.gate.begin().await?;
        // Holds must be restored in the order in which they were taken, so no order may be accepted in between.
        tx.alone("queue").await?;
        let known = sqlx::query("SELECT id FROM deployments WHERE id = $1").bind(report.id.as_str());
        if tx.fetch_optional(known).await?.is_some() {
            return Ok(false);
        }
        write_deployment(&mut tx, report).await?;
        write_run(&mut tx, report).await?;
        let service = report.order.service.as_str();
        // One host of several holds itself, and frees nobody else.
        if !report.is_one_of_several {
            if report.order.kind == OrderKind::Rollback && report.outcome.is_change() {
                holds::take(&mut tx, service, report.id.as_str(), report.created_ms, None).await?;
            }
            holds::settle(&mut tx, report.id.as_str(), &report.outcome).await?;
            holds::follow(&mut tx, service, report.id.as_str(), &report.outcome).await?;
        }
        // Nobody here has ordered it, as far as is known here.
        let outcome: String = report.outcome.to_string().chars().take(LONGEST_DETAIL).collect();
        let detail = format!("{} was ordered by {}, as the agent tells: {outcome}", report.id, report.order.caller);
        let entry = Entry { caller: format!("agent:{}", report.agent), action: "outcome", target: service.to_owned(), detail };
        self.committed(tx, vec![entry]).await?;
        Ok(true)
    }
}

async fn write_deployment(tx: &mut Tx, report: &Report) -> Result<(), StoreError> {
    let table = "deployments (id, service, kind, state, outcome, outcome_name, guard, refused_by, started_ms, ended_ms, tag, digest, commit_id, \
                 git_ref, run_url, run_number, actor, reason, cause, force, dry_run, caller, proof, watch, by_user, guest, last_position, created_ms, told_by, told_ms)";
    let Report { order, outcome, .. } = report;
    let stored = StoredOutcome::of(outcome);
    let insert = many::insert(table, 30, 1, "")
        .bind(report.id.to_string())
        .bind(order.service.to_string())
        .bind(ordered::kind_text(order.kind))
        .bind("done")
        .bind(stored.text)
        .bind(outcome.name())
        .bind(stored.guard)
        .bind(stored.refused_by)
        .bind(report.started_ms)
        .bind(report.ended_ms);
    let insert = ordered::bind_order(insert, order).bind(0_i64).bind(report.created_ms);
    let insert = insert.bind(report.agent.to_string()).bind(clock::now_ms());
    tx.execute(insert).await?;
    Ok(())
}

async fn write_run(tx: &mut Tx, report: &Report) -> Result<(), StoreError> {
    let Some(started_ms) = report.started_ms else { return Ok(()) };
    let table = "runs (deployment, run, service, host, state, step, outcome, images, verified, barrier, changed, ran_before, report, away, \
                 attempts, fence, started_ms, ended_ms)";
    let insert = many::insert(table, 18, 1, "")
        .bind(report.id.to_string())
        .bind(1_i64)
        .bind(report.order.service.to_string())
        .bind(report.agent.to_string())
        .bind("done")
        .bind(report.step.as_str())
        .bind(StoredOutcome::of(&report.outcome).text)
        .bind((!report.images.is_empty()).then(|| rows::images_text(&report.images)))
        .bind(i64::from(report.verified && !report.is_one_of_several))
        .bind(i64::from(report.barrier))
        .bind(i64::from(report.outcome.is_change()))
        .bind(report.ran_before.clone())
        .bind(report.report.as_ref().and_then(|page| serde_json::to_string(page).ok()))
        .bind(report.away.as_ref().and_then(|away| serde_json::to_string(away).ok()))
        .bind(1_i64)
        .bind(1_i64)
        .bind(started_ms)
        .bind(report.ended_ms);
    tx.execute(insert).await?;
    if report.is_one_of_several {
        write_host_run(tx, report, started_ms).await?;
    }
    Ok(())
}

/// What an agent has told of one host of several.
async fn write_host_run(tx: &mut Tx, report: &Report, started_ms: i64) -> Result<(), StoreError> {
    let insert = sqlx::query(
        "INSERT INTO host_runs (deployment, run, service, host, goes_back, order_id, state, step, outcome, images, verified, barrier, ran_before,
           started_ms, ended_ms) VALUES ($1, 2, $2, $3, 0, $1, 'done', $4, $5, $6, $7, $8, $9, $10, $11)",
    );
    let insert = insert.bind(report.id.as_str()).bind(report.order.service.as_str()).bind(report.agent.as_str()).bind(report.step.as_str());
    let insert = insert.bind(serde_json::to_string(&report.outcome).unwrap_or_default()).bind(rows::images_text(&report.images));
    let insert = insert.bind(i64::from(report.verified)).bind(i64::from(report.barrier)).bind(report.ran_before.clone());
    tx.execute(insert.bind(started_ms).bind(report.ended_ms)).await?;
    Ok(())
}
