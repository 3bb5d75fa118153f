//! Orders: what is asked of the store and what it answers, and how a hold and a waiting order end.

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
use crate::store::audit;
use crate::store::audit::Entry;
use crate::store::gate::Statement;
use crate::store::gate::Tx;
use crate::store::holds;
use crate::store::rows::StoredOutcome;

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

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Its deployment.
    pub id: DeploymentId,
    /// Whether this is the first answer given again.
    pub repeated: bool,
    /// The tag that it lands; none: what runs, or the first answer is given again.
    pub tag: Option<Tag>,
    /// The waiting deployment whose place it took.
    pub superseded: Option<DeploymentId>,
    /// The running deployment that it pre-empts.
    pub preempted: Option<DeploymentId>,
}

/// What came of ending a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumed {
    /// There was one, and it has ended.
    Now,
    /// There was none.
    NotHeld,
    /// The very same call came before; whatever holds the service now still does.
    Before,
}

/// An order as the desk takes it.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) order: Order,
    pub(super) wanted: Wanted,
    pub(super) delivery: Option<Delivery>,
    pub(super) terms: Terms,
}

/// How the caller of a delivery begins that is known by its body alone.
const BY_BODY: &str = "body:";
/// When something came that is never forgotten.
const FOR_GOOD_MS: i64 = i64::MAX;

impl Delivery {
    /// What `caller` did to `target` because of a body that is signed without a time, so that nothing but its own hash tells it from
    /// every other one, and it would be good for ever. Such deliveries are never forgotten.
    #[must_use]
    pub fn of_timeless_body(caller: &KeyId, target: &str, body_sha256: String) -> Self {
        Self { caller: format!("{BY_BODY}{caller}"), id: format!("{body_sha256} {target}"), body_sha256 }
    }

    /// The time that it is remembered from, when it came at `now_ms`.
    pub(super) fn at_ms(&self, now_ms: i64) -> i64 {
        if self.caller.starts_with(BY_BODY) { FOR_GOOD_MS } else { now_ms }
    }

    /// The deployment that this delivery made when it came before with the body `body_sha256`.
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
    /// Ends the hold of `service` and says so in the audit trail. A repeated delivery changes nothing: what was sent once to
    /// end one hold does not end the next.
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
            // It made no deployment.
            let remember = sqlx::query("INSERT INTO deliveries (caller, id, body_sha256, deployment, at_ms) VALUES ($1, $2, $3, '', $4)");
            let remember = remember.bind(&delivery.caller).bind(&delivery.id).bind(&delivery.body_sha256).bind(clock::now_ms());
            tx.execute(remember).await?;
        }
        let ended = tx.execute(sqlx::query("DELETE FROM holds WHERE service = $1").bind(service.as_str())).await?;
        let entry = Entry { caller: caller.to_owned(), action: "resume", target: service.to_string(), detail: String::new() };
        let head = audit::append(&mut tx, &[entry]).await?;
        tx.commit().await?;
        self.head.note(&self.gate, &head).await;
        Ok(if ended > 0 { Resumed::Now } else { Resumed::NotHeld })
    }

    /// The answer that `delivery` got before, if it came before.
    ///
    /// # Errors
    /// When the id came with another body, or the database does not answer.
    pub async fn answered(&self, delivery: &Delivery) -> Result<Option<DeploymentId>, OrderError> {
        let Some(row) = self.gate.fetch_optional(find_delivery(delivery)).await? else { return Ok(None) };
        delivery.answer(&row.try_get::<String, _>("body_sha256")?, &row.try_get::<String, _>("deployment")?)
    }
}

/// What a delivery made when it came before.
fn find_delivery(delivery: &Delivery) -> Statement<'_> {
    let statement = sqlx::query("SELECT body_sha256, deployment FROM deliveries WHERE caller = $1 AND id = $2");
    statement.bind(&delivery.caller).bind(&delivery.id)
}

/// Ends a deployment that still waits, with the outcome as the last line of its journal. Returns whether it still waited.
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
    // Anybody who follows it is told by its last line.
    let line = sqlx::query(
        "INSERT INTO lines (deployment, run, seq, position, at_ms, step, kind, text)
         SELECT $1, 0, COALESCE(MAX(seq), 0) + 1, $2, $3, $4, $5, $6 FROM lines WHERE deployment = $1 AND run = 0",
    );
    let line = line.bind(id).bind(row.try_get::<i64, _>("last_position")?).bind(now_ms).bind(Step::Guards.as_str());
    tx.execute(line.bind(LineKind::Outcome.as_str()).bind(outcome.to_string())).await?;
    holds::settle(tx, id, outcome).await?;
    Ok(true)
}
