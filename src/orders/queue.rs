//! The queue: a waiting order is carried out when its service is free. It takes no input, runs on events and on a timer, and the next
//! round is its retry.

use std::sync::Arc;
use std::sync::PoisonError;
use std::time::Duration;

use process::Cancel;
use tokio::task::JoinSet;

use crate::clock;
use crate::landing::Claimed;
use crate::landing::Objection;
use crate::model::DeploymentId;
use crate::model::ServiceName;
use crate::model::State;
use crate::orders::Deployer;
use crate::orders::guards;
use crate::store::StoreError;
use crate::store::Turn;

/// How often it looks by itself.
const ROUND: Duration = Duration::from_secs(2);
/// How often old records are deleted.
const SWEEP: Duration = Duration::from_hours(1);

impl Deployer {
    /// Carries out orders until `stop`. First it finishes or undoes what an earlier process of this executor left. When this
    /// returns, nothing that it started runs any more; what it was at is continued by the next start.
    pub async fn work(self: Arc<Self>, stop: Cancel) {
        let mut tasks = JoinSet::new();
        tokio::spawn(Arc::clone(&self).keep_leases(stop.clone()));
        let mut swept: Option<tokio::time::Instant> = None;
        let mut renewed: Option<tokio::time::Instant> = None;
        loop {
            if let Err(error) = self.round(&mut tasks).await {
                tracing::error!(%error, "the queue could not be read; trying again");
            }
            // Not in every round: there is one for each order that comes.
            if renewed.is_none_or(|at| at.elapsed() >= ROUND) {
                match self.keep_what_runs().await {
                    Ok(()) => renewed = Some(tokio::time::Instant::now()),
                    Err(error) => tracing::error!(%error, "the running deployments could not be checked; trying again"),
                }
            }
            if swept.is_none_or(|at| at.elapsed() > SWEEP) {
                self.sweep().await;
                swept = Some(tokio::time::Instant::now());
            }
            while tasks.try_join_next().is_some() {}
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.wake.notified() => {}
                () = tokio::time::sleep(ROUND) => {}
            }
        }
        // Dropping a run ends its process groups; its row stays running and the next start takes it up.
        tasks.shutdown().await;
        self.hub.settled().await;
    }

    /// One round: continue interrupted deployments, and start waiting ones.
    async fn round(self: &Arc<Self>, tasks: &mut JoinSet<()>) -> Result<(), StoreError> {
        let services: Vec<ServiceName> = self.config.now().services.keys().cloned().collect();
        let at_work: Vec<DeploymentId> = self.running.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
        let store = self.store.for_runs();
        let lease = self.config.now().store.lease;
        for turn in store.reclaim(&services, self.executor.id(), &at_work, lease).await? {
            let deployment = &turn.deployment;
            tracing::warn!(deployment = %deployment.id, service = %deployment.order.service, "continuing a deployment that was left \
            unfinished");
            self.start(turn, true, tasks);
        }
        for turn in store.claim(&services, self.executor.id(), lease).await? {
            self.start(turn, false, tasks);
        }
        Ok(())
    }

    /// Renews the leases of what runs here until `stop`. It waits for nothing else: a run whose lease is not renewed in time ends.
    async fn keep_leases(self: Arc<Self>, stop: Cancel) {
        loop {
            let lease = self.config.now().store.lease;
            let is_idle = self.running.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
            if !is_idle {
                match tokio::time::timeout(lease / 4, self.store.renew(self.executor.id(), lease)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::error!(%error, "the leases could not be renewed; trying again"),
                    Err(_) => tracing::error!("the leases could not be renewed, because the database does not answer; trying again"),
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(ROUND.min(lease / 8)) => {}
            }
        }
    }

    /// Stops what others cancelled.
    async fn keep_what_runs(&self) -> Result<(), StoreError> {
        if self.running.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            return Ok(());
        }
        let services: Vec<ServiceName> = self.config.now().services.keys().cloned().collect();
        self.stop_cancelled(&services).await
    }

    fn start(self: &Arc<Self>, turn: Turn, recovered: bool, tasks: &mut JoinSet<()>) {
        let cancel = Cancel::default();
        let id = turn.deployment.id.clone();
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), cancel.clone());
        let deployer = Arc::clone(self);
        tasks.spawn(async move {
            deployer.carry_out(turn, recovered, cancel).await;
            deployer.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            deployer.wake.notify_one();
        });
    }

    async fn carry_out(&self, turn: Turn, recovered: bool, cancel: Cancel) {
        let config = self.config.now();
        let Some(service) = config.service(&turn.deployment.order.service).cloned() else { return };
        let refusal = guards::at_the_turn(&turn, service.max_wait, clock::now_ms()).err();
        let objection = refusal.and_then(|refusal| Some(Objection { guard: refusal.guard()?, why: refusal.to_string() }));
        let Some(lease) = self.store.lease(&turn.deployment.fence()) else { return };
        let id = turn.deployment.id.clone();
        let claimed = Claimed { deployment: turn.deployment, service, lease: lease.clone(), recovered, objection };
        tokio::select! {
            _ = self.executor.carry_out(&config, claimed, cancel) => {}
            // Dropping the run ends its process groups, before anybody else may take it over.
            () = lease.lost() => tracing::error!(deployment = %id, "the lease could not be renewed in time, so this run was ended together with every program that it had started"),
        }
    }

    /// A cancel may have been asked of another server of the same database.
    async fn stop_cancelled(&self, services: &[ServiceName]) -> Result<(), StoreError> {
        for service in services {
            // One that cannot be read is said where it is looked at, and stops nothing here.
            for deployment in self.store.for_runs().unfinished(service).await?.deployments {
                if deployment.cancel_by.is_some()
                    && matches!(deployment.state, State::Running { .. })
                    && let Some(cancel) = self.cancel_of(&deployment.id)
                {
                    cancel.cancel();
                }
            }
        }
        Ok(())
    }

    async fn sweep(&self) {
        let retention = self.config.now().retention.clone();
        let now = clock::now_ms();
        let journal = now - retention.journal.as_millis() as i64;
        let deliveries = now - retention.deliveries.as_millis() as i64;
        if let Err(error) = self.store.forget_older(journal, deliveries).await {
            tracing::warn!(%error, "old journals could not be deleted; trying again in an hour");
        }
    }
}
