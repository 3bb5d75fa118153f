//! Which state of a deployment its forge was last owed a report of. The message in the outbox and this mark are written together, so that
//! each change is reported once, whichever server notices it first.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::clock;
use crate::model::DeploymentId;
use crate::model::Lane;
use crate::model::OrderKind;
use crate::model::ServiceName;
use crate::model::State;
use crate::store::Deployment;
use crate::store::Owe;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::columns;
use crate::store::outbox;
use crate::store::rows;
use crate::store::rows::select_deployments;

/// How many ended deployments are read at a time.
const PAGE: i64 = 500;
/// The mark of an ended deployment whose end was reported.
const ENDED: i64 = 3;

/// A deployment whose current state was not yet put into the outbox for its forge.
#[derive(Debug, Clone)]
pub struct Unowed {
    /// The deployment.
    pub id: DeploymentId,
    /// Its service.
    pub service: ServiceName,
}

impl Unowed {
    /// A row that cannot be read is logged elsewhere, and hides no other.
    fn of(row: &AnyRow) -> Option<Self> {
        let id = columns::parsed(row, "deployments", "id", DeploymentId::parse).ok()?;
        let service = columns::parsed(row, "deployments", "service", ServiceName::parse).ok()?;
        Some(Self { id, service })
    }
}

impl Store {
    /// The deployments whose current state was not reported yet, the oldest first: those that have not ended, and those that have ended
    /// since `since_ms`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn unowed(&self, since_ms: i64) -> Result<Vec<Unowed>, StoreError> {
        let unfinished = sqlx::query(
            "SELECT d.id, d.service FROM deployments AS d WHERE d.state <> 'done'
               AND COALESCE((SELECT x.stage FROM results AS x WHERE x.deployment = d.id), 0) < CASE d.state WHEN 'waiting' THEN 1 ELSE 2 END",
        );
        let mut unowed: Vec<Unowed> = self.gate.fetch_all(unfinished).await?.iter().filter_map(Unowed::of).collect();
        unowed.extend(self.unowed_ends(since_ms).await?);
        unowed.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(unowed)
    }

    /// Reads them in pages by the time of their end, as the sweep does.
    async fn unowed_ends(&self, since_ms: i64) -> Result<Vec<Unowed>, StoreError> {
        let mut unowed = Vec::new();
        let mut ended_ms = since_ms;
        let mut id = String::new();
        loop {
            let page = sqlx::query(
                "SELECT d.id, d.service, d.ended_ms, COALESCE((SELECT x.stage FROM results AS x WHERE x.deployment = d.id), 0) AS stage
                 FROM deployments AS d
                 WHERE d.state = 'done' AND (d.ended_ms, d.id) > ($1, $2) ORDER BY d.ended_ms, d.id LIMIT $3",
            );
            let rows = self.gate.fetch_all(page.bind(ended_ms).bind(&id).bind(PAGE)).await?;
            for row in &rows {
                if row.try_get::<i64, _>("stage")? < ENDED {
                    unowed.extend(Unowed::of(row));
                }
            }
            let Some(last) = rows.last() else { return Ok(unowed) };
            ended_ms = last.try_get("ended_ms")?;
            id = last.try_get("id")?;
        }
    }

    /// Stores the messages `all`, which report the state of `deployment`, unless this state or a later one was reported already. Returns
    /// whether they are owed now.
    ///
    /// # Errors
    /// When the database does not answer; then none of it is owed.
    pub async fn owe_results(&self, lane: &Lane, deployment: &Deployment, all: &[Owe]) -> Result<bool, StoreError> {
        let stage: i64 = match deployment.state {
            State::Waiting { .. } => 1,
            State::Running { .. } => 2,
            State::Done { .. } => ENDED,
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

    /// The deployment that was live before `deployment`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn live_before(&self, deployment: &Deployment) -> Result<Option<Deployment>, StoreError> {
        let select = sqlx::query(select_deployments!(
            shown "WHERE d.service = $1 AND d.outcome_name = 'live' AND d.id < $2 ORDER BY d.id DESC LIMIT 20"
        ));
        let rows = self.gate.fetch_all(select.bind(deployment.order.service.as_str()).bind(deployment.id.as_str())).await?;
        // Adoptions are never reported, and few services are adopted more than once.
        let is_adopted = |one: &Result<Deployment, StoreError>| one.as_ref().is_ok_and(|one| one.order.kind == OrderKind::Adopt);
        rows.iter().map(rows::deployment).find(|one| !is_adopted(one)).transpose()
    }
}
