//! Waiting until containers are healthy, and saying why they are not while they are not.

use std::collections::HashMap;
use std::time::Duration;
use std::time::Instant;

use process::Cancel;

use crate::config;
use crate::engine::Container;
use crate::engine::ContainerState;
use crate::engine::Health;
use crate::engine::Observed;
use crate::landing::release::Leg;
use crate::landing::release::Way;
use crate::landing::seen;
use crate::landing::site::Site;
use crate::landing::stop::Fault;
use crate::landing::stop::Stop;

/// How often the state of the containers is judged.
const LOOK: Duration = Duration::from_millis(200);
/// How old an observation may be while waiting: a missing event of Docker is noticed after this time.
const UNHEARD: Duration = Duration::from_secs(3);
/// How often the journal says what is still missing.
const SAY: Duration = Duration::from_secs(4);
/// A container that Docker has restarted this often does not become healthy by itself.
const RESTARTS: u64 = 2;

/// How one container stands.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Good,
    /// Not yet, and what it waits for.
    Waiting(String),
    /// It will not become healthy.
    Bad(String),
}

/// Waits until every container that uses the pin is good: healthy where it has a healthcheck, up and unrestarted for the
/// settle time where it has none, ended well where it is a one-shot. What runs must be the pinned image.
pub(super) async fn health(site: &mut Site<'_>, leg: &Leg<'_>) -> Result<(), Stop> {
    site.begin(leg.way.health(), "wait for healthy containers").await?;
    let result = wait_until_good(site, leg).await;
    if let Err(Stop::Fault(_) | Stop::Cancelled) = &result {
        say_last_lines(site, leg).await;
    }
    result
}

/// What is observed is waited for; what decides is a look of its own.
async fn wait_until_good(site: &mut Site<'_>, leg: &Leg<'_>) -> Result<(), Stop> {
    let mut looked = Instant::now();
    let (watch, first) = tokio::join!(Watch::over(site, leg), site.engine.containers(&site.cancel));
    let mut watch = watch?;
    let mut observed = Observed::now(first?);
    let mut reported = Instant::now();
    let good = loop {
        let waiting = match watch.judge(&observed.containers) {
            Verdict::Decided(verdict) if observed.age.is_zero() => break verdict?,
            Verdict::Decided(_) => {
                looked = Instant::now();
                observed = Observed::now(site.engine.containers(&site.cancel).await?);
                continue;
            }
            Verdict::Waiting(waiting) => waiting,
        };
        if reported.elapsed() >= SAY {
            reported = Instant::now();
            site.record.journal.note(format!("waiting {} s: {}", watch.began.elapsed().as_secs(), waiting.join("; ")));
            say_last_lines(site, leg).await;
        }
        tokio::select! {
            () = site.cancel.cancelled() => return Err(Stop::Cancelled),
            // Time passes for what is only waited for, too.
            () = site.engine.changed(looked, LOOK) => {}
        }
        looked = Instant::now();
        observed = site.engine.observed(UNHEARD, &site.cancel).await?;
    };
    site.record.journal.note(if good == 1 { "1 container is healthy".to_owned() } else { format!("{good} containers are healthy") });
    Ok(())
}

/// What follows from how the containers stand.
enum Verdict {
    /// All of them, this many, are healthy; or one will never be.
    Decided(Result<usize, Fault>),
    /// What is still missing.
    Waiting(Vec<String>),
}

/// What containers are judged by while they are waited for.
struct Watch<'a> {
    leg: &'a Leg<'a>,
    rules: config::Health,
    /// The ids of the pinned images; empty for an old release that was never pinned.
    wanted_ids: Vec<String>,
    began: Instant,
    /// How often each had been restarted when it was first seen.
    first_restarts: HashMap<String, u64>,
}

impl<'a> Watch<'a> {
    async fn over(site: &Site<'_>, leg: &'a Leg<'a>) -> Result<Self, Stop> {
        let mut wanted_ids = Vec::new();
        for image in leg.images {
            wanted_ids.extend(site.engine.image(&image.by_digest(), &site.cancel).await?.map(|found| found.id));
        }
        Ok(Self { leg, rules: site.service.health.clone(), wanted_ids, began: Instant::now(), first_restarts: HashMap::new() })
    }

    fn judge(&mut self, containers: &[Container]) -> Verdict {
        let mine: Vec<&Container> = seen::pinned(self.leg.resolved, containers).collect();
        match self.still_waited_for(&mine) {
            Err(fault) => Verdict::Decided(Err(fault)),
            Ok(waiting) if waiting.is_empty() => Verdict::Decided(Ok(mine.len())),
            Ok(waiting) if mine.is_empty() && self.began.elapsed() > self.rules.deadline => {
                Verdict::Decided(Err(Fault::Container(format!("no container was started: {}.", waiting.join("; ")))))
            }
            Ok(waiting) => Verdict::Waiting(waiting),
        }
    }

    /// What is still missing; empty when all are healthy.
    fn still_waited_for(&mut self, mine: &[&Container]) -> Result<Vec<String>, Fault> {
        let active = self.leg.resolved.touched().into_iter();
        let missing = active.filter(|name| !mine.iter().any(|one| one.service == *name));
        let mut waiting: Vec<String> = missing.map(|name| format!("{name} has no container")).collect();
        for container in mine {
            self.check_image(container)?;
            let limit = self.rules.deadline_of(&container.service);
            match self.standing(container) {
                Standing::Good => {}
                Standing::Bad(why) => return Err(Fault::Container(why)),
                Standing::Waiting(why) if self.began.elapsed() >= limit => {
                    let why = format!("{} did not become healthy within {} s: {why}.", container.name, limit.as_secs());
                    return Err(Fault::Container(why));
                }
                Standing::Waiting(why) => waiting.push(format!("{}: {why}", container.name)),
            }
        }
        Ok(waiting)
    }

    /// A tag may move and a file may be edited at any moment: what counts is the image that runs.
    fn check_image(&self, container: &Container) -> Result<(), Fault> {
        let is_pinned = self.leg.resolved.service(&container.service).is_some_and(|service| service.pinned.is_some());
        if !is_pinned || self.wanted_ids.is_empty() || self.wanted_ids.contains(&container.image_id) {
            return Ok(());
        }
        let what = match self.leg.way {
            Way::Landing => "the pinned image",
            Way::Unwinding => "the previous image",
        };
        let why = format!("{} runs {} instead of {what}; somebody else changed the stack meanwhile.", container.name, container.image_id);
        Err(Fault::Container(why))
    }

    fn standing(&mut self, container: &Container) -> Standing {
        let name = &container.name;
        let first = self.first_restarts.entry(container.id.clone()).or_insert(container.restarts);
        let restarts = container.restarts.saturating_sub(*first);
        if container.oom_killed && !container.is_running() {
            return Standing::Bad(format!("{name} ran out of memory and was killed by the kernel; raise its memory limit."));
        }
        let one_shot = self.leg.resolved.service(&container.service).is_some_and(|service| service.one_shot);
        match &container.state {
            ContainerState::Exited if one_shot && container.exit_code == 0 => Standing::Good,
            ContainerState::Exited | ContainerState::Dead => Standing::Bad(format!("{name} exited with code {}.", container.exit_code)),
            ContainerState::Running if one_shot => Standing::Waiting("it is a one-shot job that is still running".into()),
            ContainerState::Running => self.standing_of_running(container, restarts),
            _ if restarts >= RESTARTS => Standing::Bad(container.crash_loop(restarts)),
            other => Standing::Waiting(format!("it is {other}")),
        }
    }

    fn standing_of_running(&self, container: &Container, restarts: u64) -> Standing {
        let name = &container.name;
        match &container.health {
            Health::Healthy => Standing::Good,
            Health::Unhealthy => Standing::Bad(format!("{name} is unhealthy: {}", container.health_output.trim())),
            unsure @ (Health::Starting | Health::Unknown(_)) => {
                if restarts >= RESTARTS {
                    return Standing::Bad(container.crash_loop(restarts));
                }
                let word = unsure.word().unwrap_or_default();
                Standing::Waiting(format!("it is {word}; last check: {}", container.health_output.trim()))
            }
            Health::Unchecked if restarts >= RESTARTS => Standing::Bad(container.crash_loop(restarts)),
            Health::Unchecked => {
                let settle = self.rules.settle;
                let up = seen::running_for(container).min(self.began.elapsed() + settle);
                if up >= settle {
                    return Standing::Good;
                }
                Standing::Waiting(format!("it has no healthcheck and has been up for {} of {} s", up.as_secs(), settle.as_secs()))
            }
        }
    }
}

/// The last lines of containers that are not good, so that the reason stands in the journal.
async fn say_last_lines(site: &mut Site<'_>, leg: &Leg<'_>) {
    const LINES: u32 = 6;
    // The order may be cancelled already, and just then the reason is wanted; it is not worth waiting for Docker.
    let patience = Cancel::default();
    let engine = site.engine.impatient();
    let Ok(containers) = engine.containers(&patience).await else { return };
    for container in seen::pinned(leg.resolved, &containers).filter(|one| one.health != Health::Healthy) {
        for line in engine.tail(&container.id, LINES, &patience).await.unwrap_or_default() {
            site.record.journal.output(format!("{} | {line}", container.name));
        }
    }
}
