//! Runs that a server has left, or gives back, so that another one goes on with them.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::model::AgentName;
use crate::model::DeploymentId;
use crate::model::ServiceName;
use crate::store::Deployment;
use crate::store::Fence;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::columns;
use crate::store::lease::Stored;

/// A run that belongs to an executor, or was left by one.
pub(super) struct Left {
    pub(super) id: DeploymentId,
    pub(super) service: ServiceName,
    /// Where it is carried out: [`Deployment::HERE`], an agent's name, or what stands for several.
    host: String,
    pub(super) run: i64,
    pub(super) executor: Option<String>,
    pub(super) stored: Stored,
}

impl Left {
    /// None: the row cannot be read. This is logged and left to an operator; it stops no other run.
    pub(super) fn of_row(row: &AnyRow) -> Result<Option<Self>, StoreError> {
        let names = columns::parsed(row, "runs", "deployment", DeploymentId::parse)
            .and_then(|id| Ok((id, columns::parsed(row, "runs", "service", ServiceName::parse)?)));
        let (id, service) = match names {
            Ok(names) => names,
            Err(error) => {
                tracing::error!(%error, "a deployment is not carried out");
                return Ok(None);
            }
        };
        let stored = Stored { fence: row.try_get("fence")?, lease_ms: row.try_get("lease_ms")?, now_ms: row.try_get("now_ms")? };
        let host = row.try_get("host")?;
        Ok(Some(Self { id, service, host, run: row.try_get("run")?, executor: row.try_get("executor")?, stored }))
    }

    /// Whether this server may go on with it. What agents carry out ends without being configured: the agent may be revoked, or not name
    /// the service any more; and the server that its agent is connected to goes on with it.
    pub(super) fn may_go_on(&self, services: &[ServiceName], elsewhere: &[AgentName]) -> bool {
        match self.host.as_str() {
            Deployment::HERE => services.contains(&self.service),
            host => !elsewhere.iter().any(|agent| agent.as_str() == host),
        }
    }
}

impl Store {
    /// The run belongs to nobody from now on: a server that its agent is connected to takes it over.
    ///
    /// # Errors
    /// When the database does not answer; then nothing has changed.
    pub async fn give_back(&self, fence: &Fence) -> Result<(), StoreError> {
        let give = sqlx::query(
            "UPDATE runs SET executor = NULL, lease_ms = 0, fence = fence + 1 WHERE deployment = $1 AND run = $2 AND fence = $3 AND state = 'running'",
        );
        self.gate.write(give.bind(fence.id.as_str()).bind(fence.run).bind(fence.number)).await?;
        self.leases.end(fence);
        Ok(())
    }
}
