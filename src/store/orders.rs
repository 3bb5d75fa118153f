//! Orders: accepted in one transaction, with everything that an acceptance changes.

use sqlx::AnyConnection;
use sqlx::Row as _;

use crate::clock;
use crate::model::DeploymentId;
use crate::model::Guard;
use crate::model::ImageRef;
use crate::model::LineKind;
use crate::model::Order;
use crate::model::OrderKind;
use crate::model::Outcome;
use crate::model::ServiceName;
use crate::model::Step;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::audit;
use crate::store::holds;
use crate::store::rows;

/// A call that may come again: who sent it, its id, and the SHA-256 of its body in hex.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The caller's text form.
    pub caller: String,
    /// Its id.
    pub id: String,
    /// The body's hash.
    pub body_sha256: String,
}

/// What an acceptance is bound by.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How many orders may wait in all.
    pub max_waiting: i64,
    /// How long a rollback holds its service, ms; none: until released.
    pub hold_ms: Option<i64>,
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Its deployment.
    pub id: DeploymentId,
    /// Whether this is the first answer given again.
    pub repeated: bool,
    /// The waiting deployment whose place it took.
    pub superseded: Option<DeploymentId>,
    /// The running deployment that it pre-empts.
    pub preempted: Option<DeploymentId>,
}

/// What came of ending a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// There was one, and it has ended.
    Now,
    /// There was none.
    NotHeld,
    /// The very same call came before; whatever holds the service now still does.
    Before,
}

/// Why an order was not accepted. Nothing was recorded.
#[derive(Debug, thiserror::Error)]
pub enum EnqueueError {
    /// The delivery id came with another body before.
    #[error("The delivery id was used for another body before; give every order an id of its own.")]
    IdReused,
    /// Too many orders wait.
    #[error("{0} orders wait already; try again when some have been carried out.")]
    Full(i64),
    /// Another order of the service waits, and this one may not take its place.
    #[error("An order of {0} waits already; try again when it has been carried out.")]
    Waiting(ServiceName),
    /// A guard says no.
    #[error("{why}")]
    Refused {
        /// Which.
        guard: Guard,
        /// Why.
        why: String,
    },
    /// The database does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for EnqueueError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(StoreError::Query(error))
    }
}

impl Store {
    /// Accepts `order`: when this returns, it is on disk, a waiting order of the service is superseded, and, for a
    /// rollback, the running one is told to stop and the service is held. A repeated delivery gets its first answer.
    ///
    /// `images` are what a rollback found in the record; empty where they are still to be resolved.
    ///
    /// # Errors
    /// [`EnqueueError`]; nothing has changed then.
    pub async fn enqueue(
        &self,
        order: &Order,
        images: &[ImageRef],
        delivery: Option<&Delivery>,
        limits: &Limits,
    ) -> Result<Accepted, EnqueueError> {
        let mut tx = self.pool.begin().await?;
        // The first statement writes, so that two acceptances never both read first and then wait for each other.
        sqlx::query("UPDATE meta SET value = '' WHERE name = 'queue'").execute(&mut *tx).await?;
        if let Some(delivery) = delivery
            && let Some(first) = first_answer(&mut tx, delivery).await?
        {
            return Ok(Accepted { id: first, repeated: true, superseded: None, preempted: None });
        }
        if order.kind == OrderKind::Deploy && !order.force && !order.dry_run {
            refuse_held(&mut tx, order).await?;
            refuse_late(&mut tx, order).await?;
        }
        let id = clock::new_id();
        let superseded = supersede_waiting(&mut tx, order, &id).await?;
        if superseded.is_none() {
            refuse_full(&mut tx, limits).await?;
        }
        insert(&mut tx, &id, order, images).await?;
        let preempted = if order.kind == OrderKind::Rollback { take_over(&mut tx, order, &id, limits).await? } else { None };
        if let Some(delivery) = delivery {
            remember(&mut tx, delivery, id.as_str()).await?;
        }
        let what = order.tag.as_ref().map_or("what runs", |tag| tag.as_str());
        let detail = format!("{} {what} as {id}", order.kind.as_str());
        audit::append(&mut tx, &order.caller.to_string(), "order", order.service.as_str(), &detail).await?;
        tx.commit().await?;
        Ok(Accepted { id, repeated: false, superseded, preempted })
    }

    /// Ends the hold of `service` and says so in the audit trail. A repeated delivery changes nothing: what was sent once to
    /// end one hold does not end the next.
    ///
    /// # Errors
    /// [`EnqueueError::IdReused`], or when the database does not answer; nothing has changed then.
    pub async fn release(&self, service: &ServiceName, caller: &str, delivery: Option<&Delivery>) -> Result<Released, EnqueueError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query("UPDATE meta SET value = '' WHERE name = 'queue'").execute(&mut *tx).await?;
        if let Some(delivery) = delivery {
            if seen(&mut tx, delivery).await?.is_some() {
                return Ok(Released::Before);
            }
            // It made no deployment.
            remember(&mut tx, delivery, "").await?;
        }
        let done = sqlx::query("DELETE FROM holds WHERE service = $1").bind(service.as_str()).execute(&mut *tx).await?;
        audit::append(&mut tx, caller, "release", service.as_str(), "").await?;
        tx.commit().await?;
        Ok(if done.rows_affected() > 0 { Released::Now } else { Released::NotHeld })
    }

    /// The answer that `delivery` got before, if it came before.
    ///
    /// # Errors
    /// When the id came with another body, or the database does not answer.
    pub async fn answered(&self, delivery: &Delivery) -> Result<Option<DeploymentId>, EnqueueError> {
        let mut connection = self.pool.acquire().await?;
        first_answer(&mut connection, delivery).await
    }
}

async fn first_answer(on: &mut AnyConnection, delivery: &Delivery) -> Result<Option<DeploymentId>, EnqueueError> {
    let Some(id) = seen(on, delivery).await? else { return Ok(None) };
    Ok(Some(DeploymentId::parse(&id).map_err(|error| StoreError::Value(error.to_string()))?))
}

/// What a delivery made when it came before.
async fn seen(on: &mut AnyConnection, delivery: &Delivery) -> Result<Option<String>, EnqueueError> {
    let row = sqlx::query("SELECT body_sha256, deployment FROM deliveries WHERE caller = $1 AND id = $2")
        .bind(&delivery.caller)
        .bind(&delivery.id)
        .fetch_optional(on)
        .await?;
    let Some(row) = row else { return Ok(None) };
    if row.try_get::<String, _>("body_sha256")? != delivery.body_sha256 {
        return Err(EnqueueError::IdReused);
    }
    Ok(Some(row.try_get("deployment")?))
}

async fn remember(on: &mut AnyConnection, delivery: &Delivery, deployment: &str) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO deliveries (caller, id, body_sha256, deployment, at_ms) VALUES ($1, $2, $3, $4, $5)")
        .bind(&delivery.caller)
        .bind(&delivery.id)
        .bind(&delivery.body_sha256)
        .bind(deployment)
        .bind(clock::now_ms())
        .execute(on)
        .await?;
    Ok(())
}

async fn refuse_held(on: &mut AnyConnection, order: &Order) -> Result<(), EnqueueError> {
    let row = sqlx::query("SELECT deployment, since_ms FROM holds WHERE service = $1 AND (until_ms IS NULL OR until_ms > $2)")
        .bind(order.service.as_str())
        .bind(clock::now_ms())
        .fetch_optional(on)
        .await?;
    let Some(row) = row else { return Ok(()) };
    let (by, since): (String, i64) = (row.try_get("deployment")?, row.try_get("since_ms")?);
    let why = format!(
        "The rollback {by} holds {service} since {since}; `tagalong release {service}` lets CI deploy again, or force this order.",
        service = order.service,
        since = clock::utc(since)
    );
    Err(EnqueueError::Refused { guard: Guard::Held, why })
}

async fn refuse_late(on: &mut AnyConnection, order: &Order) -> Result<(), EnqueueError> {
    let Some(mine) = order.run_number else { return Ok(()) };
    let row = sqlx::query(
        "SELECT run_number, id FROM deployments WHERE service = $1 AND verified = 1 AND kind = 'deploy' AND run_number IS NOT NULL
         ORDER BY id DESC LIMIT 1",
    )
    .bind(order.service.as_str())
    .fetch_optional(on)
    .await?;
    let Some(row) = row else { return Ok(()) };
    let (live, id): (i64, String) = (row.try_get("run_number")?, row.try_get("id")?);
    if mine >= live {
        return Ok(());
    }
    let why = format!("Run {mine} is older than run {live}, which deployment {id} landed; force the order to land it all the same.");
    Err(EnqueueError::Refused { guard: Guard::Late, why })
}

async fn refuse_full(on: &mut AnyConnection, limits: &Limits) -> Result<(), EnqueueError> {
    let row = sqlx::query("SELECT COUNT(*) AS waiting FROM deployments WHERE state = 'queued'").fetch_one(on).await?;
    let waiting: i64 = row.try_get("waiting")?;
    if waiting >= limits.max_waiting { Err(EnqueueError::Full(waiting)) } else { Ok(()) }
}

async fn supersede_waiting(on: &mut AnyConnection, order: &Order, by: &DeploymentId) -> Result<Option<DeploymentId>, EnqueueError> {
    let row = sqlx::query("SELECT id, kind FROM deployments WHERE service = $1 AND state = 'queued'")
        .bind(order.service.as_str())
        .fetch_optional(&mut *on)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let (old, kind): (String, String) = (row.try_get("id")?, row.try_get("kind")?);
    // What changes nothing takes nobody's place, and CI takes no operator's.
    let is_rollback_kept = order.kind == OrderKind::Deploy && kind == OrderKind::Rollback.as_str();
    if order.dry_run || order.kind == OrderKind::Adopt || is_rollback_kept {
        return Err(EnqueueError::Waiting(order.service.clone()));
    }
    let outcome = Outcome::Superseded { by: by.clone() };
    end_waiting(on, &old, &outcome).await?;
    Ok(DeploymentId::parse(&old).ok())
}

/// Ends a deployment that still waits, with the outcome as the last line of its journal. Returns whether it still waited.
pub(super) async fn end_waiting(on: &mut AnyConnection, id: &str, outcome: &Outcome) -> Result<bool, sqlx::Error> {
    let sql = "UPDATE deployments SET state = 'done', outcome = $2, outcome_name = $3, ended_ms = $4 WHERE id = $1 AND state = 'queued'";
    let done = sqlx::query(sql)
        .bind(id)
        .bind(serde_json::to_string(outcome).unwrap_or_default())
        .bind(outcome.name())
        .bind(clock::now_ms())
        .execute(&mut *on)
        .await?;
    if done.rows_affected() != 1 {
        return Ok(false);
    }
    // Whoever follows it is told by its last line.
    sqlx::query(
        "INSERT INTO lines (deployment, seq, at_ms, step, kind, text)
         SELECT $1, COALESCE(MAX(seq), 0) + 1, $2, $3, $4, $5 FROM lines WHERE deployment = $1",
    )
    .bind(id)
    .bind(clock::now_ms())
    .bind(Step::Guards.as_str())
    .bind(LineKind::Outcome.as_str())
    .bind(outcome.to_string())
    .execute(&mut *on)
    .await?;
    holds::settle(on, id, outcome).await?;
    Ok(true)
}

/// A rollback stops what runs and holds the service from now on.
async fn take_over(
    on: &mut AnyConnection,
    order: &Order,
    id: &DeploymentId,
    limits: &Limits,
) -> Result<Option<DeploymentId>, EnqueueError> {
    let now = clock::now_ms();
    holds::take(on, order.service.as_str(), id.as_str(), now, limits.hold_ms.map(|ms| now + ms)).await?;
    let row = sqlx::query("SELECT id FROM deployments WHERE service = $1 AND state = 'running'")
        .bind(order.service.as_str())
        .fetch_optional(&mut *on)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let running: String = row.try_get("id")?;
    sqlx::query("UPDATE deployments SET cancel_by = COALESCE(cancel_by, $2) WHERE id = $1")
        .bind(&running)
        .bind(format!("rollback {id}"))
        .execute(&mut *on)
        .await?;
    Ok(DeploymentId::parse(&running).ok())
}

async fn insert(on: &mut AnyConnection, id: &DeploymentId, order: &Order, images: &[ImageRef]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO deployments (id, service, kind, state, tag, digest, commit_id, git_ref, run_url, run_number, reason,
           force, dry_run, caller, verified, barrier, attempts, fence, created_ms, images)
         VALUES ($1, $2, $3, 'queued', $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 0, 0, 0, 0, $14, $15)",
    )
    .bind(id.as_str())
    .bind(order.service.as_str())
    .bind(order.kind.as_str())
    .bind(order.tag.as_ref().map(|tag| tag.as_str().to_owned()))
    .bind(order.digest.as_ref().map(|digest| digest.as_str().to_owned()))
    .bind(&order.commit)
    .bind(&order.git_ref)
    .bind(&order.run_url)
    .bind(order.run_number)
    .bind(&order.reason)
    .bind(i64::from(order.force))
    .bind(i64::from(order.dry_run))
    .bind(order.caller.to_string())
    .bind(clock::now_ms())
    .bind((!images.is_empty()).then(|| rows::images_text(images)))
    .execute(on)
    .await?;
    Ok(())
}
