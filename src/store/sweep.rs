//! Deletes old rows, a few at a time, so that nothing has to wait. What may be deleted is decided elsewhere.

use sqlx::Row as _;

use crate::store::Store;
use crate::store::StoreError;
use crate::store::deployments::MOST_RELEASES;
use crate::store::many;

/// How many deployments are read, and how many are deleted, at a time.
const PAGE: i64 = 128;
/// How many rows of anything else are deleted at a time.
const BATCH: i64 = 500;

/// A position among all ended deployments, in the order of their end.
#[derive(Debug, Clone, Default)]
pub struct Place {
    ended_ms: i64,
    id: String,
}

/// An ended deployment, and what is stored about it.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Its id, which may be unreadable as an id.
    pub id: String,
    /// Its service.
    pub service: String,
    /// When it ended (ms since 1970, UTC).
    pub ended_ms: i64,
    /// Whether a run of it was verified.
    pub is_verified: bool,
    /// Whether a run of it has not ended.
    pub is_running: bool,
    /// The position of its first line; none: it has no line.
    pub first_line: Option<i64>,
    /// The position of its last line.
    pub last_line: i64,
}

impl Ended {
    /// How many lines it has.
    #[must_use]
    pub fn lines(&self) -> i64 {
        self.first_line.map_or(0, |first| (self.last_line - first + 1).max(1))
    }

    /// Its place.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { ended_ms: self.ended_ms, id: self.id.clone() }
    }
}

/// What is deleted by its age alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Old {
    /// The ids of calls that were received.
    Deliveries,
    /// What happened that people may want to hear of.
    Events,
    /// The marks of deployments whose end was such an event.
    Noticed,
    /// The marks of deployments whose state was reported to their forge.
    Results,
    /// Looks, each by itself.
    Looks,
    /// The sums of the looks of an hour.
    HoursOfLooks,
    /// Incidents that are closed.
    Incidents,
    /// Watches that have ended.
    Watches,
    /// Failed attempts to authenticate, by the minute.
    Attempts,
}

impl Old {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Deliveries,
        Self::Events,
        Self::Noticed,
        Self::Results,
        Self::Looks,
        Self::HoursOfLooks,
        Self::Incidents,
        Self::Watches,
        Self::Attempts,
    ];

    /// The statement that deletes a batch of it. What is of the same time goes together, so there may be a few more than that.
    fn delete(self) -> &'static str {
        match self {
            Self::Deliveries => {
                "DELETE FROM deliveries WHERE at_ms < $1
                   AND at_ms <= COALESCE((SELECT at_ms FROM deliveries WHERE at_ms < $1 ORDER BY at_ms LIMIT 1 OFFSET $2), $1)"
            }
            Self::Events => {
                "DELETE FROM events WHERE at_ms < $1
                   AND at_ms <= COALESCE((SELECT at_ms FROM events WHERE at_ms < $1 ORDER BY at_ms LIMIT 1 OFFSET $2), $1)"
            }
            Self::Noticed => {
                "DELETE FROM noticed WHERE at_ms < $1
                   AND at_ms <= COALESCE((SELECT at_ms FROM noticed WHERE at_ms < $1 ORDER BY at_ms LIMIT 1 OFFSET $2), $1)"
            }
            Self::Results => {
                "DELETE FROM results WHERE at_ms < $1
                   AND at_ms <= COALESCE((SELECT at_ms FROM results WHERE at_ms < $1 ORDER BY at_ms LIMIT 1 OFFSET $2), $1)"
            }
            Self::Looks => {
                "DELETE FROM looks WHERE span_ms = 0 AND at_ms < $1 AND at_ms <=
                   COALESCE((SELECT at_ms FROM looks WHERE span_ms = 0 AND at_ms < $1 ORDER BY at_ms LIMIT 1 OFFSET $2), $1)"
            }
            Self::HoursOfLooks => {
                "DELETE FROM looks WHERE span_ms = 3600000 AND at_ms < $1 AND at_ms <=
                   COALESCE((SELECT at_ms FROM looks WHERE span_ms = 3600000 AND at_ms < $1 ORDER BY at_ms LIMIT 1 OFFSET $2), $1)"
            }
            Self::Incidents => {
                "DELETE FROM incidents WHERE closed_ms < $1 AND closed_ms <=
                   COALESCE((SELECT closed_ms FROM incidents WHERE closed_ms < $1 ORDER BY closed_ms LIMIT 1 OFFSET $2), $1)"
            }
            Self::Watches => {
                "DELETE FROM watches WHERE ended_ms < $1 AND ended_ms <=
                   COALESCE((SELECT ended_ms FROM watches WHERE ended_ms < $1 ORDER BY ended_ms LIMIT 1 OFFSET $2), $1)"
            }
            Self::Attempts => {
                "DELETE FROM attempts WHERE minute < $1
                   AND minute <= COALESCE((SELECT minute FROM attempts WHERE minute < $1 ORDER BY minute LIMIT 1 OFFSET $2), $1)"
            }
        }
    }
}

/// How far back a rollback of the service can go.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    /// The oldest verified deployment that a rollback can choose; none: all of them.
    pub oldest: Option<String>,
    /// The last deployment that changed the host.
    pub last_change: Option<String>,
}

impl Store {
    /// The next deployments after `place` that ended before `before_ms` (ms since 1970), in the order of their end.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn ended_before(&self, before_ms: i64, place: &Place) -> Result<Vec<Ended>, StoreError> {
        let ended = sqlx::query(
            "SELECT d.id, d.service, d.ended_ms, d.last_position,
               (SELECT COUNT(*) FROM runs AS r WHERE r.deployment = d.id AND r.verified = 1) AS verified,
               (SELECT COUNT(*) FROM runs AS r WHERE r.deployment = d.id AND r.state = 'running') AS running,
               (SELECT MIN(l.position) FROM lines AS l WHERE l.deployment = d.id) AS first_line
             FROM deployments AS d
             WHERE d.state = 'done' AND d.ended_ms < $1 AND (d.ended_ms, d.id) > ($2, $3) ORDER BY d.ended_ms, d.id LIMIT $4",
        );
        let ended = ended.bind(before_ms).bind(place.ended_ms).bind(&place.id).bind(PAGE);
        let read = |row: &sqlx::any::AnyRow| {
            Ok(Ended {
                id: row.try_get("id")?,
                service: row.try_get("service")?,
                ended_ms: row.try_get("ended_ms")?,
                is_verified: row.try_get::<i64, _>("verified")? > 0,
                is_running: row.try_get::<i64, _>("running")? > 0,
                first_line: row.try_get("first_line")?,
                last_line: row.try_get("last_position")?,
            })
        };
        self.gate.fetch_all(ended).await?.iter().map(read).collect()
    }

    /// How far back a rollback of `service` can go.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn reach(&self, service: &str) -> Result<Reach, StoreError> {
        let id = |row: Option<sqlx::any::AnyRow>| row.map(|row| row.try_get("deployment")).transpose();
        let oldest =
            sqlx::query("SELECT deployment FROM runs WHERE service = $1 AND verified = 1 ORDER BY deployment DESC LIMIT 1 OFFSET $2");
        let oldest = self.gate.fetch_optional(oldest.bind(service).bind(MOST_RELEASES - 1)).await?;
        let changed = sqlx::query("SELECT deployment FROM runs WHERE service = $1 AND changed = 1 ORDER BY deployment DESC LIMIT 1");
        let changed = self.gate.fetch_optional(changed.bind(service)).await?;
        Ok(Reach { oldest: id(oldest)?, last_change: id(changed)? })
    }

    /// Deletes the lines of the deployment `id` before `position`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_lines(&self, id: &str, position: i64) -> Result<(), StoreError> {
        let delete = sqlx::query("DELETE FROM lines WHERE deployment = $1 AND position < $2");
        self.gate.write(delete.bind(id).bind(position)).await?;
        Ok(())
    }

    /// Deletes the lines of the deployments `lines_of`, and everything about the deployments `whole`.
    ///
    /// # Errors
    /// When the database does not answer; then nothing is deleted.
    pub async fn forget_ended(&self, lines_of: &[&str], whole: &[&str]) -> Result<(), StoreError> {
        let mut tx = self.gate.begin().await?;
        for (delete, ids) in [
            ("DELETE FROM lines WHERE deployment IN", lines_of),
            ("DELETE FROM runs WHERE deployment IN", whole),
            ("DELETE FROM host_runs WHERE deployment IN", whole),
            ("DELETE FROM approval_codes WHERE deployment IN", whole),
            ("DELETE FROM approvals WHERE deployment IN", whole),
            ("DELETE FROM deployments WHERE id IN", whole),
        ] {
            for part in many::parts(ids) {
                let statement = many::among(delete, 1, part.len());
                tx.execute(part.iter().fold(statement, |statement, id| statement.bind(*id))).await?;
            }
        }
        tx.commit().await?;
        Ok(())
    }

    /// Deletes some of what is `old`, the oldest first: what is from before `before` (ms since 1970, but minutes for attempts). Returns
    /// whether there may be more.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_old(&self, old: Old, before: i64) -> Result<bool, StoreError> {
        let delete = sqlx::query(old.delete());
        Ok(self.gate.write(delete.bind(before).bind(BATCH)).await? as i64 > BATCH)
    }
}
