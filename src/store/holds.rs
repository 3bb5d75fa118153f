//! Holds: a rollback takes its service from CI, and gives back what was before it when it came to nothing.
//!
//! What held the service before an order stands in `meta` until the order has ended, so that it outlives a restart:
//! `hold_before/ORDER` is `ROLLBACK SINCE_MS UNTIL_MS` (`-`: without an end), or empty where nothing held it.

use sqlx::Row as _;

use crate::model::Outcome;
use crate::store::gate::Statement;
use crate::store::gate::Tx;

fn name(id: &str) -> String {
    format!("hold_before/{id}")
}

/// From now on the rollback `id` holds `service`.
pub(super) async fn take(tx: &mut Tx, service: &str, id: &str, since_ms: i64, until_ms: Option<i64>) -> Result<(), sqlx::Error> {
    let held = sqlx::query("SELECT deployment, since_ms, until_ms FROM holds WHERE service = $1").bind(service);
    let mut before = String::new();
    if let Some(row) = tx.fetch_optional(held).await? {
        let (by, since, until): (String, i64, Option<i64>) =
            (row.try_get("deployment")?, row.try_get("since_ms")?, row.try_get("until_ms")?);
        before = format!("{by} {since} {}", until.map_or_else(|| "-".to_owned(), |ms| ms.to_string()));
    }
    tx.execute(sqlx::query("INSERT INTO meta (name, value) VALUES ($1, $2)").bind(name(id)).bind(before)).await?;
    let hold = sqlx::query(
        "INSERT INTO holds (service, deployment, since_ms, until_ms) VALUES ($1, $2, $3, $4)
         ON CONFLICT (service) DO UPDATE SET deployment = $2, since_ms = $3, until_ms = $4",
    );
    tx.execute(hold.bind(service).bind(id).bind(since_ms).bind(until_ms)).await?;
    Ok(())
}

/// What held the service before the deployment `id`; no row where it is no rollback, or has ended.
pub(super) fn before(id: &str) -> Statement<'static> {
    sqlx::query("SELECT value FROM meta WHERE name = $1").bind(name(id))
}

/// The deployment `id` has ended. Where it is a rollback that changed nothing, its service is held as it was before, and a
/// later rollback that remembers this one's hold remembers that instead; a hold that somebody ended meanwhile stays ended.
pub(super) async fn settle(tx: &mut Tx, id: &str, outcome: &Outcome) -> Result<(), sqlx::Error> {
    let Some(row) = tx.fetch_optional(before(id)).await? else { return Ok(()) };
    let before: String = row.try_get("value")?;
    tx.execute(sqlx::query("DELETE FROM meta WHERE name = $1").bind(name(id))).await?;
    if !changed_nothing(outcome) {
        return Ok(());
    }
    let mut words = before.split(' ');
    let back = match (words.next().filter(|by| !by.is_empty()), words.next().and_then(|since| since.parse::<i64>().ok())) {
        (Some(by), Some(since)) => sqlx::query("UPDATE holds SET deployment = $2, since_ms = $3, until_ms = $4 WHERE deployment = $1")
            .bind(id)
            .bind(by)
            .bind(since)
            .bind(words.next().and_then(|until| until.parse::<i64>().ok())),
        _ => sqlx::query("DELETE FROM holds WHERE deployment = $1").bind(id),
    };
    tx.execute(back).await?;
    let remembered = sqlx::query("UPDATE meta SET value = $1 WHERE name LIKE 'hold_before/%' AND value LIKE $2");
    tx.execute(remembered.bind(&before).bind(format!("{id} %"))).await?;
    Ok(())
}

fn changed_nothing(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Refused { .. } | Outcome::Failed { .. } | Outcome::Superseded { .. } | Outcome::Cancelled { changed: false, .. }
    )
}
