//! Bringing up what is pinned, and nothing else.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use process::Cancel;
use process::Stream;

use crate::clock;
use crate::engine::compose::project::Condition;
use crate::engine::compose::project::Resolved;
use crate::engine::compose::project::Service;
use crate::engine::compose::stack::Compose;
use crate::engine::container::Container;
use crate::engine::container::ContainerState;
use crate::engine::error::EngineError;

impl Compose {
    /// Runs what is pinned. Where nothing that is pinned has a container yet, the whole active stack is started; else only the
    /// services that use a pin (and those that live in one of them), after the dependencies of theirs that do not run.
    /// Nothing is pulled; a container of any other service stays as it is. What an earlier `up` left half done is mended first, and
    /// where Docker keeps a name for a container that is gone, it is freed.
    ///
    /// # Errors
    /// When compose ends badly: a dependency that does not become healthy, a port that is taken, a missing image.
    pub async fn up(
        &self,
        resolved: &Resolved,
        deadline: Duration,
        cancel: &Cancel,
        mut each: impl FnMut(Stream, String),
    ) -> Result<(), EngineError> {
        let files = self.files_with_ours(resolved).await?;
        let there = self.mend(&resolved.touched(), cancel, &mut each).await?;
        let plan = Plan::new(resolved, &there, self.mends);
        self.wake(resolved, &there, &plan, cancel, &mut each).await?;
        let until = Instant::now() + deadline;
        for args in plan.calls() {
            let mut done = self.up_once(&files, &args, until, cancel, &mut each).await;
            if matches!(done, Err(EngineError::Failed { .. })) && matches!(self.free_names(&plan, cancel, &mut each).await, Ok(true)) {
                done = self.up_once(&files, &args, until, cancel, &mut each).await;
            }
            done.map_err(|error| error.of_limit(deadline))?;
        }
        Ok(())
    }

    async fn up_once(
        &self,
        files: &[PathBuf],
        args: &[&str],
        until: Instant,
        cancel: &Cancel,
        each: &mut impl FnMut(Stream, String),
    ) -> Result<(), EngineError> {
        let command = self.compose_command(files, args, until.saturating_duration_since(Instant::now()));
        self.carry_out_once(&command, "docker compose up", cancel, each).await
    }
}

/// What `up` starts.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// Nothing that is touched has a container yet: the whole active stack, leaving what is there as it is.
    Whole,
    /// `first` are dependencies that do not run (where things are mended: whatever does not), `then` is what is touched, which
    /// is made anew where it is not good; `last` is made anew whatever it is like.
    Part { first: BTreeSet<String>, then: Vec<String>, anew: bool, last: Vec<String> },
}

impl Plan {
    pub(super) fn new(resolved: &Resolved, there: &[Container], mends: bool) -> Self {
        let touched = resolved.touched();
        let is_touched = |container: &Container| !container.is_one_off && touched.contains(&container.service.as_str());
        if !there.iter().any(is_touched) {
            return Self::Whole;
        }
        let mut first = missing_dependencies(resolved, &touched, there);
        if mends {
            let others = resolved.services.iter().filter(|service| service.active && !touched.contains(&service.name.as_str()));
            first.extend(others.filter(|service| !is_up(resolved, service, there)).map(|service| service.name.clone()));
        }
        let now_ms = clock::now_ms();
        let is_bad = |one: &Container| is_touched(one) && !has_done_its_work(resolved, one) && one.ailment(now_ms).is_some();
        let anew = mends && there.iter().any(is_bad);
        let (last, then) = touched.into_iter().map(str::to_owned).partition(|name| resolved.anew.contains(name));
        Self::Part { first, then, anew, last }
    }

    /// Whether `service`, which uses no pin, is started.
    pub(super) fn starts(&self, service: &str) -> bool {
        match self {
            Self::Whole => true,
            Self::Part { first, then, last, .. } => first.contains(service) || then.iter().chain(last).any(|name| name == service),
        }
    }

    /// The calls of `docker compose` that do it, in order.
    fn calls(&self) -> Vec<Vec<&str>> {
        match self {
            Self::Whole => vec![call("--no-recreate", &[])],
            Self::Part { first, then, anew, last } => {
                let first: Vec<&str> = first.iter().map(String::as_str).collect();
                let then: Vec<&str> = then.iter().map(String::as_str).collect();
                let last: Vec<&str> = last.iter().map(String::as_str).collect();
                let before = (!first.is_empty()).then(|| call("--no-recreate", &first));
                // Between themselves compose keeps the order that they ask for.
                let options = if *anew { ANEW } else { "--no-deps --no-build" };
                let behind = (!last.is_empty()).then(|| call(ANEW, &last));
                let then = (!then.is_empty()).then(|| call(options, &then));
                before.into_iter().chain(then).chain(behind).collect()
            }
        }
    }
}

/// What makes a container anew.
const ANEW: &str = "--no-deps --no-build --force-recreate";

fn call<'a>(options: &'static str, services: &[&'a str]) -> Vec<&'a str> {
    "up -d --pull never".split(' ').chain(options.split(' ')).chain(services.iter().copied()).collect()
}

/// Whether a service has a container that does not have to be started.
fn is_up(resolved: &Resolved, service: &Service, there: &[Container]) -> bool {
    let is_stopped = |one: &Container| matches!(one.state, ContainerState::Created | ContainerState::Exited | ContainerState::Dead);
    let is_good = |one: &Container| !is_stopped(one) || has_done_its_work(resolved, one);
    there.iter().any(|one| one.service == service.name && !one.is_one_off && is_good(one))
}

/// Whether it is the container of a service that is meant to end, and has ended well.
fn has_done_its_work(resolved: &Resolved, one: &Container) -> bool {
    let is_one_shot = resolved.service(&one.service).is_some_and(|service| service.one_shot);
    is_one_shot && one.state == ContainerState::Exited && one.exit_code == 0
}

/// The dependencies of `touched`, also theirs, that do not run and have not done what they are there for.
fn missing_dependencies(resolved: &Resolved, touched: &[&str], there: &[Container]) -> BTreeSet<String> {
    let mut missing = BTreeSet::new();
    let mut seen = touched.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let mut queue: Vec<String> = touched.iter().map(|name| (*name).to_owned()).collect();
    while let Some(service) = queue.pop().and_then(|name| resolved.service(&name)) {
        let hosts = service.lives_in.iter().map(|host| (host, Condition::Started));
        let needs = service.depends_on.iter().map(|dependency| (&dependency.service, dependency.condition));
        for (name, condition) in hosts.chain(needs) {
            let is_active = resolved.service(name).is_some_and(|service| service.active);
            let is_there = there.iter().any(|container| {
                let did_its_work =
                    condition == Condition::Completed && container.state == ContainerState::Exited && container.exit_code == 0;
                container.service == *name && !container.is_one_off && (container.is_running() || did_its_work)
            });
            if is_active && !is_there && !touched.contains(&name.as_str()) {
                missing.insert(name.clone());
            }
            if is_active && seen.insert(name.clone()) {
                queue.push(name.clone());
            }
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::collections::BTreeSet;

    use serde_json::json;

    use crate::config::PinnedImage;
    use crate::engine::compose::containers::tests::container;
    use crate::engine::compose::mode::PinMode;
    use crate::engine::compose::project::Resolved;
    use crate::engine::compose::project::Use;
    use crate::engine::compose::project::services;
    use crate::engine::compose::up::Plan;
    use crate::engine::container::Container;
    use crate::model::Repository;

    /// web and migrate are pinned; web needs db (which needs disk), migrate (to end well), seed (to end well) and mail,
    /// which is in a profile that is off; side lives in web.
    fn stack() -> Resolved {
        let needs = |condition: &str| json!({"condition": condition, "required": true});
        let config = json!({"services": {
            "web": {"image": "acme/web:1", "depends_on": {"db": needs("service_healthy"), "migrate": needs("service_completed_successfully"),
                "seed": needs("service_completed_successfully"), "mail": needs("service_started")}},
            "migrate": {"image": "acme/web:1"}, "db": {"image": "db", "depends_on": {"disk": needs("service_started")}},
            "disk": {"image": "d"}, "seed": {"image": "s"}, "mail": {"image": "m"}, "other": {"image": "o"},
            "side": {"image": "x", "network_mode": "service:web"},
        }});
        let active = ["web", "migrate", "db", "disk", "seed", "other", "side"].map(str::to_owned).into();
        let mut services = services(&config, &active);
        let pinned = ["migrate", "web"].map(str::to_owned).to_vec();
        services.iter_mut().filter(|service| pinned.contains(&service.name)).for_each(|service| service.pinned = Some(0));
        let pin = PinnedImage { image: Repository::parse("acme/web").unwrap(), variable: None };
        let uses = vec![Use { pin, services: pinned }];
        Resolved {
            mode: PinMode::Env,
            why_mode: String::new(),
            uses,
            services,
            warnings: Vec::new(),
            by_hand: true,
            keeps_dotenv: false,
            config,
            devices: BTreeMap::new(),
            files: Vec::new(),
            also: BTreeSet::new(),
            anew: BTreeSet::new(),
            inputs: None,
        }
    }

    fn calls(there: &[Container]) -> Vec<String> {
        Plan::new(&stack(), there, false).calls().iter().map(|call| call.join(" ")).collect()
    }

    #[test]
    fn a_stack_that_never_ran_is_started_whole() {
        let whole = ["up -d --pull never --no-recreate"];
        assert_eq!(calls(&[]), whole);
        assert_eq!(calls(&[container("db", "running", 0)]), whole);
        let by_hand = Container { is_one_off: true, ..container("web", "running", 0) };
        assert_eq!(calls(&[by_hand]), whole);
    }

    #[test]
    fn only_what_the_pin_touches_is_brought_up() {
        let there =
            [container("web", "exited", 1), container("db", "running", 0), container("disk", "running", 0), container("seed", "exited", 0)];
        assert_eq!(calls(&there), ["up -d --pull never --no-deps --no-build migrate side web"]);
    }

    #[test]
    fn what_is_mended_is_started_or_made_anew() {
        let calls =
            |there: &[Container]| -> Vec<String> { Plan::new(&stack(), there, true).calls().iter().map(|call| call.join(" ")).collect() };
        let all = ["db", "disk", "other", "side", "migrate"].map(|name| container(name, "running", 0));
        let with = |others: &[Container]| -> Vec<Container> {
            let is_other = |one: &&Container| !others.iter().any(|other| other.service == one.service);
            all.iter().filter(is_other).chain(others).cloned().collect()
        };
        let then = "up -d --pull never --no-deps --no-build";
        let seeded = container("seed", "exited", 0);
        let web = container("web", "running", 0);
        assert_eq!(calls(&with(&[seeded.clone(), web.clone()])), [format!("{then} migrate side web")]);
        for state in ["exited", "paused", "restarting"] {
            let bad = container("web", state, 1);
            assert_eq!(calls(&with(&[seeded.clone(), bad])), [format!("{then} --force-recreate migrate side web")], "{state}");
        }
        let migrated = container("migrate", "exited", 0);
        assert_eq!(calls(&with(&[seeded, web.clone(), migrated])), [format!("{then} migrate side web")]);
        let stopped = calls(&with(&[container("seed", "exited", 3), web, container("other", "exited", 0)]));
        assert_eq!(stopped, ["up -d --pull never --no-recreate other seed".to_owned(), format!("{then} migrate side web")]);
    }

    #[test]
    fn what_has_a_changed_file_is_made_anew_and_nothing_else() {
        let there = ["web", "db", "disk", "other", "side", "migrate"].map(|name| container(name, "running", 0));
        let seeded = container("seed", "exited", 0);
        let there: Vec<Container> = there.into_iter().chain([seeded]).collect();
        let changed = Resolved { also: ["db", "other"].map(str::to_owned).into(), anew: ["db".to_owned()].into(), ..stack() };
        let plan = Plan::new(&changed, &there, false);
        let calls: Vec<String> = plan.calls().iter().map(|call| call.join(" ")).collect();
        let up = "up -d --pull never --no-deps --no-build";
        assert_eq!(calls, [format!("{up} migrate other side web"), format!("{up} --force-recreate db")]);
        assert!(plan.starts("db") && !plan.starts("disk"));
    }

    #[test]
    fn dependencies_that_do_not_run_come_first() {
        let there =
            [container("web", "running", 0), container("db", "exited", 0), container("disk", "created", 0), container("seed", "exited", 3)];
        let first = "up -d --pull never --no-recreate db disk seed";
        assert_eq!(calls(&there), [first, "up -d --pull never --no-deps --no-build migrate side web"]);
        let plan = Plan::new(&stack(), &there, false);
        let started: BTreeSet<&str> = ["db", "seed", "other", "mail", "side"].into_iter().filter(|service| plan.starts(service)).collect();
        assert_eq!(started, ["db", "seed", "side"].into());
    }
}
