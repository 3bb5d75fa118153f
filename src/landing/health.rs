//! Waiting until containers are healthy, and saying why they are not while they are not.

use std::collections::HashMap;
use std::time::Duration;
use std::time::Instant;

use crate::engine::Container;
use crate::engine::ContainerState;
use crate::engine::Health;
use crate::engine::Observed;
use crate::landing::run::Run;
use crate::landing::seen;
use crate::landing::stop::Stop;
use crate::model::Step;

/// How often it is judged how containers stand.
const LOOK: Duration = Duration::from_millis(200);
/// How old what is observed may be while it is waited for: so late an event is noticed that never came.
const UNHEARD: Duration = Duration::from_secs(3);
/// How often the journal says what is still missing.
const SAY: Duration = Duration::from_secs(4);

/// How one container stands.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Good,
    /// Not yet, and what it waits for.
    Waiting(String),
    /// It will not become good.
    Bad(String),
}

/// What a wait for containers began with, and what it has seen.
struct Waited {
    began: Instant,
    said: Instant,
    /// The ids of the pinned images; empty for an old release that was never pinned.
    wanted_ids: Vec<String>,
    step: Step,
    first_restarts: HashMap<String, u64>,
}

impl Waited {
    fn for_images(wanted_ids: Vec<String>, step: Step) -> Self {
        Self { began: Instant::now(), said: Instant::now(), wanted_ids, step, first_restarts: HashMap::new() }
    }
}

/// What follows from how the containers stand.
enum Verdict {
    /// So many, which are all, are good; or one will not become so.
    Decided(Result<usize, Stop>),
    /// For what it is waited.
    Waiting(Vec<String>),
}

impl Run<'_> {
    /// Waits until every container that uses the pin is good: healthy where it has a healthcheck, up and unrestarted for the
    /// settle time where it has none, ended well where it is a one-shot. What runs must be the pinned image.
    pub(super) async fn health(&mut self, step: Step) -> Result<(), Stop> {
        self.begin(step, "containers become healthy").await?;
        let result = self.wait_until_good(step).await;
        if let Err(Stop::Fault(_) | Stop::Cancelled) = &result {
            self.say_last_lines().await;
        }
        result
    }

    /// What is observed is waited for; what decides is a look of its own.
    async fn wait_until_good(&mut self, step: Step) -> Result<(), Stop> {
        let mut looked = Instant::now();
        let (wanted_ids, first) = tokio::join!(self.wanted_image_ids(), self.compose.containers(&self.cancel));
        let (mut waited, mut seen) = (Waited::for_images(wanted_ids?, step), Observed::now(first?));
        let good = loop {
            let waiting = match self.how_they_stand(&mut waited, &seen.containers) {
                Verdict::Decided(verdict) if seen.age.is_zero() => break verdict?,
                Verdict::Decided(_) => {
                    looked = Instant::now();
                    seen = Observed::now(self.compose.containers(&self.cancel).await?);
                    continue;
                }
                Verdict::Waiting(waiting) => waiting,
            };
            if waited.said.elapsed() >= SAY {
                waited.said = Instant::now();
                self.journal.note(format!("waiting {} s: {}", waited.began.elapsed().as_secs(), waiting.join("; ")));
                self.say_last_lines().await;
            }
            tokio::select! {
                () = self.cancel.cancelled() => return Err(Stop::Cancelled),
                // Time passes for what is only waited for, too.
                () = self.compose.changed(looked, LOOK) => {}
            }
            looked = Instant::now();
            seen = self.compose.observed(UNHEARD, &self.cancel).await?;
        };
        self.journal.note(if good == 1 { "1 container is good".to_owned() } else { format!("{good} containers are good") });
        Ok(())
    }

    fn how_they_stand(&self, waited: &mut Waited, containers: &[Container]) -> Verdict {
        let mine: Vec<Container> = self.pinned_of(containers).cloned().collect();
        let mut waiting = self.missing_services(&mine);
        for container in &mine {
            if let Err(stop) = check_image(container, &waited.wanted_ids, waited.step) {
                return Verdict::Decided(Err(stop));
            }
            let first = *waited.first_restarts.entry(container.id.clone()).or_insert(container.restarts);
            match self.standing(container, container.restarts.saturating_sub(first), waited.began) {
                Standing::Good => {}
                Standing::Bad(why) => return Verdict::Decided(Err(Stop::Fault(why))),
                Standing::Waiting(why) if waited.began.elapsed() >= self.service.health.deadline_of(&container.service) => {
                    let limit = self.service.health.deadline_of(&container.service).as_secs();
                    return Verdict::Decided(Err(Stop::Fault(format!("{} did not become good within {limit} s: {why}.", container.name))));
                }
                Standing::Waiting(why) => waiting.push(format!("{}: {why}", container.name)),
            }
        }
        if waiting.is_empty() {
            return Verdict::Decided(Ok(mine.len()));
        }
        if waited.began.elapsed() > self.service.health.deadline && mine.is_empty() {
            return Verdict::Decided(Err(Stop::Fault(format!("no container came up: {}.", waiting.join("; ")))));
        }
        Verdict::Waiting(waiting)
    }

    fn standing(&self, container: &Container, restarts: u64, began: Instant) -> Standing {
        if container.oom_killed && !container.is_running() {
            return Standing::Bad(format!("{} ran out of memory and was ended by the kernel; raise its memory limit.", container.name));
        }
        let one_shot =
            self.resolved.as_ref().is_some_and(|resolved| resolved.service(&container.service).is_some_and(|service| service.one_shot));
        match &container.state {
            ContainerState::Exited if one_shot && container.exit_code == 0 => return Standing::Good,
            ContainerState::Exited | ContainerState::Dead => {
                return Standing::Bad(format!("{} ended with status {}.", container.name, container.exit_code));
            }
            ContainerState::Running if one_shot => return Standing::Waiting("it still works".into()),
            ContainerState::Running => {}
            other => {
                return if restarts >= 2 {
                    Standing::Bad(format!("{} restarts again and again, last with status {}.", container.name, container.exit_code))
                } else {
                    Standing::Waiting(format!("it is {other}"))
                };
            }
        }
        match &container.health {
            Health::Healthy => Standing::Good,
            Health::Unhealthy => Standing::Bad(format!("{} is unhealthy: {}", container.name, container.health_output.trim())),
            unsure @ (Health::Starting | Health::Unknown(_)) => {
                let word = unsure.word().unwrap_or_default();
                if restarts >= 2 {
                    Standing::Bad(format!("{} restarted {restarts} times and is {word}.", container.name))
                } else {
                    Standing::Waiting(format!("it is {word}; last check: {}", container.health_output.trim()))
                }
            }
            Health::Unchecked if restarts >= 2 => {
                Standing::Bad(format!("{} restarted {restarts} times, last with status {}.", container.name, container.exit_code))
            }
            Health::Unchecked => {
                let up = seen::running_for(container).min(began.elapsed() + self.service.health.settle);
                if up >= self.service.health.settle {
                    Standing::Good
                } else {
                    Standing::Waiting(format!(
                        "it has no healthcheck and is up for {} of {} s",
                        up.as_secs(),
                        self.service.health.settle.as_secs()
                    ))
                }
            }
        }
    }

    /// The containers of services that use the pin; those of one-off runs are not meant.
    pub(super) fn pinned_of<'c>(&self, containers: &'c [Container]) -> impl Iterator<Item = &'c Container> + use<'c> {
        let services: Vec<String> = self.resolved.iter().flat_map(|resolved| resolved.touched()).map(str::to_owned).collect();
        containers.iter().filter(move |container| !container.is_one_off && services.contains(&container.service))
    }

    fn missing_services(&self, mine: &[Container]) -> Vec<String> {
        let active = self.resolved.iter().flat_map(|resolved| resolved.touched());
        active.filter(|name| !mine.iter().any(|c| c.service == *name)).map(|name| format!("{name}: it has no container")).collect()
    }

    /// The ids of the pinned images; empty for an old release that was never pinned.
    async fn wanted_image_ids(&self) -> Result<Vec<String>, Stop> {
        let mut ids = Vec::new();
        for image in &self.images {
            ids.extend(self.compose.image(&image.by_digest(), &self.cancel).await?.map(|found| found.id));
        }
        Ok(ids)
    }

    /// The last lines of containers that are not good, so that the reason stands in the journal.
    async fn say_last_lines(&mut self) {
        const LINES: u32 = 6;
        // The order may be cancelled already, and just then the reason is wanted; it is not worth waiting for Docker.
        let patience = crate::process::Cancel::default();
        let compose = self.compose.impatient();
        let Ok(containers) = compose.containers(&patience).await else { return };
        let bad: Vec<Container> = self.pinned_of(&containers).filter(|c| c.health != Health::Healthy).cloned().collect();
        for container in bad {
            for line in compose.tail(&container.id, LINES, &patience).await.unwrap_or_default() {
                self.journal.output(format!("{} | {line}", container.name));
            }
        }
    }
}

/// A tag may move and a file may be edited at any moment: what counts is the image that runs.
fn check_image(container: &Container, wanted_ids: &[String], step: Step) -> Result<(), Stop> {
    if wanted_ids.is_empty() || wanted_ids.contains(&container.image_id) {
        return Ok(());
    }
    let what = if step.is_undo() { "the previous image" } else { "the pinned image" };
    Err(Stop::Fault(format!("{} runs {}, not {what}; somebody else changed the stack meanwhile.", container.name, container.image_id)))
}
