//! What an agent has still to tell its control plane.

use sqlx::Row as _;

use crate::model::DeploymentId;
use crate::model::ServiceName;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::columns;

/// The name under which it stands up to which deployment the control plane knows everything.
const TOLD_TO: &str = "told_to";
/// The name under which the control plane's store is remembered.
const TOLD_WHOM: &str = "told_whom";

/// A deployment of which the control plane does not know everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untold {
    /// The deployment.
    pub id: DeploymentId,
    /// The position of the last line that the control plane has; 0: none.
    pub position: i64,
    /// Whether the control plane has the outcome.
    pub ended: bool,
}

impl Store {
    /// The newest deployments of which the control plane does not know everything, about `most`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn untold(&self, most: i64) -> Result<Vec<Untold>, StoreError> {
        let from = self.remembered(TOLD_TO).await?.unwrap_or_default();
        let begun = sqlx::query("SELECT deployment, position, ended FROM told WHERE whole = 0 ORDER BY deployment DESC LIMIT $1");
        let begun = self.gate.fetch_all(begun.bind(most)).await?;
        let fresh = sqlx::query(
            "SELECT d.id AS deployment FROM deployments AS d WHERE d.id > $1
             AND NOT EXISTS (SELECT 1 FROM told AS t WHERE t.deployment = d.id) ORDER BY d.id DESC LIMIT $2",
        );
        let fresh = self.gate.fetch_all(fresh.bind(from).bind(most)).await?;
        let mut untold = Vec::with_capacity(begun.len() + fresh.len());
        for row in &begun {
            let id = columns::parsed(row, "told", "deployment", DeploymentId::parse)?;
            untold.push(Untold { id, position: row.try_get("position")?, ended: row.try_get::<i64, _>("ended")? != 0 });
        }
        for row in &fresh {
            untold.push(Untold { id: columns::parsed(row, "deployments", "deployment", DeploymentId::parse)?, position: 0, ended: false });
        }
        untold.sort_by(|a, b| b.id.cmp(&a.id));
        Ok(untold)
    }

    /// The control plane is to be told of `id`, however old its id is: it gave that to an order which came only now.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn will_tell(&self, id: &DeploymentId) -> Result<(), StoreError> {
        let put =
            sqlx::query("INSERT INTO told (deployment, position, ended, whole) VALUES ($1, 0, 0, 0) ON CONFLICT (deployment) DO NOTHING");
        self.gate.write(put.bind(id.as_str())).await?;
        Ok(())
    }

    /// The control plane has the lines of `id` up to `position`; also its outcome where it `ended`; and with both everything where it is
    /// `whole`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn was_told(&self, untold: &Untold, whole: bool) -> Result<(), StoreError> {
        let put = sqlx::query(
            "INSERT INTO told (deployment, position, ended, whole) VALUES ($1, $2, $3, $4)
             ON CONFLICT (deployment) DO UPDATE SET position = excluded.position, ended = excluded.ended, whole = excluded.whole",
        );
        let put = put.bind(untold.id.as_str()).bind(untold.position).bind(i64::from(untold.ended)).bind(i64::from(whole));
        self.gate.write(put).await?;
        Ok(())
    }

    /// Everything up to here was told, if nothing is left: then `told` begins anew behind the newest deployment.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn nothing_is_untold(&self) -> Result<(), StoreError> {
        let mut tx = self.gate.begin().await?;
        tx.alone("queue").await?;
        let from = sqlx::query("SELECT value FROM meta WHERE name = $1").bind(TOLD_TO);
        let from = tx.fetch_optional(from).await?.map(|row| row.try_get::<String, _>("value")).transpose()?.unwrap_or_default();
        let begun = sqlx::query("SELECT deployment FROM told WHERE whole = 0 LIMIT 1");
        let fresh = sqlx::query(
            "SELECT d.id FROM deployments AS d WHERE d.id > $1
             AND NOT EXISTS (SELECT 1 FROM told AS t WHERE t.deployment = d.id) ORDER BY d.id DESC LIMIT 1",
        );
        if tx.fetch_optional(begun).await?.is_some() || tx.fetch_optional(fresh.bind(&from)).await?.is_some() {
            return Ok(());
        }
        let Some(row) = tx.fetch_optional(sqlx::query("SELECT id FROM deployments ORDER BY id DESC LIMIT 1")).await? else { return Ok(()) };
        let newest: String = row.try_get("id")?;
        if newest > from {
            tx.execute(put(TOLD_TO, &newest)).await?;
            tx.execute(sqlx::query("DELETE FROM told")).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// The control plane has the store `whom`, and of what has ended it knows at most what is not newer than `newest`. Where it has
    /// another store than before, everything is told anew.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn tells(&self, whom: &str, newest: Option<&DeploymentId>) -> Result<(), StoreError> {
        let before = self.remembered(TOLD_WHOM).await?;
        let from = self.remembered(TOLD_TO).await?.unwrap_or_default();
        let newest = newest.map(ToString::to_string).unwrap_or_default();
        let mut tx = self.gate.begin().await?;
        if before.as_deref() != Some(whom) {
            tx.execute(sqlx::query("DELETE FROM told")).await?;
            tx.execute(put(TOLD_TO, "")).await?;
            tx.execute(put(TOLD_WHOM, whom)).await?;
        } else if newest < from {
            tx.execute(put(TOLD_TO, &newest)).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// The control plane has the end of no deployment of `service` that is newer than `newest`: what was told of those counts as lost, and is
    /// told anew.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn tells_of(&self, service: &ServiceName, newest: Option<&DeploymentId>) -> Result<(), StoreError> {
        // Most know all of it, and then nothing is written.
        if self.newest_ended(service).await?.as_ref() <= newest {
            return Ok(());
        }
        let anew = sqlx::query(
            "INSERT INTO told (deployment, position, ended, whole)
             SELECT d.id, 0, 0, 0 FROM deployments AS d WHERE d.service = $1 AND d.state = 'done' AND d.id > $2
             ON CONFLICT (deployment) DO UPDATE SET position = 0, ended = 0, whole = 0 WHERE told.whole = 1",
        );
        self.gate.write(anew.bind(service.as_str()).bind(newest.map(ToString::to_string).unwrap_or_default())).await?;
        Ok(())
    }

    /// The position of the line `seq` of the first run of `id`; 0: there is none.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn position_of(&self, id: &DeploymentId, seq: i64) -> Result<i64, StoreError> {
        let position = sqlx::query("SELECT position FROM lines WHERE deployment = $1 AND run = 1 AND seq = $2");
        let row = self.gate.fetch_optional(position.bind(id.as_str()).bind(seq)).await?;
        Ok(row.map(|row| row.try_get("position")).transpose()?.unwrap_or(0))
    }

    async fn remembered(&self, name: &str) -> Result<Option<String>, StoreError> {
        let row = self.gate.fetch_optional(sqlx::query("SELECT value FROM meta WHERE name = $1").bind(name)).await?;
        Ok(row.map(|row| row.try_get("value")).transpose()?)
    }
}

fn put<'q>(name: &'q str, value: &'q str) -> crate::store::gate::Statement<'q> {
    sqlx::query("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value")
        .bind(name)
        .bind(value)
}
