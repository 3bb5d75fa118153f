//! Holds: while a service is held, CI's orders for it are refused. A rollback holds its service, and restores the previous hold if it
//! changed nothing. A deployment that is left for an operator holds it too, until somebody ends the hold or a forced order is live.
//!
//! The hold that a rollback replaced is stored in `meta` until the rollback has ended, so that it survives a restart: `hold_before/ORDER`
//! is `DEPLOYMENT SINCE_MS UNTIL_MS KIND` (`-`: without an end), or empty if nothing held the service.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::clock;
use crate::model::DeploymentId;
use crate::model::Outcome;
use crate::model::ServiceName;
use crate::model::WordError;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::columns;
use crate::store::gate::Statement;
use crate::store::gate::Tx;

/// Why CI's orders are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldKind {
    /// A rollback holds the service.
    Rollback,
    /// A deployment was left for an operator.
    NeedsOperator,
}

impl HoldKind {
    /// The text form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rollback => "rollback",
            Self::NeedsOperator => "needs_operator",
        }
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// When it is no kind of hold.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        match given {
            "rollback" => Ok(Self::Rollback),
            "needs_operator" => Ok(Self::NeedsOperator),
            _ => Err(WordError::new("The kind of hold", given, "it is rollback or needs_operator")),
        }
    }
}

/// The hold of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Why the service is held.
    pub kind: HoldKind,
    /// The deployment that holds it.
    pub by: String,
    /// Since when (ms since 1970, UTC).
    pub since_ms: i64,
    /// Until when; none: until somebody ends the hold.
    pub until_ms: Option<i64>,
}

impl Hold {
    /// Whether the hold is in effect at `now_ms`.
    #[must_use]
    pub fn holds_at(&self, now_ms: i64) -> bool {
        self.until_ms.is_none_or(|until| until > now_ms)
    }
}

/// A row of `holds`.
pub(super) fn read(row: &AnyRow) -> Result<Hold, StoreError> {
    Ok(Hold {
        kind: columns::parsed(row, "holds", "kind", HoldKind::parse)?,
        by: row.try_get("deployment")?,
        since_ms: row.try_get("since_ms")?,
        until_ms: row.try_get("until_ms")?,
    })
}

const OF_SERVICE: &str = "SELECT service, deployment, kind, since_ms, until_ms FROM holds WHERE service = $1";

/// The hold in a row of `holds`, if it is in effect at `now_ms`. Its deployment must be a readable id.
pub(super) fn at(row: &AnyRow, now_ms: i64) -> Result<Option<Hold>, StoreError> {
    columns::parsed(row, "holds", "deployment", DeploymentId::parse)?;
    Ok(Some(read(row)?).filter(|hold| hold.holds_at(now_ms)))
}

/// The service's hold, also one whose time is over.
pub(super) async fn of(tx: &mut Tx, service: &str) -> Result<Option<Hold>, StoreError> {
    tx.fetch_optional(sqlx::query(OF_SERVICE).bind(service)).await?.as_ref().map(read).transpose()
}

impl Store {
    /// The service's hold, also one whose time is over.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn hold(&self, service: &ServiceName) -> Result<Option<Hold>, StoreError> {
        self.gate.fetch_optional(sqlx::query(OF_SERVICE).bind(service.as_str())).await?.as_ref().map(read).transpose()
    }
}

fn name(id: &str) -> String {
    format!("hold_before/{id}")
}

fn remembered(hold: &Hold) -> String {
    let until = hold.until_ms.map_or_else(|| "-".to_owned(), |ms| ms.to_string());
    format!("{} {} {until} {}", hold.by, hold.since_ms, hold.kind.as_str())
}

/// Reads [`remembered`]. What an earlier version wrote has no kind, and was always a rollback's.
fn remember(text: &str) -> Option<Hold> {
    let mut words = text.split(' ');
    let by = words.next().filter(|by| !by.is_empty())?.to_owned();
    let since_ms = words.next()?.parse().ok()?;
    let until_ms = words.next().and_then(|until| until.parse().ok());
    let kind = words.next().map_or(Ok(HoldKind::Rollback), HoldKind::parse).ok()?;
    Some(Hold { kind, by, since_ms, until_ms })
}

async fn put(tx: &mut Tx, service: &str, hold: &Hold) -> Result<(), sqlx::Error> {
    let put = sqlx::query(
        "INSERT INTO holds (service, deployment, kind, since_ms, until_ms) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (service) DO UPDATE SET deployment = $2, kind = $3, since_ms = $4, until_ms = $5",
    );
    tx.execute(put.bind(service).bind(&hold.by).bind(hold.kind.as_str()).bind(hold.since_ms).bind(hold.until_ms)).await?;
    Ok(())
}

/// From now on the rollback `id` holds `service`. One that has held it before does not hold it anew.
pub(super) async fn take(tx: &mut Tx, service: &str, id: &str, since_ms: i64, until_ms: Option<i64>) -> Result<(), StoreError> {
    let before = of(tx, service).await?.as_ref().map(remembered).unwrap_or_default();
    let keep = sqlx::query("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING");
    if tx.execute(keep.bind(name(id)).bind(before)).await? == 1 {
        put(tx, service, &Hold { kind: HoldKind::Rollback, by: id.to_owned(), since_ms, until_ms }).await?;
    }
    Ok(())
}

/// The hold that the deployment `id` replaced. There is no row if it is no rollback, or has ended.
fn before(id: &str) -> Statement<'static> {
    sqlx::query("SELECT value FROM meta WHERE name = $1").bind(name(id))
}

/// Called when the deployment `id` has ended. If it is a rollback that changed nothing, the previous hold of its service is restored, and a
/// later rollback that stored this one's hold stores that one instead. A hold that somebody ended meanwhile stays ended.
pub(super) async fn settle(tx: &mut Tx, id: &str, outcome: &Outcome) -> Result<(), StoreError> {
    let Some(row) = tx.fetch_optional(before(id)).await? else { return Ok(()) };
    let before: String = row.try_get("value")?;
    tx.execute(sqlx::query("DELETE FROM meta WHERE name = $1").bind(name(id))).await?;
    if !changed_nothing(outcome) {
        return Ok(());
    }
    let back = match remember(&before) {
        Some(hold) => sqlx::query("UPDATE holds SET deployment = $2, kind = $3, since_ms = $4, until_ms = $5 WHERE deployment = $1")
            .bind(id)
            .bind(hold.by)
            .bind(hold.kind.as_str())
            .bind(hold.since_ms)
            .bind(hold.until_ms),
        None => sqlx::query("DELETE FROM holds WHERE deployment = $1").bind(id),
    };
    tx.execute(back).await?;
    let remembered = sqlx::query("UPDATE meta SET value = $1 WHERE name LIKE 'hold_before/%' AND value LIKE $2");
    tx.execute(remembered.bind(&before).bind(format!("{id} %"))).await?;
    Ok(())
}

/// Called when a run has ended, besides [`settle`]: a deployment that is left for an operator holds its service, and a release that is live
/// ends such a hold.
pub(super) async fn follow(tx: &mut Tx, service: &str, id: &str, outcome: &Outcome) -> Result<(), StoreError> {
    match outcome {
        Outcome::NeedsOperator { .. } => {
            let hold = Hold { kind: HoldKind::NeedsOperator, by: id.to_owned(), since_ms: clock::now_ms(), until_ms: None };
            // A waiting rollback holds the service already, and restores this hold if it changes nothing.
            let remember =
                sqlx::query("UPDATE meta SET value = $2 WHERE name = (SELECT 'hold_before/' || deployment FROM holds WHERE service = $1)");
            if tx.execute(remember.bind(service).bind(remembered(&hold))).await? == 0 {
                put(tx, service, &hold).await?;
            }
        }
        Outcome::Live { .. } => {
            // A repair restores what was live before, so the release that was left for an operator is still unresolved.
            let end = sqlx::query(
                "DELETE FROM holds WHERE service = $1 AND kind = 'needs_operator'
                   AND NOT EXISTS (SELECT 1 FROM deployments WHERE id = $2 AND cause LIKE 'repair %')",
            );
            tx.execute(end.bind(service).bind(id)).await?;
        }
        _ => {}
    }
    Ok(())
}

fn changed_nothing(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Refused { .. } | Outcome::Failed { .. } | Outcome::Superseded { .. } | Outcome::Cancelled { changed: false, .. }
    )
}
