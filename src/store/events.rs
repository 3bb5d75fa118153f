//! What happened that people may want to hear of, until it is owed to whoever wants it. Each of it is recorded once and owed once,
//! whichever server sees it first.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::clock;
use crate::model::DeploymentId;
use crate::model::Event;
use crate::model::EventKind;
use crate::model::EventName;
use crate::model::Lane;
use crate::model::ServiceName;
use crate::store::Owe;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::columns;
use crate::store::gate::Tx;
use crate::store::outbox;

/// How many events, and how many deployments that have ended, are looked at together.
const PAGE: i64 = 500;

/// See [`Store::happened`]; within a transaction, after whose commit [`Store::has_news`] is said.
pub(super) async fn happen(tx: &mut Tx, event: &Event) -> Result<bool, StoreError> {
    let insert = sqlx::query(
        "INSERT INTO events (kind, about, service, at_ms, what, why, next_command) VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (kind, about) DO NOTHING",
    );
    let insert = insert.bind(event.name.kind.as_str()).bind(&event.name.of).bind(event.service.as_ref().map(ServiceName::as_str));
    let insert = insert.bind(event.at_ms).bind(&event.what).bind(&event.why).bind(event.next.as_deref());
    Ok(tx.execute(insert).await? == 1)
}

fn event(row: &AnyRow) -> Result<Event, StoreError> {
    let kind = columns::parsed(row, "events", "kind", EventKind::parse)?;
    let service = row.try_get::<Option<String>, _>("service")?;
    let service = service.map(|_| columns::parsed(row, "events", "service", ServiceName::parse)).transpose()?;
    Ok(Event {
        name: EventName { kind, of: row.try_get("about")? },
        service,
        at_ms: row.try_get("at_ms")?,
        what: row.try_get("what")?,
        why: row.try_get("why")?,
        next: row.try_get("next_command")?,
    })
}

impl Store {
    /// Records `event`, unless one of its kind about the same thing was recorded before. Gives whether it is new. Whoever wants to hear
    /// of it is told soon afterwards, and after a restart as well.
    ///
    /// # Errors
    /// When the database does not answer; then it is not recorded.
    pub async fn happened(&self, event: &Event) -> Result<bool, StoreError> {
        let mut tx = self.gate.begin().await?;
        let is_new = happen(&mut tx, event).await?;
        tx.commit().await?;
        self.has_news();
        Ok(is_new)
    }

    /// Something was recorded that people may want to hear of: [`Store::news`] ends.
    pub(super) fn has_news(&self) {
        self.news.notify_one();
    }

    /// Ends when something was recorded here that people may want to hear of: an event, or the end of a deployment.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    /// The oldest events that are not owed yet.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn events_to_owe(&self) -> Result<Vec<Event>, StoreError> {
        let select = sqlx::query("SELECT * FROM events WHERE owed_ms IS NULL ORDER BY at_ms, kind, about LIMIT $1");
        let mut events = Vec::new();
        for row in self.gate.fetch_all(select.bind(PAGE)).await? {
            match event(&row) {
                Ok(event) => events.push(event),
                Err(error) if error.is_unreadable() => tracing::error!(%error, "nobody is told of an event"),
                Err(error) => return Err(error),
            }
        }
        Ok(events)
    }

    /// The event of that name; none: it is too old to be known.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn event(&self, name: &EventName) -> Result<Option<Event>, StoreError> {
        let select = sqlx::query("SELECT * FROM events WHERE kind = $1 AND about = $2");
        let row = self.gate.fetch_optional(select.bind(name.kind.as_str()).bind(&name.of)).await?;
        row.as_ref().map(event).transpose()
    }

    /// Owes `all`, which tell of the event `name`, unless that was done before. Gives whether it was done now.
    ///
    /// # Errors
    /// When the database does not answer; then nothing of it is owed.
    pub async fn owe_event(&self, lane: &Lane, name: &EventName, all: &[Owe]) -> Result<bool, StoreError> {
        let now_ms = clock::now_ms();
        let mut tx = self.gate.begin().await?;
        let mark = sqlx::query("UPDATE events SET owed_ms = $3 WHERE kind = $1 AND about = $2 AND owed_ms IS NULL");
        if tx.execute(mark.bind(name.kind.as_str()).bind(&name.of).bind(now_ms)).await? == 0 {
            return Ok(false);
        }
        if !all.is_empty() {
            outbox::owe(&mut tx, lane, all, now_ms, now_ms).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// The deployments that have ended since `since_ms` and whose end was not noticed yet, in the order in which they ended. One that
    /// does not read is said elsewhere, and hides no other.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn ends_to_notice(&self, since_ms: i64) -> Result<Vec<DeploymentId>, StoreError> {
        let mut ends = Vec::new();
        let mut ended_ms = since_ms;
        let mut id = String::new();
        loop {
            let page = sqlx::query(
                "SELECT d.id, d.ended_ms, (SELECT n.at_ms FROM noticed AS n WHERE n.deployment = d.id) AS noticed_ms
                 FROM deployments AS d
                 WHERE d.state = 'done' AND (d.ended_ms, d.id) > ($1, $2) ORDER BY d.ended_ms, d.id LIMIT $3",
            );
            let rows = self.gate.fetch_all(page.bind(ended_ms).bind(&id).bind(PAGE)).await?;
            for row in &rows {
                if row.try_get::<Option<i64>, _>("noticed_ms")?.is_none() {
                    ends.extend(columns::parsed(row, "deployments", "id", DeploymentId::parse).ok());
                }
            }
            let Some(last) = rows.last() else { return Ok(ends) };
            ended_ms = last.try_get("ended_ms")?;
            id = last.try_get("id")?;
        }
    }

    /// The end of the deployment `id` was noticed, and is this event, if it is any.
    ///
    /// # Errors
    /// When the database does not answer; then neither is recorded.
    pub async fn notice_end(&self, id: &DeploymentId, event: Option<&Event>) -> Result<(), StoreError> {
        let mut tx = self.gate.begin().await?;
        let mark = sqlx::query("INSERT INTO noticed (deployment, at_ms) VALUES ($1, $2) ON CONFLICT (deployment) DO NOTHING");
        if tx.execute(mark.bind(id.as_str()).bind(clock::now_ms())).await? == 1
            && let Some(event) = event
        {
            happen(&mut tx, event).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// The last deployment of `service` before `id` that has said how the service stands: one that is live, or one that failed.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn told_last(&self, service: &ServiceName, id: &DeploymentId) -> Result<Option<DeploymentId>, StoreError> {
        let select = sqlx::query(
            "SELECT (SELECT MAX(id) FROM deployments WHERE service = $1 AND outcome_name = 'live' AND id < $2) AS live,
               (SELECT MAX(id) FROM deployments WHERE service = $1 AND outcome_name = 'rolled_back' AND id < $2) AS rolled_back,
               (SELECT MAX(id) FROM deployments WHERE service = $1 AND outcome_name = 'rollback_failed' AND id < $2) AS rollback_failed,
               (SELECT MAX(id) FROM deployments WHERE service = $1 AND outcome_name = 'failed' AND id < $2) AS failed,
               (SELECT MAX(id) FROM deployments WHERE service = $1 AND outcome_name = 'broken' AND id < $2) AS broken,
               (SELECT MAX(id) FROM deployments WHERE service = $1 AND outcome_name = 'needs_operator' AND id < $2) AS needs_operator",
        );
        let row = self.gate.fetch_one(select.bind(service.as_str()).bind(id.as_str())).await?;
        let mut last: Option<String> = None;
        for name in ["live", "rolled_back", "rollback_failed", "failed", "broken", "needs_operator"] {
            last = last.max(row.try_get(name)?);
        }
        Ok(last.and_then(|id| DeploymentId::parse(&id).ok()))
    }
}
