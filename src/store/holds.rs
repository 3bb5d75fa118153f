//! Holds: a rollback takes its service from CI, and gives back what was before it when it came to nothing.
//!
//! What held the service before an order stands in `meta` until the order has ended, so that it outlives a restart:
//! `hold_before/ORDER` is `ROLLBACK SINCE_MS UNTIL_MS` (`-`: without an end), or empty where nothing held it.

use sqlx::AnyConnection;
use sqlx::Row as _;

use crate::model::Outcome;

fn name(id: &str) -> String {
    format!("hold_before/{id}")
}

/// From now on the rollback `id` holds `service`.
pub(super) async fn take(on: &mut AnyConnection, service: &str, id: &str, since_ms: i64, until_ms: Option<i64>) -> Result<(), sqlx::Error> {
    let row =
        sqlx::query("SELECT deployment, since_ms, until_ms FROM holds WHERE service = $1").bind(service).fetch_optional(&mut *on).await?;
    let mut before = String::new();
    if let Some(row) = row {
        let (by, since, until): (String, i64, Option<i64>) =
            (row.try_get("deployment")?, row.try_get("since_ms")?, row.try_get("until_ms")?);
        before = format!("{by} {since} {}", until.map_or_else(|| "-".to_owned(), |ms| ms.to_string()));
    }
    sqlx::query("INSERT INTO meta (name, value) VALUES ($1, $2)").bind(name(id)).bind(before).execute(&mut *on).await?;
    sqlx::query(
        "INSERT INTO holds (service, deployment, since_ms, until_ms) VALUES ($1, $2, $3, $4)
         ON CONFLICT (service) DO UPDATE SET deployment = $2, since_ms = $3, until_ms = $4",
    )
    .bind(service)
    .bind(id)
    .bind(since_ms)
    .bind(until_ms)
    .execute(on)
    .await?;
    Ok(())
}

/// Whether the deployment is a rollback that has not ended.
pub(super) async fn is_open(on: &mut AnyConnection, id: &str) -> Result<bool, sqlx::Error> {
    Ok(sqlx::query("SELECT 1 FROM meta WHERE name = $1").bind(name(id)).fetch_optional(on).await?.is_some())
}

/// The deployment `id` has ended. Where it is a rollback that changed nothing, its service is held as it was before, and a
/// later rollback that remembers this one's hold remembers that instead; a hold that somebody ended meanwhile stays ended.
pub(super) async fn settle(on: &mut AnyConnection, id: &str, outcome: &Outcome) -> Result<(), sqlx::Error> {
    let row = sqlx::query("SELECT value FROM meta WHERE name = $1").bind(name(id)).fetch_optional(&mut *on).await?;
    let Some(row) = row else { return Ok(()) };
    let before: String = row.try_get("value")?;
    sqlx::query("DELETE FROM meta WHERE name = $1").bind(name(id)).execute(&mut *on).await?;
    if !changed_nothing(outcome) {
        return Ok(());
    }
    let mut words = before.split(' ');
    match (words.next().filter(|by| !by.is_empty()), words.next().and_then(|since| since.parse::<i64>().ok())) {
        (Some(by), Some(since)) => {
            sqlx::query("UPDATE holds SET deployment = $2, since_ms = $3, until_ms = $4 WHERE deployment = $1")
                .bind(id)
                .bind(by)
                .bind(since)
                .bind(words.next().and_then(|until| until.parse::<i64>().ok()))
                .execute(&mut *on)
                .await?;
        }
        _ => {
            sqlx::query("DELETE FROM holds WHERE deployment = $1").bind(id).execute(&mut *on).await?;
        }
    }
    sqlx::query("UPDATE meta SET value = $1 WHERE name LIKE 'hold_before/%' AND value LIKE $2")
        .bind(&before)
        .bind(format!("{id} %"))
        .execute(on)
        .await?;
    Ok(())
}

fn changed_nothing(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Refused { .. } | Outcome::Failed { .. } | Outcome::Superseded { .. } | Outcome::Cancelled { changed: false, .. }
    )
}
