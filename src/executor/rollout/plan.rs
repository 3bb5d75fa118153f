//! What a rollout does next, by what is stored and nothing else.

use crate::model::AgentName;
use crate::model::DeploymentId;
use crate::model::OnPartial;
use crate::model::Order;
use crate::model::OrderKind;
use crate::model::Outcome;
use crate::model::RolloutPlan;
use crate::store::HostRun;

/// The number of the first run on a host; the run before is the rollout's own.
const FIRST_HOST_RUN: i64 = 2;

/// What is to be done next.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// These runs, side by side.
    Carry(Vec<Task>),
    /// Nothing: it ends.
    End,
}

/// One run on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) host: AgentName,
    pub(super) run: i64,
    pub(super) goes_back: bool,
    /// Whether it is not stored yet.
    pub(super) is_new: bool,
}

impl Task {
    /// The id that its order has at the agent: the deployment's own, or one of its parts for what brings a host back.
    pub(super) fn order_id(&self, deployment: &DeploymentId) -> DeploymentId {
        if self.goes_back { deployment.part(u32::try_from(self.run).unwrap_or(u32::MAX)) } else { deployment.clone() }
    }
}

/// Whether the run landed what was ordered, or would have.
pub(super) fn held(run: &HostRun) -> bool {
    matches!(run.outcome, Some(Outcome::Live { .. } | Outcome::DryRun { .. }))
}

/// The run that lands the order on `host`.
pub(super) fn landing_on<'r>(runs: &'r [HostRun], host: &AgentName) -> Option<&'r HostRun> {
    runs.iter().find(|run| run.host == *host && !run.goes_back)
}

/// The run that brings `host` back.
pub(super) fn bringing_back<'r>(runs: &'r [HostRun], host: &AgentName) -> Option<&'r HostRun> {
    runs.iter().find(|run| run.host == *host && run.goes_back)
}

/// What is done next for `order`, of which `runs` are stored in the order in which they began.
pub(super) fn next(plan: &RolloutPlan, order: &Order, runs: &[HostRun], is_cancelled: bool) -> Next {
    let at_work: Vec<&HostRun> = runs.iter().filter(|run| run.outcome.is_none()).collect();
    if !at_work.is_empty() {
        let task = |run: &&HostRun| Task { host: run.host.clone(), run: run.run, goes_back: run.goes_back, is_new: false };
        return Next::Carry(at_work.iter().map(task).collect());
    }
    let to_come: Vec<&AgentName> = plan.hosts.iter().filter(|host| landing_on(runs, host).is_none()).collect();
    let has_failed = runs.iter().any(|run| !run.goes_back && !held(run));
    let goes_on = order.dry_run || !has_failed;
    if goes_on && !is_cancelled && !to_come.is_empty() {
        let many = if runs.is_empty() { 1 } else { plan.at_once };
        return Next::Carry(tasks(to_come.into_iter().take(many), runs, false));
    }
    let has_stopped = has_failed || !to_come.is_empty();
    let to_bring_back: Vec<&AgentName> =
        if has_stopped && takes_back(plan, order, runs) { hosts_to_bring_back(plan, runs) } else { Vec::new() };
    if to_bring_back.is_empty() {
        return Next::End;
    }
    Next::Carry(tasks(to_bring_back.into_iter().take(plan.at_once), runs, true))
}

/// Whether hosts on which the order held are brought back where it did not hold everywhere.
fn takes_back(plan: &RolloutPlan, order: &Order, runs: &[HostRun]) -> bool {
    let may_not = runs.iter().any(|run| run.barrier) && !order.force;
    plan.on_partial == OnPartial::Undo && order.kind == OrderKind::Deploy && !order.dry_run && !may_not
}

/// The last one first.
fn hosts_to_bring_back<'p>(plan: &'p RolloutPlan, runs: &[HostRun]) -> Vec<&'p AgentName> {
    let is_left = |host: &&AgentName| landing_on(runs, host).is_some_and(held) && bringing_back(runs, host).is_none();
    plan.hosts.iter().rev().filter(is_left).collect()
}

fn tasks<'h>(hosts: impl Iterator<Item = &'h AgentName>, runs: &[HostRun], goes_back: bool) -> Vec<Task> {
    let first = runs.iter().map(|run| run.run + 1).max().unwrap_or(FIRST_HOST_RUN);
    (first..).zip(hosts).map(|(run, host)| Task { host: host.clone(), run, goes_back, is_new: true }).collect()
}
