//! Reads deployments, and ends those that wait.

use sqlx::Row as _;

use crate::model::CancelledBy;
use crate::model::DeploymentId;
use crate::model::Outcome;
use crate::model::ServiceName;
use crate::store::Deployment;
use crate::store::Filter;
use crate::store::Listed;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::columns;
use crate::store::orders;
use crate::store::rows;
use crate::store::rows::select_deployments;

/// How many verified releases of a service a rollback chooses from.
pub const MOST_RELEASES: i64 = 200;

/// Every id is less than this.
const BEHIND_ALL: &str = "zzzzzzzzzzzzzzzzzzzzzzzzzzz";

/// The statement that reads a page. Each combination of filters has its own statement, so that each uses its own index.
fn page(filter: &Filter) -> &'static str {
    match (filter.service.is_some(), filter.state.as_deref()) {
        (false, None) => select_deployments!("WHERE d.id < $1 ORDER BY d.id DESC LIMIT $2"),
        (true, None) => select_deployments!("WHERE d.id < $1 AND d.service = $3 ORDER BY d.id DESC LIMIT $2"),
        // Nearly all deployments are done, so hardly any row is read in vain.
        (false, Some("done")) => select_deployments!("WHERE d.id < $1 AND d.state = 'done' ORDER BY d.id DESC LIMIT $2"),
        (true, Some("done")) => select_deployments!("WHERE d.id < $1 AND d.service = $3 AND d.state = 'done' ORDER BY d.id DESC LIMIT $2"),
        (false, Some("waiting" | "running")) => {
            select_deployments!("WHERE d.id < $1 AND d.state <> 'done' AND d.state = $3 ORDER BY d.id DESC LIMIT $2")
        }
        (true, Some("waiting" | "running")) => {
            select_deployments!("WHERE d.id < $1 AND d.service = $3 AND d.state <> 'done' AND d.state = $4 ORDER BY d.id DESC LIMIT $2")
        }
        (false, Some(_)) => select_deployments!("WHERE d.id < $1 AND d.outcome_name = $3 ORDER BY d.id DESC LIMIT $2"),
        (true, Some(_)) => select_deployments!("WHERE d.id < $1 AND d.service = $3 AND d.outcome_name = $4 ORDER BY d.id DESC LIMIT $2"),
    }
}

impl Store {
    /// Ends a waiting deployment that will not be carried out. The outcome is the last line of its journal.
    ///
    /// Returns whether it was still waiting.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn finish_waiting(&self, id: &DeploymentId, outcome: &Outcome) -> Result<bool, StoreError> {
        let mut tx = self.gate.begin().await?;
        tx.alone("queue").await?;
        let ended = orders::end_waiting(&mut tx, id.as_str(), outcome).await?;
        tx.commit().await?;
        Ok(ended)
    }

    /// [`Store::finish_waiting`] for an order that nobody has approved yet. Returns whether it still waited for that.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn finish_unapproved(&self, id: &DeploymentId, outcome: &Outcome) -> Result<bool, StoreError> {
        let mut tx = self.gate.begin().await?;
        // No code is taken meanwhile.
        tx.alone("queue").await?;
        let unapproved = sqlx::query("SELECT id FROM deployments WHERE id = $1 AND state = 'waiting' AND waits_for = 'approval'");
        if tx.fetch_optional(unapproved.bind(id.as_str())).await?.is_none() {
            return Ok(false);
        }
        let ended = orders::end_waiting(&mut tx, id.as_str(), outcome).await?;
        tx.commit().await?;
        Ok(ended)
    }

    /// Records that a deployment must be cancelled: a running one now, a waiting one at its turn. Returns whether it had not ended yet.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn ask_cancel(&self, id: &DeploymentId, by: &CancelledBy) -> Result<bool, StoreError> {
        let ask = sqlx::query("UPDATE deployments SET cancel_by = COALESCE(cancel_by, $2) WHERE id = $1 AND state <> 'done'");
        Ok(self.gate.write(ask.bind(id.as_str()).bind(by.to_string())).await? == 1)
    }

    /// One deployment.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn get(&self, id: &DeploymentId) -> Result<Option<Deployment>, StoreError> {
        let one = sqlx::query(select_deployments!("WHERE d.id = $1")).bind(id.as_str());
        self.gate.fetch_optional(one).await?.as_ref().map(rows::deployment).transpose()
    }

    /// Deployments, newest first. A row that cannot be read does not hide the others.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list(&self, filter: &Filter) -> Result<Listed, StoreError> {
        let before = filter.before.as_ref().map_or(BEHIND_ALL, |id| id.as_str());
        let mut page = sqlx::query(page(filter)).bind(before).bind(filter.limit);
        if let Some(service) = &filter.service {
            page = page.bind(service.as_str());
        }
        if let Some(state) = filter.state.as_deref().filter(|state| *state != "done") {
            page = page.bind(state);
        }
        Ok(rows::listed(&self.gate.fetch_all(page).await?))
    }

    /// The verified deployments of a service, newest first, as many as a rollback can choose from. Only the newest is complete; the others
    /// lack the columns that only their runs need. One that cannot be read is in the list as its error, so that the next older one is not
    /// mistaken for the newest.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn verified(&self, service: &ServiceName) -> Result<Vec<Result<Deployment, StoreError>>, StoreError> {
        self.last_verified(service, MOST_RELEASES).await
    }

    /// [`Store::verified`], at most `most` of them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn last_verified(&self, service: &ServiceName, most: i64) -> Result<Vec<Result<Deployment, StoreError>>, StoreError> {
        let verified =
            sqlx::query(select_deployments!(releases "WHERE r.service = $1 AND r.verified = 1 ORDER BY r.deployment DESC LIMIT $2"));
        let verified = self.gate.fetch_all(verified.bind(service.as_str()).bind(most)).await?;
        let mut verified: Vec<_> = verified.iter().map(rows::deployment).collect();
        if let Some(Ok(newest)) = verified.first_mut()
            && let Some(whole) = self.get(&newest.id).await?
        {
            *newest = whole;
        }
        Ok(verified)
    }

    /// The running and the waiting deployment of a service. A row that cannot be read is returned as well, because it may be either of the
    /// two: it must not count as nothing.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn unfinished(&self, service: &ServiceName) -> Result<Listed, StoreError> {
        let unfinished = sqlx::query(select_deployments!("WHERE d.service = $1 AND d.state <> 'done' ORDER BY d.id"));
        Ok(rows::listed(&self.gate.fetch_all(unfinished.bind(service.as_str())).await?))
    }

    /// The last ended deployment of a service that changed the host, or why it cannot be read.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn last_change(&self, service: &ServiceName) -> Result<Option<Result<Deployment, StoreError>>, StoreError> {
        let last = sqlx::query(select_deployments!(
            "WHERE r.service = $1 AND r.changed = 1 AND d.state = 'done' ORDER BY r.deployment DESC LIMIT 1"
        ));
        Ok(self.gate.fetch_optional(last.bind(service.as_str())).await?.as_ref().map(rows::deployment))
    }

    /// How many deployments are waiting, and how many are running.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn counts(&self) -> Result<(i64, i64), StoreError> {
        let counts = sqlx::query("SELECT state, COUNT(*) AS many FROM deployments WHERE state <> 'done' GROUP BY state");
        let mut waiting = 0;
        let mut running = 0;
        for row in self.gate.fetch_all(counts).await? {
            let many: i64 = row.try_get("many")?;
            match row.try_get::<String, _>("state")?.as_str() {
                "waiting" => waiting = many,
                "running" => running = many,
                other => {
                    return Err(columns::wrong(&row, "deployments", "state", &format!("\"{}\" is not a state", other.escape_default())));
                }
            }
        }
        Ok((waiting, running))
    }
}
