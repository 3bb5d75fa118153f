//! How a rollout ended, by how it went on each host. Nothing but "live on all hosts" is live.

use crate::executor::rollout::plan::bringing_back;
use crate::executor::rollout::plan::held;
use crate::executor::rollout::plan::landing_on;
use crate::model::AgentName;
use crate::model::CancelledBy;
use crate::model::ImageRef;
use crate::model::OnPartial;
use crate::model::Order;
use crate::model::Outcome;
use crate::model::RolloutPlan;
use crate::model::are_same_contents;
use crate::store::HostRun;

/// How it went on all hosts together.
struct Hosts<'r> {
    /// Those on which it did not hold, as their agents said.
    failed: Vec<(&'r AgentName, &'r Outcome)>,
    /// Those that have the release.
    keep: Vec<&'r AgentName>,
    /// Those that had it and were brought back.
    back: Vec<&'r HostRun>,
    /// Those that had it, and where bringing it back has failed.
    lost: Vec<(&'r AgentName, &'r Outcome)>,
    /// Those that the rollout did not come to.
    untouched: Vec<&'r AgentName>,
}

impl<'r> Hosts<'r> {
    fn of(plan: &'r RolloutPlan, runs: &'r [HostRun]) -> Self {
        let mut hosts = Self { failed: Vec::new(), keep: Vec::new(), back: Vec::new(), lost: Vec::new(), untouched: Vec::new() };
        for host in &plan.hosts {
            let landing = landing_on(runs, host).and_then(|run| Some((run, run.outcome.as_ref()?)));
            let back = bringing_back(runs, host).and_then(|run| Some((run, run.outcome.as_ref()?)));
            match (landing, back) {
                (None, _) => hosts.untouched.push(host),
                (Some((run, outcome)), _) if !held(run) => hosts.failed.push((host, outcome)),
                (Some(_), None) => hosts.keep.push(host),
                (Some(_), Some((run, Outcome::Live { .. }))) => hosts.back.push(run),
                // Its agent changed nothing, or has restored the release itself.
                (Some(_), Some((_, Outcome::Refused { .. } | Outcome::Failed { .. } | Outcome::RolledBack { .. }))) => {
                    hosts.keep.push(host);
                }
                (Some(_), Some((_, outcome))) => hosts.lost.push((host, outcome)),
            }
        }
        hosts
    }

    /// The worst outcome of a host that did not hold; none: all held that the rollout came to.
    fn worst(&self) -> Option<&'r Outcome> {
        self.failed.iter().map(|(_, outcome)| *outcome).max_by_key(|outcome| severity(outcome))
    }

    /// What the hosts have on which nothing failed, as words behind the reason.
    fn others(&self, plan: &RolloutPlan) -> String {
        let mut words = Vec::new();
        if !self.keep.is_empty() {
            let why = if plan.on_partial == OnPartial::Keep { " (on_partial = \"keep\")" } else { "" };
            words.push(format!("the release is live on {}{why}", names(&self.keep)));
        }
        if !self.back.is_empty() {
            words.push(format!("brought back: {}", self.back.iter().map(|run| what_it_has(run)).collect::<Vec<_>>().join(", ")));
        }
        if !self.untouched.is_empty() {
            words.push(format!("not begun on {}", names(&self.untouched)));
        }
        words.iter().fold(String::new(), |all, words| all + "; " + words)
    }
}

fn names(hosts: &[&AgentName]) -> String {
    hosts.iter().map(|host| host.as_str()).collect::<Vec<_>>().join(", ")
}

/// Like `micro (v1)`.
fn what_it_has(run: &HostRun) -> String {
    let tag = run.images.first().map_or_else(|| "the release before".to_owned(), ImageRef::named);
    format!("{} ({tag})", run.host)
}

fn said(host: &AgentName, outcome: &Outcome) -> String {
    match outcome {
        // The whole says that nothing was changed.
        Outcome::Refused { why, .. } | Outcome::Failed { why } => format!("{host}: {why}"),
        other => format!("{host}: {other}"),
    }
}

/// How the whole ended, once every run has.
pub(super) fn outcome(plan: &RolloutPlan, order: &Order, runs: &[HostRun], cancelled_by: Option<CancelledBy>) -> Outcome {
    let hosts = Hosts::of(plan, runs);
    if hosts.keep.len() == plan.hosts.len() {
        return differing(order, runs).unwrap_or_else(|| all_held(order, runs));
    }
    let others = hosts.others(plan);
    let failures: Vec<String> = hosts.failed.iter().map(|(host, outcome)| said(host, outcome)).collect();
    if order.dry_run {
        return dry_run_failed(&hosts, &failures.join("; "));
    }
    let why = if failures.is_empty() { "it was cancelled".to_owned() } else { failures.join("; ") };
    if !hosts.lost.is_empty() {
        let and: Vec<String> = hosts.lost.iter().map(|(host, outcome)| said(host, outcome)).collect();
        return Outcome::RollbackFailed { why, and: format!("{}{others}", and.join("; ")) };
    }
    let by = cancelled_by.unwrap_or(CancelledBy::Nameless);
    let Some(worst) = hosts.worst() else {
        let changed = !hosts.keep.is_empty() || !hosts.back.is_empty();
        return Outcome::Cancelled { by, changed, brought_back: changed && hosts.keep.is_empty() };
    };
    ended(&hosts, worst, format!("{why}{others}"), &others)
}

/// `worst` is the worst outcome of a host; `why` says what became of all of them, and `others` of those on which nothing failed.
fn ended(hosts: &Hosts<'_>, worst: &Outcome, why: String, others: &str) -> Outcome {
    let keeps = !hosts.keep.is_empty();
    let came_back = !hosts.back.is_empty();
    match worst {
        Outcome::RollbackFailed { why, and } => Outcome::RollbackFailed { why: why.clone(), and: format!("{and}{others}") },
        Outcome::Broken { why, runs } => Outcome::Broken { why: why.clone(), runs: format!("{runs}{others}") },
        Outcome::NeedsOperator { .. } => Outcome::NeedsOperator { why },
        Outcome::Cancelled { by, changed, brought_back } => {
            let is_back = !keeps && (*brought_back || !*changed) && (*changed || came_back);
            Outcome::Cancelled { by: by.clone(), changed: *changed || keeps || came_back, brought_back: is_back }
        }
        _ if keeps => Outcome::NeedsOperator { why },
        Outcome::RolledBack { to, verified_before, .. } => Outcome::RolledBack { why, to: to.clone(), verified_before: *verified_before },
        _ if came_back => {
            let to = hosts.back.iter().map(|run| what_it_has(run)).collect::<Vec<_>>().join(", ");
            Outcome::RolledBack { why, to, verified_before: true }
        }
        Outcome::Refused { guard, .. } => Outcome::Refused { guard: *guard, why },
        _ => Outcome::Failed { why },
    }
}

/// The greater, the worse.
fn severity(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::RollbackFailed { .. } => 6,
        Outcome::Broken { .. } => 5,
        Outcome::NeedsOperator { .. } => 4,
        Outcome::Cancelled { .. } => 3,
        Outcome::RolledBack { .. } => 2,
        Outcome::Failed { .. } | Outcome::Superseded { .. } => 1,
        Outcome::Refused { .. } | Outcome::Live { .. } | Outcome::DryRun { .. } => 0,
    }
}

/// The images that all hosts have on which it held; none: they have different ones, or no host says which.
pub(super) fn landed_by_all(runs: &[HostRun]) -> Option<&[ImageRef]> {
    let mut all = runs.iter().filter(|run| !run.goes_back && held(run)).map(|run| run.images.as_slice());
    let first = all.next().filter(|images| !images.is_empty())?;
    all.all(|images| are_same_contents(images, first)).then_some(first)
}

/// Every host says that it holds, but not all of the same: which of them tells the truth, only a person can see.
fn differing(order: &Order, runs: &[HostRun]) -> Option<Outcome> {
    if order.dry_run || landed_by_all(runs).is_some() {
        return None;
    }
    let has = |run: &HostRun| {
        let images: Vec<String> = run.images.iter().map(ToString::to_string).collect();
        format!("{} has {}", run.host, if images.is_empty() { "images that it does not name".to_owned() } else { images.join(", ") })
    };
    let all: Vec<String> = runs.iter().filter(|run| !run.goes_back).map(has).collect();
    let why = format!("the hosts say that they have landed different images: {}; look at what runs on each of them", all.join("; "));
    Some(Outcome::NeedsOperator { why })
}

fn all_held(order: &Order, runs: &[HostRun]) -> Outcome {
    let landed = runs.iter().filter(|run| !run.goes_back);
    if order.dry_run {
        let would = landed.filter_map(|run| match &run.outcome {
            Some(Outcome::DryRun { would_pin }) => Some(format!("{}: {would_pin}", run.host)),
            _ => None,
        });
        return Outcome::DryRun { would_pin: would.collect::<Vec<_>>().join("; ") };
    }
    let mut all_seen = true;
    let mut all_warnings = Vec::new();
    for run in landed {
        if let Some(Outcome::Live { warnings, page_seen }) = &run.outcome {
            all_seen &= page_seen;
            all_warnings.extend(warnings.iter().map(|warning| format!("{}: {warning}", run.host)));
        }
    }
    Outcome::Live { warnings: all_warnings, page_seen: all_seen }
}

/// A dry run of which a host says that it would not go.
fn dry_run_failed(hosts: &Hosts<'_>, why: &str) -> Outcome {
    let fine = if hosts.keep.is_empty() { String::new() } else { format!("; it would go on {}", names(&hosts.keep)) };
    let why = format!("{why}{fine}");
    match hosts.worst() {
        Some(Outcome::Refused { guard, .. }) => Outcome::Refused { guard: *guard, why },
        Some(Outcome::Cancelled { by, .. }) => Outcome::Cancelled { by: by.clone(), changed: false, brought_back: false },
        _ => Outcome::Failed { why },
    }
}

#[cfg(test)]
mod tests {
    use super::landed_by_all;
    use super::outcome;
    use crate::executor::rollout::plan::tests::cancelled;
    use crate::executor::rollout::plan::tests::failed;
    use crate::executor::rollout::plan::tests::live;
    use crate::executor::rollout::plan::tests::order;
    use crate::executor::rollout::plan::tests::plan;
    use crate::executor::rollout::plan::tests::runs;
    use crate::model::CancelledBy;
    use crate::model::Guard;
    use crate::model::ImageRef;
    use crate::model::OnPartial;
    use crate::model::Order;
    use crate::model::Outcome;

    fn why() -> String {
        "because".to_owned()
    }

    fn of(all: &[(&str, Option<Outcome>)]) -> Outcome {
        outcome(&plan(1, OnPartial::Undo), &order(), &runs(all), Some(CancelledBy::Nameless))
    }

    #[test]
    fn only_live_on_all_hosts_is_live() {
        let ok = || Some(live());
        let warned = Some(Outcome::Live { warnings: vec![why()], page_seen: false });
        let all = [("a", ok()), ("b", warned), ("c", ok()), ("d", ok())];
        assert_eq!(of(&all), Outcome::Live { warnings: vec!["b: because".into()], page_seen: false });
        for less in 1..4 {
            assert_ne!(of(&all[..less]).name(), "live", "{less}");
        }
    }

    #[test]
    fn what_is_not_the_same_on_all_hosts_is_left_to_a_person() {
        let ok = || Some(live());
        let mut all = runs(&[("a", ok()), ("b", ok()), ("c", ok()), ("d", ok())]);
        let other = ImageRef::parse(&format!("acme/web:v1@sha256:{}", "d".repeat(64))).unwrap();
        for images in [vec![other.clone()], vec![all[1].images[0].clone(), other], Vec::new()] {
            all[2].images = images;
            let ended = outcome(&plan(1, OnPartial::Undo), &order(), &all, None);
            let why = ended.to_string();
            assert!(matches!(ended, Outcome::NeedsOperator { .. }) && why.contains("different images: a has "), "{why}");
            assert_eq!(landed_by_all(&all), None);
        }
    }

    #[test]
    fn the_outcome_is_that_of_the_worst_host_and_names_what_each_has() {
        let ok = || Some(live());
        let refused = || Some(Outcome::Refused { guard: Guard::Disk, why: why() });
        let broken = || Some(Outcome::Broken { why: why(), runs: "nothing".into() });
        let person = || Some(Outcome::NeedsOperator { why: why() });
        let lost = || Some(Outcome::RollbackFailed { why: why(), and: why() });
        for (all, name, text) in [
            (vec![("a", refused())], "refused", "a: because; not begun on b, c, d"),
            (vec![("a", Some(failed()))], "rolled_back", "a: rolled back"),
            (
                vec![("a", ok()), ("b", Some(failed())), ("-a", ok())],
                "rolled_back",
                "brought back: a (the release before); not begun on c, d",
            ),
            (vec![("a", ok()), ("b", refused()), ("-a", ok())], "rolled_back", "b: because; brought back: a"),
            (vec![("a", ok()), ("b", broken()), ("-a", ok())], "broken", "brought back: a"),
            (vec![("a", ok()), ("b", person()), ("-a", ok())], "needs_operator", "brought back: a"),
            (vec![("a", ok()), ("b", lost()), ("-a", ok())], "rollback_failed", "brought back: a"),
            // Bringing back has failed: in one way, the host has lost both; in the other, it kept the new release.
            (vec![("a", ok()), ("b", Some(failed())), ("-a", lost())], "rollback_failed", "a: rollback failed"),
            (vec![("a", ok()), ("b", Some(failed())), ("-a", refused())], "needs_operator", "the release is live on a"),
            (vec![("a", ok()), ("b", Some(failed())), ("-a", Some(failed()))], "needs_operator", "the release is live on a"),
            (vec![("a", ok()), ("b", Some(failed()))], "needs_operator", "the release is live on a"),
        ] {
            let ended = of(&all);
            assert_eq!(ended.name(), name, "{all:?}");
            assert!(ended.to_string().contains(text), "{text}: {ended}");
        }
    }

    #[test]
    fn a_cancel_says_whether_everything_is_as_it_was() {
        let ok = || Some(live());
        let stopped = |all: &[(&str, Option<Outcome>)]| match of(all) {
            Outcome::Cancelled { changed, brought_back, .. } => (changed, brought_back),
            other => panic!("{other}"),
        };
        assert_eq!(stopped(&[]), (false, false));
        assert_eq!(stopped(&[("a", ok()), ("-a", ok())]), (true, true));
        assert_eq!(stopped(&[("a", ok())]), (true, false));
        assert_eq!(stopped(&[("a", Some(cancelled()))]), (true, true));
        assert_eq!(stopped(&[("a", ok()), ("b", Some(cancelled())), ("-a", ok())]), (true, true));
        assert_eq!(stopped(&[("a", ok()), ("b", Some(cancelled()))]), (true, false));
    }

    #[test]
    fn a_dry_run_says_what_each_host_would_do() {
        let would = |what: &str| Some(Outcome::DryRun { would_pin: what.to_owned() });
        let all = [("a", would("v1")), ("b", would("v2")), ("c", would("v3")), ("d", would("v4"))];
        let dry =
            |all: &[(&str, Option<Outcome>)]| outcome(&plan(1, OnPartial::Undo), &Order { dry_run: true, ..order() }, &runs(all), None);
        assert_eq!(dry(&all), Outcome::DryRun { would_pin: "a: v1; b: v2; c: v3; d: v4".into() });
        let refused = Some(Outcome::Refused { guard: Guard::Disk, why: why() });
        let some = [("a", would("v1")), ("b", refused), ("c", would("v3")), ("d", would("v4"))];
        assert_eq!(dry(&some), Outcome::Refused { guard: Guard::Disk, why: "b: because; it would go on a, c, d".into() });
    }
}
