//! Bringing up what is pinned, and nothing else.

use std::collections::BTreeSet;
use std::time::Duration;
use std::time::Instant;

use crate::engine::compose::Compose;
use crate::engine::containers::Container;
use crate::engine::error::EngineError;
use crate::engine::project::Condition;
use crate::engine::project::Resolved;
use crate::process::Cancel;
use crate::process::Stream;

impl Compose {
    /// Runs what is pinned. Where nothing of the project is there yet, the whole active stack is started; else only the
    /// services that use a pin (and those that live in one of them), after the dependencies of theirs that do not run.
    /// Nothing is pulled; a container of any other service stays as it is.
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
        let files = self.files_with_ours(resolved)?;
        let there = self.containers(cancel).await?;
        let until = Instant::now() + deadline;
        for args in calls(resolved, &there) {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let command = self.compose_command(&files, &args, until.saturating_duration_since(Instant::now()));
            self.carry_out(&command, "docker compose up", cancel, &mut each).await?;
        }
        Ok(())
    }
}

/// The calls of `docker compose` that bring the stack up, given what is there.
fn calls(resolved: &Resolved, there: &[Container]) -> Vec<Vec<String>> {
    let call = |options: &[&str], services: &[&str]| {
        let words = ["up", "-d", "--pull", "never"].iter().chain(options).chain(services);
        words.map(|word| (*word).to_owned()).collect::<Vec<_>>()
    };
    if there.iter().all(|container| container.is_one_off) {
        return vec![call(&[], &[])];
    }
    let touched = resolved.touched();
    let missing = missing_dependencies(resolved, &touched, there);
    let mut calls = Vec::new();
    if !missing.is_empty() {
        calls.push(call(&["--no-recreate"], &missing.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    calls.push(call(&["--no-deps", "--no-build"], &touched));
    calls
}

/// The dependencies of `touched`, also theirs, that do not run and have not done what they are there for.
fn missing_dependencies(resolved: &Resolved, touched: &[&str], there: &[Container]) -> BTreeSet<String> {
    let (mut missing, mut seen) = (BTreeSet::new(), touched.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>());
    let mut queue: Vec<String> = touched.iter().map(|name| (*name).to_owned()).collect();
    while let Some(service) = queue.pop().and_then(|name| resolved.service(&name)) {
        let hosts = service.lives_in.iter().map(|host| (host, Condition::Started));
        let needs = service.depends_on.iter().map(|dependency| (&dependency.service, dependency.condition));
        for (name, condition) in hosts.chain(needs) {
            let is_active = resolved.service(name).is_some_and(|service| service.active);
            let is_there = there.iter().any(|container| {
                let did_its_work = condition == Condition::Completed && container.state == "exited" && container.exit_code == 0;
                container.service == *name && !container.is_one_off && (container.state == "running" || did_its_work)
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
