//! One order on several hosts: a rollout. The deployment has one run of its own, the rollout's, and one run on each host that the rollout
//! comes to; bringing a host back is a run as well. Each of these is an errand to the agent of its host.
//!
//! # States
//! What is to be done next follows from what is stored and from nothing else ([`plan::next`]), so a server that is started again goes on where
//! the one before was, and no host is told twice: an agent knows an order by its id.
//!
//! | stored | next |
//! |---|---|
//! | no run on any host | a guard's objection or a cancel ends it; else a run on the first host begins, alone |
//! | runs that have not ended | they go on: the agents are asked again by the same ids |
//! | all runs so far are live | the next hosts begin, as many as `at_once` says; a cancel stops it here |
//! | all hosts are live | the deployment is `live`: nothing else is |
//! | a host did not hold, or it was cancelled | the hosts that are live are brought back (`on_partial = "undo"`), or keep the release |
//! | and every host that was to be brought back has a run that did it or failed | the deployment ends; the outcome says what each host has |
//!
//! The host that did not hold has undone the release by itself, as every host does. A dry run asks every host, whatever one of them says.
//! A rollback, a repair and an adoption are never taken back on the hosts where they held: a person wanted to leave what was there.
//!
//! # Waiting
//! A deployment begins when all of its hosts are there, a rollback when one of them is (`orders/elsewhere.rs`). A host that goes away later and cannot
//! have the order yet is waited for as long as `max_wait_s` says, then it counts as one that did not hold; one that may have the order is
//! waited for until it is back, since it finishes what it has accepted.
//!
//! # What is landed
//! No host decides what the others land. The exact images are settled before the first host (`pins.rs`), by an approval, the order's digest or the
//! registry; only where this server cannot ask that, the first host says which they are, and the others look for themselves whether the
//! tag means the same. A rollback sends a host images that were verified on it. Hosts that say that they have landed different images are for a
//! person to look at, and what they do not agree on is not recorded.
//!
//! # Cancel
//! A cancel reaches the hosts that are at work, and no further host begins. What was cancelled is brought back like what did not hold. Nothing
//! cancels the bringing back, and a rollback that takes over waits until it has ended.

mod judge;
mod pins;
mod plan;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use process::Cancel;
use text::Mask;

use crate::clock;
use crate::executor::account;
use crate::executor::account::Account;
use crate::executor::agents::Agents;
use crate::executor::errand::Errand;
use crate::executor::errand::good_until;
use crate::executor::rollout::plan::Next;
use crate::executor::rollout::plan::Task;
use crate::landing::Claimed;
use crate::landing::insist;
use crate::line::SentOrder;
use crate::model::OrderKind;
use crate::model::Outcome;
use crate::model::RolloutPlan;
use crate::model::Stage;
use crate::model::Step;
use crate::store::Facts;
use crate::store::HostRun;

struct Rollout<'a> {
    agents: &'a Agents,
    claimed: Claimed,
    plan: RolloutPlan,
    mask: &'a Mask,
    cancel: Cancel,
}

/// Carries an order out on all hosts of `plan`. When this returns, its outcome is stored and told; none: this server must not say it.
pub(super) async fn carry_out(agents: &Agents, claimed: Claimed, plan: RolloutPlan, mask: &Mask, cancel: Cancel) -> Option<Outcome> {
    if claimed.deployment.cancel_by.is_some() {
        cancel.cancel();
    }
    let mut rollout = Rollout { agents, claimed, plan, mask, cancel };
    loop {
        let id = &rollout.claimed.deployment.id;
        let runs = insist(id, None, "the hosts of a rollout could not be read", || agents.books.store.host_runs(id)).await?;
        match plan::next(&rollout.plan, &rollout.claimed.deployment.order, &runs, rollout.cancel.is_cancelled()) {
            _ if runs.is_empty() && rollout.claimed.objection.is_some() => return rollout.end_refused().await,
            Next::End => return rollout.end(&runs).await,
            Next::Carry(tasks) => {
                if runs.is_empty() {
                    pins::settle(rollout.agents, &mut rollout.claimed).await?;
                }
                rollout.carry(&runs, tasks).await?;
            }
        }
    }
}

impl Rollout<'_> {
    /// Carries some runs out side by side, until each has ended. None: this server must not go on.
    async fn carry(&self, runs: &[HostRun], tasks: Vec<Task>) -> Option<()> {
        for task in tasks.iter().filter(|task| task.is_new) {
            self.begin(runs, task).await?;
        }
        let mut at_work: FuturesUnordered<_> = tasks.into_iter().map(|task| self.errand(runs, task)).collect();
        let mut goes_on = Some(());
        while let Some(ended) = at_work.next().await {
            goes_on = goes_on.and(ended.map(|_| ()));
        }
        goes_on
    }

    /// When this returns, the run is on disk, and the journal says so.
    async fn begin(&self, runs: &[HostRun], task: &Task) -> Option<()> {
        let Self { agents, claimed, plan, .. } = self;
        let fence = claimed.deployment.fence();
        let back = task.goes_back.then(|| task.order_id(&claimed.deployment.id));
        let service = &claimed.deployment.order.service;
        let begin = || agents.books.store.begin_host_run(&fence, service, &task.host, task.run, back.as_ref());
        insist(&fence.id, Some(&task.host), "a run on a host could not be begun", begin).await?;
        let text = if task.goes_back {
            format!("{}: it is brought back to what it had before.", task.host)
        } else {
            let at = plan.hosts.iter().position(|host| *host == task.host).unwrap_or(runs.len()) + 1;
            format!("{}: host {at} of {}", task.host, plan.hosts.len())
        };
        account::note(&agents.books, &fence.id, &text).await;
        Some(())
    }

    /// One run on one host. None: this server must not say how it ended.
    async fn errand(&self, runs: &[HostRun], task: Task) -> Option<Outcome> {
        let Self { agents, claimed, mask, .. } = self;
        let deployment = &claimed.deployment;
        let order_id = task.order_id(&deployment.id);
        let (_leaves, said) = agents.listen(&order_id, &task.host);
        let order =
            if task.goes_back { SentOrder::to_undo(deployment, &order_id) } else { pins::order(agents, claimed, runs, &task.host).await? };
        // What is brought back is brought back, whoever cancels.
        let cancel = if task.goes_back { Cancel::default() } else { self.cancel.clone() };
        let account = Account {
            books: &agents.books,
            mask,
            fence: deployment.fence(),
            service: deployment.order.service.clone(),
            on_host: Some((task.run, task.host.clone())),
        };
        let is_patient = deployment.order.kind == OrderKind::Rollback && !task.goes_back;
        let patience = (!is_patient).then_some(claimed.service.max_wait);
        // A host whose run was begun and which did not hear of it must not land it days later.
        let begun_ms = runs.iter().find(|run| run.run == task.run).map_or_else(clock::now_ms, |run| run.started_ms);
        let good_until_ms = patience.filter(|_| !task.goes_back).map(|most| good_until(begun_ms, most));
        let errand = Errand::new(agents, account, task.host, order, said, cancel);
        Errand { may_know: !task.is_new, patience, good_until_ms, ..errand }.run().await
    }

    async fn end_refused(&self) -> Option<Outcome> {
        let objection = self.claimed.objection.clone()?;
        self.end_with(Outcome::Refused { guard: objection.guard, why: objection.why }).await
    }

    /// Ends the deployment. What all its hosts say of its release is recorded of it.
    async fn end(&self, runs: &[HostRun]) -> Option<Outcome> {
        let store = &self.agents.books.store;
        let deployment = &self.claimed.deployment;
        let stored = store.get(&deployment.id).await.ok().flatten();
        let cancelled_by = stored.and_then(|stored| stored.cancel_by);
        let outcome = judge::outcome(&self.plan, &deployment.order, runs, cancelled_by);
        let is_live = matches!(outcome, Outcome::Live { .. });
        if let Some(images) = judge::landed_by_all(runs) {
            // Of a release that is not everywhere it stays what was ordered.
            let images = (is_live || deployment.images.is_empty()).then(|| images.to_vec());
            let barrier = Some(runs.iter().filter(|run| !run.goes_back && plan::held(run)).all(|run| run.barrier));
            let facts = Facts { images, barrier, ran_before: ran_before(runs), ..Facts::default() };
            let fence = deployment.fence();
            let keep = || store.advance(&fence, last_step(runs), &facts);
            insist(&deployment.id, None, "what a rollout landed could not be stored", keep).await?;
        }
        self.end_with(outcome).await
    }

    async fn end_with(&self, outcome: Outcome) -> Option<Outcome> {
        let Self { agents, claimed, mask, .. } = self;
        let deployment = &claimed.deployment;
        let service = deployment.order.service.clone();
        Account { books: &agents.books, mask, fence: deployment.fence(), service, on_host: None }.conclude(outcome).await
    }
}

/// What ran before on the hosts: once where it was the same everywhere.
fn ran_before(runs: &[HostRun]) -> Option<String> {
    let all: Vec<(&HostRun, &String)> =
        runs.iter().filter(|run| !run.goes_back).filter_map(|run| Some((run, run.ran_before.as_ref()?))).collect();
    let (_, first) = all.first()?;
    if all.iter().all(|(_, before)| before == first) {
        return Some((*first).clone());
    }
    Some(all.iter().map(|(run, before)| format!("{}: {before}", run.host)).collect::<Vec<_>>().join("; "))
}

/// The step that the last run on a host was at.
fn last_step(runs: &[HostRun]) -> Stage {
    runs.last().map_or(Step::Guards.into(), |run| run.step)
}
