//! Deletes old rows, a few at a time, so that nothing has to wait. What may be deleted is decided elsewhere.

use sqlx::Row as _;

use crate::store::Store;
use crate::store::StoreError;
use crate::store::deployments::MOST_RELEASES;
use crate::store::many;

/// How many deployments are read, and how many are deleted, at a time.
const PAGE: i64 = 128;
/// How many deliveries are deleted at a time.
const DELIVERIES: i64 = 500;

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

    /// Deletes some of the deliveries that came before `before_ms` (ms since 1970). Returns whether there may be more.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_deliveries(&self, before_ms: i64) -> Result<bool, StoreError> {
        // Deliveries of the same millisecond are deleted together, so there may be a few more than that.
        let delete = sqlx::query(
            "DELETE FROM deliveries WHERE at_ms < $1
               AND at_ms <= COALESCE((SELECT at_ms FROM deliveries WHERE at_ms < $1 ORDER BY at_ms LIMIT 1 OFFSET $2), $1)",
        );
        Ok(self.gate.write(delete.bind(before_ms).bind(DELIVERIES)).await? as i64 > DELIVERIES)
    }

    /// Deletes failed attempts before `minute` (minutes since 1970).
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_attempts(&self, minute: i64) -> Result<(), StoreError> {
        self.gate.write(sqlx::query("DELETE FROM attempts WHERE minute < $1").bind(minute)).await?;
        Ok(())
    }
}
