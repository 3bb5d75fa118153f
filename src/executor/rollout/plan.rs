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
        if has_stopped && takes_back(plan, order) { hosts_to_bring_back(plan, order, runs) } else { Vec::new() };
    if to_bring_back.is_empty() {
        return Next::End;
    }
    Next::Carry(tasks(to_bring_back.into_iter().take(plan.at_once), runs, true))
}

/// Whether hosts on which the order held are brought back where it did not hold everywhere.
fn takes_back(plan: &RolloutPlan, order: &Order) -> bool {
    plan.on_partial == OnPartial::Undo && order.kind == OrderKind::Deploy && !order.dry_run
}

/// The last one first. A host that says that the release must not be left keeps it, and says so for itself alone.
fn hosts_to_bring_back<'p>(plan: &'p RolloutPlan, order: &Order, runs: &[HostRun]) -> Vec<&'p AgentName> {
    let may_leave = |run: &HostRun| held(run) && (order.force || !run.barrier);
    let is_left = |host: &&AgentName| landing_on(runs, host).is_some_and(may_leave) && bringing_back(runs, host).is_none();
    plan.hosts.iter().rev().filter(is_left).collect()
}

fn tasks<'h>(hosts: impl Iterator<Item = &'h AgentName>, runs: &[HostRun], goes_back: bool) -> Vec<Task> {
    let first = runs.iter().map(|run| run.run + 1).max().unwrap_or(FIRST_HOST_RUN);
    (first..).zip(hosts).map(|(run, host)| Task { host: host.clone(), run, goes_back, is_new: true }).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::Next;
    use super::Task;
    use super::next;
    use crate::model::AgentName;
    use crate::model::Caller;
    use crate::model::CancelledBy;
    use crate::model::DeploymentId;
    use crate::model::ImageRef;
    use crate::model::OnPartial;
    use crate::model::Order;
    use crate::model::OrderKind;
    use crate::model::Outcome;
    use crate::model::RolloutPlan;
    use crate::model::ServiceName;
    use crate::model::Step;
    use crate::store::HostRun;

    pub(in crate::executor::rollout) fn agent(name: &str) -> AgentName {
        AgentName::parse(name).unwrap()
    }

    pub(in crate::executor::rollout) fn plan(at_once: usize, on_partial: OnPartial) -> RolloutPlan {
        RolloutPlan { hosts: ["a", "b", "c", "d"].map(agent).to_vec(), at_once, on_partial }
    }

    pub(in crate::executor::rollout) fn order() -> Order {
        Order::new(OrderKind::Deploy, ServiceName::parse("web").unwrap(), Caller::Tagalong)
    }

    pub(in crate::executor::rollout) fn live() -> Outcome {
        Outcome::Live { warnings: Vec::new(), page_seen: true }
    }

    pub(in crate::executor::rollout) fn failed() -> Outcome {
        Outcome::RolledBack { why: "the page is broken".into(), to: "v1".into(), verified_before: true }
    }

    pub(in crate::executor::rollout) fn cancelled() -> Outcome {
        Outcome::Cancelled { by: CancelledBy::Nameless, changed: true, brought_back: true }
    }

    /// Runs in their order: `a` is one that lands, `-a` one that goes back.
    pub(in crate::executor::rollout) fn runs(all: &[(&str, Option<Outcome>)]) -> Vec<HostRun> {
        let run = |(at, (host, outcome)): (usize, &(&str, Option<Outcome>))| HostRun {
            deployment: DeploymentId::from_parts(1, 1),
            run: at as i64 + 2,
            host: agent(host.trim_start_matches('-')),
            goes_back: host.starts_with('-'),
            order_id: DeploymentId::from_parts(1, 1),
            step: Step::Guards.into(),
            outcome: outcome.clone(),
            images: landed(!host.starts_with('-') && matches!(outcome, Some(Outcome::Live { .. }))),
            verified: false,
            barrier: false,
            ran_before: None,
            started_ms: 0,
            ended_ms: None,
        };
        all.iter().enumerate().map(run).collect()
    }

    fn landed(is_landed: bool) -> Vec<ImageRef> {
        let image = ImageRef::parse(&format!("acme/web:v2@sha256:{}", "a".repeat(64))).unwrap();
        if is_landed { vec![image] } else { Vec::new() }
    }

    /// What is next, as text: `+a` begins, `a` goes on, `-a` is brought back.
    fn said(next: &Next) -> String {
        let one = |task: &Task| {
            format!(
                "{}{}",
                if task.goes_back {
                    "-"
                } else if task.is_new {
                    "+"
                } else {
                    ""
                },
                task.host
            )
        };
        match next {
            Next::End => "end".to_owned(),
            Next::Carry(tasks) => tasks.iter().map(one).collect::<Vec<_>>().join(" "),
        }
    }

    fn step(at_once: usize, all: &[(&str, Option<Outcome>)], is_cancelled: bool) -> String {
        said(&next(&plan(at_once, OnPartial::Undo), &order(), &runs(all), is_cancelled))
    }

    #[test]
    fn the_first_host_is_alone_and_the_others_follow_by_as_many_as_may() {
        let ok = || Some(live());
        for (at_once, all, expected) in [
            (3, vec![], "+a"),
            (3, vec![("a", None)], "a"),
            (1, vec![("a", ok())], "+b"),
            (2, vec![("a", ok())], "+b +c"),
            (9, vec![("a", ok())], "+b +c +d"),
            (2, vec![("a", ok()), ("b", ok()), ("c", None)], "c"),
            (2, vec![("a", ok()), ("b", ok()), ("c", ok())], "+d"),
            (2, vec![("a", ok()), ("b", ok()), ("c", ok()), ("d", ok())], "end"),
        ] {
            assert_eq!(step(at_once, &all, false), expected, "{all:?}");
        }
    }

    #[test]
    fn what_did_not_hold_or_was_cancelled_is_brought_back_the_last_first() {
        let ok = || Some(live());
        for (all, is_cancelled, expected) in [
            (vec![("a", Some(failed()))], false, "end"),
            (vec![("a", ok()), ("b", Some(failed()))], false, "-a"),
            (vec![("a", ok()), ("b", ok()), ("c", Some(failed()))], false, "-b"),
            (vec![("a", ok()), ("b", Some(failed())), ("-a", None)], false, "-a"),
            (vec![("a", ok()), ("b", ok()), ("c", Some(failed())), ("-b", ok())], true, "-a"),
            (vec![("a", ok()), ("b", Some(failed())), ("-a", ok())], false, "end"),
            (vec![("a", ok()), ("b", Some(failed())), ("-a", Some(failed()))], false, "end"),
            (vec![], true, "end"),
            (vec![("a", ok())], true, "-a"),
            (vec![("a", ok()), ("b", Some(cancelled()))], true, "-a"),
            (vec![("a", ok()), ("b", ok()), ("c", ok()), ("d", ok())], true, "end"),
        ] {
            assert_eq!(step(1, &all, is_cancelled), expected, "{all:?}");
        }
    }

    #[test]
    fn what_a_person_wanted_to_leave_or_must_not_be_left_stays() {
        let all = runs(&[("a", Some(live())), ("b", Some(failed()))]);
        let of = |on_partial, order: Order, runs: &[HostRun]| said(&next(&plan(1, on_partial), &order, runs, false));
        assert_eq!(of(OnPartial::Keep, order(), &all), "end");
        for kind in [OrderKind::Rollback, OrderKind::Repair, OrderKind::Adopt] {
            assert_eq!(of(OnPartial::Undo, Order { kind, ..order() }, &all), "end", "{kind:?}");
        }
        let mut barred = all.clone();
        barred[0].barrier = true;
        assert_eq!(of(OnPartial::Undo, order(), &barred), "end");
        assert_eq!(of(OnPartial::Undo, Order { force: true, ..order() }, &barred), "-a");
        // One host does not speak for the others.
        let mut one_barred = runs(&[("a", Some(live())), ("b", Some(live())), ("c", Some(failed()))]);
        for at in [0, 2] {
            one_barred[at].barrier = true;
        }
        assert_eq!(of(OnPartial::Undo, order(), &one_barred), "-b");
        // A dry run asks everybody.
        let refused = runs(&[("a", Some(Outcome::Failed { why: String::new() }))]);
        assert_eq!(of(OnPartial::Undo, Order { dry_run: true, ..order() }, &refused), "+b");
    }
}
