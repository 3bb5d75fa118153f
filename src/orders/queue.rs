//! The queue: a waiting order is carried out when its service is free. It takes no input, runs on events and on a timer, and the next
//! round is its retry.

use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use process::Cancel;
use tokio::task::JoinSet;

use crate::clock;
use crate::config::Config;
use crate::config::Service;
use crate::landing::Claimed;
use crate::landing::Objection;
use crate::model::DeploymentId;
use crate::model::ServiceName;
use crate::orders::Deployer;
use crate::orders::Running;
use crate::orders::approval;
use crate::orders::guards;
use crate::orders::places::Chosen;
use crate::store::Deployment;
use crate::store::StoreError;
use crate::store::Turn;

/// How often it looks by itself.
const ROUND: Duration = Duration::from_secs(2);

impl Deployer {
    /// Carries out orders until `stop`. First it finishes or undoes what an earlier process of this executor left. When this
    /// returns, nothing that it started runs any more; what it was at is continued by the next start.
    pub async fn work(self: Arc<Self>, stop: Cancel) {
        let mut tasks = JoinSet::new();
        tokio::spawn(Arc::clone(&self).keep_leases(stop.clone()));
        if let Err(error) = self.store.for_runs().ask_for_approvals_now().await {
            tracing::warn!(%error, "codes of an earlier life are made anew only when their orders are asked about next");
        }
        let mut renewed: Option<tokio::time::Instant> = None;
        let mut is_seated = false;
        let mut agents = self.agents().changes();
        loop {
            match self.round(&mut tasks).await {
                Ok(()) if is_seated => {}
                Ok(()) => is_seated = self.take_seat().await.unwrap_or_default(),
                Err(error) => tracing::error!(%error, "the queue could not be read; trying again"),
            }
            // Not in every round: there is one for each order that comes.
            if renewed.is_none_or(|at| at.elapsed() >= ROUND) {
                match self.keep_what_runs().await {
                    Ok(()) => renewed = Some(tokio::time::Instant::now()),
                    Err(error) => tracing::error!(%error, "the running deployments could not be checked; trying again"),
                }
            }
            while tasks.try_join_next().is_some() {}
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.wake.notified() => {}
                _ = agents.changed() => {}
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
        let elsewhere = self.agents().elsewhere();
        for turn in store.reclaim(&services, self.executor.id(), &at_work, &elsewhere, lease).await? {
            let deployment = &turn.deployment;
            tracing::warn!(deployment = %deployment.id, service = %deployment.order.service, "continuing a deployment that was left \
            unfinished");
            self.start(turn, true, tasks);
        }
        self.forget_grants().await?;
        self.ask_the_guards(tasks).await?;
        self.see_hosts().await?;
        let chosen = self.choose(&services).await?;
        if !chosen.now.is_empty() {
            let config = self.config.now();
            let orders: Vec<_> = chosen.now.into_iter().map(|one| (one.id, self.site(&config, &one.service, one.kind))).collect();
            for turn in store.claim(&orders, self.executor.id(), lease).await? {
                self.start(turn, false, tasks);
            }
        }
        for (id, why) in chosen.to_tell {
            store.say(&id, &why).await?;
            self.hub.tell(&id);
        }
        Ok(())
    }

    /// Once after the configuration was read: a freeze, say, may hold from now on.
    async fn forget_grants(&self) -> Result<(), StoreError> {
        if self.forgets_grants.swap(false, Ordering::Relaxed) {
            let forgotten = self.store.for_runs().forget_grants().await;
            forgotten.inspect_err(|_| self.forgets_grants.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    }

    /// Which of `services` may have their orders carried out now, and what those are told that wait on.
    async fn choose(&self, services: &[ServiceName]) -> Result<Chosen, StoreError> {
        let next = self.store.for_runs().next().await?;
        let (mut next, left): (Vec<_>, Vec<_>) = next.into_iter().partition(|one| services.contains(&one.service));
        for one in left {
            if let Some(waiting) = self.store.for_runs().get(&one.id).await? {
                self.see_left(&waiting).await?;
            }
        }
        next = self.without_those_to_ask_about(next).await?;
        let there = self.take_elsewhere(&mut next).await?;
        let most = self.config.now().server.max_running;
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).values().filter(|one| one.is_here).count();
        let mut chosen = self.places.lock().unwrap_or_else(PoisonError::into_inner).give(next, most.saturating_sub(running), most);
        chosen.now.extend(there);
        Ok(chosen)
    }

    /// Renews the leases of what runs here until `stop`. It waits for nothing else: a run whose lease is not renewed in time ends.
    pub(super) async fn keep_leases(self: Arc<Self>, stop: Cancel) {
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
        self.stop_cancelled().await
    }

    pub(super) fn start(self: &Arc<Self>, turn: Turn, recovered: bool, tasks: &mut JoinSet<()>) {
        let cancel = Cancel::default();
        let id = turn.deployment.id.clone();
        let is_here = turn.deployment.agents().is_empty();
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), Running { cancel: cancel.clone(), is_here });
        let deployer = Arc::clone(self);
        self.results.wake();
        tasks.spawn(async move {
            // The future of a run is large.
            Box::pin(deployer.carry_out(turn, recovered, cancel)).await;
            deployer.results.wake();
            deployer.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            deployer.wake.notify_one();
            deployer.ended.notify_one();
        });
    }

    async fn carry_out(&self, turn: Turn, recovered: bool, cancel: Cancel) {
        let config = self.config.now();
        let Some(service) = service_of(&config, &turn.deployment) else { return };
        let refusal = guards::at_the_turn(&turn.deployment, turn.hold.as_ref(), service.max_wait, clock::now_ms()).err();
        let refusal = refusal.or_else(|| approval::is_missing(&config, &service, &turn.deployment, turn.hold.as_ref()));
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
    pub(super) async fn stop_cancelled(&self) -> Result<(), StoreError> {
        for id in self.store.for_runs().cancelled(self.executor.id()).await? {
            if let Some(cancel) = self.cancel_of(&id) {
                cancel.cancel();
            }
        }
        Ok(())
    }
}

/// The service of a deployment that has begun. Its agent may not name it any more: what was begun on its host ends all the same.
fn service_of(config: &Config, deployment: &Deployment) -> Option<Arc<Service>> {
    let name = &deployment.order.service;
    let left = || config.service_left(name, &deployment.agents()).map(Arc::new);
    config.service(name).cloned().or_else(left)
}
