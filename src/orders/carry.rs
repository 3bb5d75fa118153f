//! One run, carried out by a process of its own; and who works the queue.

use std::sync::Arc;
use std::time::Duration;

use process::Cancel;
use tokio::task::JoinSet;

use crate::engine::EngineError;
use crate::executor;
use crate::model::DeploymentId;
use crate::model::State;
use crate::orders::Deployer;
use crate::store::StoreError;

/// How often it is looked whether the order was cancelled.
const ROUND: Duration = Duration::from_secs(1);

impl Deployer {
    /// Takes the running deployment `id` over and carries it out, and nothing else, until it has ended or `stop`. Returns whether it has
    /// ended.
    ///
    /// # Errors
    /// When the database does not answer at the beginning or at the end.
    pub async fn carry(self: Arc<Self>, id: &DeploymentId, stop: Cancel) -> Result<bool, StoreError> {
        let lease = self.config.now().store.lease;
        if let Some(turn) = self.store.for_runs().carry(id, self.executor.id(), lease).await? {
            let recovered = turn.deployment.attempts > 1;
            tokio::spawn(Arc::clone(&self).keep_leases(stop.clone()));
            let mut tasks = JoinSet::new();
            self.start(turn, recovered, &mut tasks);
            loop {
                tokio::select! {
                    _ = tasks.join_next() => break,
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(ROUND) => self.stop_cancelled().await.unwrap_or_default(),
                }
            }
            tasks.shutdown().await;
            self.hub.settled().await;
        }
        let stored = self.store.get(id).await?;
        Ok(stored.is_none_or(|stored| matches!(stored.state, State::Done { .. })))
    }

    /// Removes the container that has carried `id` out, in which this process runs. None: it does not know what to remove.
    ///
    /// # Errors
    /// When the engine or the database does not answer.
    pub async fn remove_carrier(&self, id: &DeploymentId) -> Result<Option<()>, EngineError> {
        let Some(deployment) = self.store.get(id).await? else { return Ok(None) };
        let config = self.config.now();
        let Some(service) = config.service(&deployment.order.service) else { return Ok(None) };
        let Some(lease) = self.store.lease_of_ended(&deployment) else { return Ok(None) };
        let Some(engine) = self.engine(service) else { return Ok(None) };
        let engine = engine.acting_for(lease);
        engine.remove_beside(&executor::container_of(id), &Cancel::default()).await.map(Some)
    }

    /// Stores that this server works the queue, where one of its services is the stack that it runs in. Returns whether that is said.
    pub(super) async fn take_seat(&self) -> Result<bool, StoreError> {
        let config = self.config.now();
        let Some(service) = config.services.values().find(|service| service.is_self) else { return Ok(false) };
        let Some(engine) = self.engine(service) else { return Ok(false) };
        match engine.own(&Cancel::default()).await {
            Ok(Some(own)) => self.store.for_runs().take_seat(&own.id).await.map(|()| true),
            Ok(None) => Ok(true),
            Err(error) => {
                tracing::warn!(%error, "which container this is could not be found out; trying again");
                Ok(false)
            }
        }
    }
}
