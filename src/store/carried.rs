//! What a server and the process that replaces its stack tell each other: whose a run is, and who works the queue.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::Row as _;
use sqlx::migrate::MigrateError;
use text::Secret;
use tokio::time::Instant;

use crate::model::DeploymentId;
use crate::model::State;
use crate::store::Deployment;
use crate::store::RunLease;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::Turn;
use crate::store::gate::Gate;
use crate::store::gate::Purpose;
use crate::store::holds;
use crate::store::migrations;
use crate::store::now::by_the_databases_clock;

impl Store {
    /// Takes the running deployment `id` for `executor`, which carries out this one and no other: from now on whoever had it can neither
    /// write nor get leave to act. None where it does not run. Its attempts count only what `executor` begins again.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn carry(&self, id: &DeploymentId, executor: &str, lease: Duration) -> Result<Option<Turn>, StoreError> {
        let Some(before) = self.get(id).await? else { return Ok(None) };
        let asked = Instant::now();
        let mut tx = self.gate.begin().await?;
        let take = by_the_databases_clock!(
            self,
            "UPDATE runs SET attempts = attempts + CASE WHEN executor = $2 THEN 1 ELSE 0 END, executor = $2, fence = fence + 1, \
             lease_ms = $3 + ",
            " WHERE deployment = $1 AND run = 1 AND state = 'running'"
        );
        if tx.execute(sqlx::query(take).bind(id.as_str()).bind(executor).bind(lease.as_millis() as i64)).await? != 1 {
            return Ok(None);
        }
        let hold = holds::of(&mut tx, before.order.service.as_str()).await?;
        tx.commit().await?;
        let Some(deployment) = self.get(id).await? else { return Ok(None) };
        self.leases.begin(&self.leases_gate, deployment.fence(), asked, lease, false);
        Ok(Some(Turn { deployment, hold }))
    }

    /// The lease of a run that has ended, whose executor still has to clear up behind it; none: it has not ended.
    #[must_use]
    pub fn lease_of_ended(&self, deployment: &Deployment) -> Option<RunLease> {
        const ENOUGH: Duration = Duration::from_mins(1);
        if !matches!(deployment.state, State::Done { .. }) {
            return None;
        }
        self.leases.begin(&self.leases_gate, deployment.fence(), Instant::now(), ENOUGH, false);
        self.leases.of(&deployment.fence())
    }

    /// Stores that the server in the container `id` works the queue from now on.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn take_seat(&self, id: &str) -> Result<(), StoreError> {
        let take =
            sqlx::query("INSERT INTO meta (name, value) VALUES ('seat', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value");
        self.gate.write(take.bind(id)).await?;
        Ok(())
    }

    /// The container whose server took the queue last; none: none did that knew its container.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn seat(&self) -> Result<Option<String>, StoreError> {
        let row = self.gate.fetch_optional(sqlx::query("SELECT value FROM meta WHERE name = 'seat'")).await?;
        Ok(row.map(|row| row.try_get("value")).transpose()?)
    }

    /// Whether this version can use the PostgreSQL database at `url` as it is. Nothing is changed there.
    ///
    /// # Errors
    /// When the database does not answer, or a migration of it is another one than this version's of the same number.
    pub async fn fits(url: &Secret) -> Result<(), StoreError> {
        sqlx::any::install_default_drivers();
        let gate = Gate::new(url.reveal(), None, Purpose::Answers).map_err(StoreError::Open)?;
        let ours: BTreeMap<i64, Vec<u8>> = migrations().iter().map(|one| (one.version, one.checksum.to_vec())).collect();
        let rows = gate.fetch_all(sqlx::query("SELECT version, checksum FROM _sqlx_migrations")).await.map_err(StoreError::Open)?;
        for row in rows {
            let version: i64 = row.try_get("version")?;
            let checksum: Vec<u8> = row.try_get("checksum")?;
            if ours.get(&version).is_some_and(|ours| *ours != checksum) {
                return Err(StoreError::Migrate(MigrateError::VersionMismatch(version)));
            }
        }
        gate.close().await;
        Ok(())
    }
}
