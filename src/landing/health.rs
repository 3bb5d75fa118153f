//! Waiting until containers are healthy, and saying why they are not while they are not.

use std::collections::HashMap;
use std::time::Duration;
use std::time::Instant;

use crate::engine::Container;
use crate::engine::Health;
use crate::landing::run::Run;
use crate::landing::seen;
use crate::landing::stop::Stop;
use crate::model::Step;

/// How often containers are looked at.
const LOOK: Duration = Duration::from_millis(200);
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

    async fn wait_until_good(&mut self, step: Step) -> Result<(), Stop> {
        let wanted_ids = self.wanted_image_ids().await?;
        let began = Instant::now();
        let mut said = Instant::now();
        let mut first_restarts: HashMap<String, u64> = HashMap::new();
        loop {
            let containers = self.compose.containers(&self.cancel).await?;
            let mine: Vec<Container> = self.pinned_of(&containers).cloned().collect();
            let mut waiting = self.missing_services(&mine);
            for container in &mine {
                check_image(container, &wanted_ids, step)?;
                let restarts = container.restarts.saturating_sub(*first_restarts.entry(container.id.clone()).or_insert(container.restarts));
                match self.standing(container, restarts, began) {
                    Standing::Good => {}
                    Standing::Bad(why) => return Err(Stop::Fault(why)),
                    Standing::Waiting(why) if began.elapsed() >= self.service.health.deadline_of(&container.service) => {
                        let limit = self.service.health.deadline_of(&container.service).as_secs();
                        return Err(Stop::Fault(format!("{} did not become good within {limit} s: {why}.", container.name)));
                    }
                    Standing::Waiting(why) => waiting.push(format!("{}: {why}", container.name)),
                }
            }
            if waiting.is_empty() {
                self.journal.note(format!(
                    "{} good",
                    if mine.len() == 1 { "1 container is".into() } else { format!("{} containers are", mine.len()) }
                ));
                return Ok(());
            }
            if began.elapsed() > self.service.health.deadline && mine.is_empty() {
                return Err(Stop::Fault(format!("no container came up: {}.", waiting.join("; "))));
            }
            if said.elapsed() >= SAY {
                said = Instant::now();
                self.journal.note(format!("waiting {} s: {}", began.elapsed().as_secs(), waiting.join("; ")));
                self.say_last_lines().await;
            }
            tokio::select! {
                () = self.cancel.cancelled() => return Err(Stop::Cancelled),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    fn standing(&self, container: &Container, restarts: u64, began: Instant) -> Standing {
        if container.oom_killed && !seen::is_running(container) {
            return Standing::Bad(format!("{} ran out of memory and was ended by the kernel; raise its memory limit.", container.name));
        }
        let one_shot =
            self.resolved.as_ref().is_some_and(|resolved| resolved.service(&container.service).is_some_and(|service| service.one_shot));
        match container.state.as_str() {
            "exited" if one_shot && container.exit_code == 0 => return Standing::Good,
            "exited" | "dead" => return Standing::Bad(format!("{} ended with status {}.", container.name, container.exit_code)),
            "running" if one_shot => return Standing::Waiting("it still works".into()),
            "running" => {}
            other => {
                return if restarts >= 2 {
                    Standing::Bad(format!("{} restarts again and again, last with status {}.", container.name, container.exit_code))
                } else {
                    Standing::Waiting(format!("it is {other}"))
                };
            }
        }
        match seen::health_word(container) {
            Some("healthy") => Standing::Good,
            Some("unhealthy") => Standing::Bad(format!("{} is unhealthy: {}", container.name, container.health_output.trim())),
            Some(other) if restarts >= 2 => Standing::Bad(format!("{} restarted {restarts} times and is {other}.", container.name)),
            Some(other) => Standing::Waiting(format!("it is {other}; last check: {}", container.health_output.trim())),
            None if restarts >= 2 => {
                Standing::Bad(format!("{} restarted {restarts} times, last with status {}.", container.name, container.exit_code))
            }
            None => {
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
    async fn wanted_image_ids(&mut self) -> Result<Vec<String>, Stop> {
        let mut ids = Vec::new();
        for image in self.images.clone() {
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
