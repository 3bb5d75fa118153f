//! Looking at deployments, and ending those that wait.

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
use crate::store::orders;
use crate::store::rows;
use crate::store::rows::select_deployments;

impl Store {
    /// Ends a waiting deployment that is not to be carried out; its journal says how.
    ///
    /// Returns whether it still waited.
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

    /// Records that a deployment is to be cancelled: a running one now, a waiting one at its turn. Returns whether it had not
    /// ended yet.
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

    /// Deployments, newest first. A row that cannot be read hides no other.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list(&self, filter: &Filter) -> Result<Listed, StoreError> {
        let page = sqlx::query(select_deployments!(
            "WHERE ($1 IS NULL OR d.service = $1) AND ($2 IS NULL OR d.state = $2 OR d.outcome_name = $2) AND ($3 IS NULL OR d.id < $3)
             ORDER BY d.id DESC LIMIT $4"
        ));
        let page = page
            .bind(filter.service.as_ref().map(|name| name.as_str().to_owned()))
            .bind(filter.state.clone())
            .bind(filter.before.as_ref().map(|id| id.as_str().to_owned()))
            .bind(filter.limit);
        Ok(rows::listed(&self.gate.fetch_all(page).await?))
    }

    /// The verified deployments of a service, newest first. One that cannot be read stands in its place as its fault, so that
    /// nobody takes the one behind it for the newer.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn verified(&self, service: &ServiceName) -> Result<Vec<Result<Deployment, StoreError>>, StoreError> {
        let verified = sqlx::query(select_deployments!("WHERE r.service = $1 AND r.verified = 1 ORDER BY r.deployment DESC LIMIT 200"));
        Ok(self.gate.fetch_all(verified.bind(service.as_str())).await?.iter().map(rows::deployment).collect())
    }

    /// The last verified deployment of a service, or why it does not read.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn live(&self, service: &ServiceName) -> Result<Option<Result<Deployment, StoreError>>, StoreError> {
        let live = sqlx::query(select_deployments!("WHERE r.service = $1 AND r.verified = 1 ORDER BY r.deployment DESC LIMIT 1"));
        Ok(self.gate.fetch_optional(live.bind(service.as_str())).await?.as_ref().map(rows::deployment))
    }

    /// The running and the waiting deployment of a service. One that cannot be read may be either, and does something all the
    /// same: nobody may take it for nothing.
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

    /// The deployment of a service that has ended last; none also where it does not read.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn last_ended(&self, service: &ServiceName) -> Result<Option<Deployment>, StoreError> {
        let last = sqlx::query(select_deployments!("WHERE d.service = $1 AND d.state = 'done' ORDER BY d.id DESC LIMIT 1"));
        let row = self.gate.fetch_optional(last.bind(service.as_str())).await?;
        Ok(row.and_then(|row| rows::deployment(&row).ok()))
    }

    /// How many deployments wait and how many run.
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
                other => return Err(rows::wrong(&row, "deployments", "state", &format!("\"{}\" is not a state", other.escape_default()))),
            }
        }
        Ok((waiting, running))
    }
}
