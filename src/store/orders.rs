//! Orders: what the store is asked and what it answers, and how holds and waiting orders end.

use sqlx::Row as _;

use crate::clock;
use crate::model::DeploymentId;
use crate::model::KeyId;
use crate::model::LineKind;
use crate::model::Order;
use crate::model::Outcome;
use crate::model::Refusal;
use crate::model::ServiceName;
use crate::model::Step;
use crate::model::Tag;
use crate::store::OrderError;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::Terms;
use crate::store::Wanted;
use crate::store::audit::Entry;
use crate::store::gate::Statement;
use crate::store::gate::Tx;
use crate::store::holds;
use crate::store::rows::StoredOutcome;

/// A call that may be repeated: who sent it, its id, and the SHA-256 of its body in hex.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The caller's text form.
    pub caller: String,
    /// Its id.
    pub id: String,
    /// The body's hash.
    pub body_sha256: String,
}

/// The answer to an accepted order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Its deployment.
    pub id: DeploymentId,
    /// Whether the delivery came before, so that this is its first answer again.
    pub repeated: bool,
    /// The tag that is deployed; none: what is running, or the delivery came before.
    pub tag: Option<Tag>,
    /// The waiting deployment that it superseded.
    pub superseded: Option<DeploymentId>,
    /// The running deployment that it stops.
    pub preempted: Option<DeploymentId>,
}

/// What ending a hold has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumed {
    /// There was a hold, and it has ended.
    Now,
    /// There was no hold.
    NotHeld,
    /// The same delivery came before. If the service is held now, it still is.
    Before,
}

/// An order that is to be accepted.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) order: Order,
    pub(super) wanted: Wanted,
    pub(super) delivery: Option<Delivery>,
    pub(super) terms: Terms,
}

/// The beginning of the caller of a delivery that is identified by its body alone.
const BY_BODY: &str = "body:";
/// The beginning of the caller of an order that a watch places.
const BY_WATCH: &str = "watch:";
/// The arrival time of deliveries that are never forgotten.
const FOR_GOOD_MS: i64 = i64::MAX;

impl Delivery {
    /// A delivery of `caller` for `target` whose body is signed without a time: only the body's hash distinguishes it from others, and its
    /// signature never expires. Such deliveries are never forgotten.
    #[must_use]
    pub fn of_timeless_body(caller: &KeyId, target: &str, body_sha256: String) -> Self {
        Self { caller: format!("{BY_BODY}{caller}"), id: format!("{body_sha256} {target}"), body_sha256 }
    }

    /// The order of the watch over the release of `watched`. There is one at most, whoever places it, and however often.
    #[must_use]
    pub fn of_watch(watched: &DeploymentId) -> Self {
        Self { caller: format!("{BY_WATCH}{watched}"), id: "back".to_owned(), body_sha256: String::new() }
    }

    /// The time that is stored for it, if it arrived at `now_ms`.
    pub(super) fn at_ms(&self, now_ms: i64) -> i64 {
        if self.caller.starts_with(BY_BODY) { FOR_GOOD_MS } else { now_ms }
    }

    /// The deployment that this delivery made when it came before, with the body `body_sha256`.
    pub(super) fn answer(&self, body_sha256: &str, deployment: &str) -> Result<Option<DeploymentId>, OrderError> {
        if body_sha256 != self.body_sha256 {
            return Err(Refusal::IdReused.into());
        }
        let place = || format!("deliveries.deployment of {} {}", self.caller, self.id);
        let parsed = DeploymentId::parse(deployment).map_err(|error| StoreError::Value { place: place(), why: error.to_string() });
        Ok(Some(parsed?))
    }
}

impl Store {
    /// Ends the hold of `service` and records this in the audit trail. A repeated delivery changes nothing: a call that ended one hold must
    /// not end the next one.
    ///
    /// # Errors
    /// [`Refusal::IdReused`], or when the database does not answer; nothing has changed then.
    pub async fn resume(&self, service: &ServiceName, caller: &str, delivery: Option<&Delivery>) -> Result<Resumed, OrderError> {
        let mut tx = self.gate.begin().await?;
        tx.alone("queue").await?;
        if let Some(delivery) = delivery {
            if let Some(row) = tx.fetch_optional(find_delivery(delivery)).await? {
                if row.try_get::<String, _>("body_sha256")? != delivery.body_sha256 {
                    return Err(Refusal::IdReused.into());
                }
                return Ok(Resumed::Before);
            }
            // It makes no deployment.
            let remember = sqlx::query("INSERT INTO deliveries (caller, id, body_sha256, deployment, at_ms) VALUES ($1, $2, $3, '', $4)");
            let remember = remember.bind(&delivery.caller).bind(&delivery.id).bind(&delivery.body_sha256).bind(clock::now_ms());
            tx.execute(remember).await?;
        }
        let ended = tx.execute(sqlx::query("DELETE FROM holds WHERE service = $1").bind(service.as_str())).await?;
        let entry = Entry { caller: caller.to_owned(), action: "resume", target: service.to_string(), detail: String::new() };
        self.committed(tx, vec![entry]).await?;
        Ok(if ended > 0 { Resumed::Now } else { Resumed::NotHeld })
    }

    /// The answer that `delivery` got, if it came before.
    ///
    /// # Errors
    /// When the id came with a different body, or the database does not answer.
    pub async fn answered(&self, delivery: &Delivery) -> Result<Option<DeploymentId>, OrderError> {
        let Some(row) = self.gate.fetch_optional(find_delivery(delivery)).await? else { return Ok(None) };
        delivery.answer(&row.try_get::<String, _>("body_sha256")?, &row.try_get::<String, _>("deployment")?)
    }
}

/// Finds a delivery that came before.
fn find_delivery(delivery: &Delivery) -> Statement<'_> {
    let statement = sqlx::query("SELECT body_sha256, deployment FROM deliveries WHERE caller = $1 AND id = $2");
    statement.bind(&delivery.caller).bind(&delivery.id)
}

/// Ends a waiting deployment, with the outcome as the last line of its journal. Returns whether it was still waiting.
pub(super) async fn end_waiting(tx: &mut Tx, id: &str, outcome: &Outcome) -> Result<bool, StoreError> {
    let now_ms = clock::now_ms();
    let end = sqlx::query(
        "UPDATE deployments SET state = 'done', waits_for = NULL, outcome = $2, outcome_name = $3, ended_ms = $4,
           guard = $5, refused_by = $6, asker = NULL, waits_why = NULL, last_position = last_position + 1 WHERE id = $1 AND state = 'waiting'
         RETURNING last_position",
    );
    let stored = StoredOutcome::of(outcome);
    let end = end.bind(id).bind(stored.text).bind(outcome.name()).bind(now_ms).bind(stored.guard).bind(stored.refused_by);
    let Some(row) = tx.fetch_optional(end).await? else { return Ok(false) };
    // The last line tells those who follow the deployment.
    let line = sqlx::query(
        "INSERT INTO lines (deployment, run, seq, position, at_ms, step, kind, text)
         SELECT $1, 0, COALESCE(MAX(seq), 0) + 1, $2, $3, $4, $5, $6 FROM lines WHERE deployment = $1 AND run = 0",
    );
    let line = line.bind(id).bind(row.try_get::<i64, _>("last_position")?).bind(now_ms).bind(Step::Guards.as_str());
    tx.execute(line.bind(LineKind::Outcome.as_str()).bind(outcome.to_string())).await?;
    holds::settle(tx, id, outcome).await?;
    Ok(true)
}
