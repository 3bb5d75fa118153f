//! The state of a service, for people and programs.

use std::sync::Arc;
use std::time::Duration;

use process::Cancel;

use crate::api;
use crate::clock;
use crate::config::Service;
use crate::engine::Container;
use crate::engine::Engine;
use crate::engine::EngineError;
use crate::engine::PinnedNow;
use crate::landing;
use crate::model::ImageRef;
use crate::model::State;
use crate::orders::Deployer;
use crate::orders::way_back::same_content;
use crate::store::Deployment;
use crate::store::Hold;
use crate::store::HoldKind;
use crate::store::StoreError;

impl Deployer {
    /// The state of a service: what is pinned, running and waiting, and what blocks it.
    ///
    /// # Errors
    /// When the database does not answer. A Docker that does not answer is said in `blocked`.
    pub async fn service_state(&self, service: &Service) -> Result<api::Service, StoreError> {
        let verified = self.shown(service).await?;
        for error in verified.iter().filter_map(|one| one.as_ref().err()) {
            tracing::error!(service = %service.name, %error, "a verified release is not shown");
        }
        let unfinished = self.store.unfinished(&service.name).await?;
        let hold = self.store.hold(&service.name).await?;
        let engine = self.engine(service);
        let pinned = pinned(&engine).await;
        let running = unfinished.deployments.iter().find(|one| matches!(one.state, State::Running { .. }));
        // One that cannot be read may be at work, so nothing is said as if nothing ran.
        let may_run = unfinished.unreadable.first();
        let containers = containers_of(&engine, running.is_some() || may_run.is_some()).await;
        // The one behind a record that cannot be read is not the one that serves.
        let live = verified.first().and_then(|one| one.as_ref().ok());
        let fault = containers.as_ref().err().map(ToString::to_string).or_else(|| pinned.as_ref().err().cloned());
        let blocked = may_run.map(ToString::to_string).or_else(|| blocked(service, running, fault));
        let blocked = blocked.or_else(|| self.waits_for_a_place(&service.name));
        let containers = containers.unwrap_or_default();
        Ok(api::Service {
            name: service.name.clone(),
            drift: pinned.as_ref().ok().filter(|_| running.is_none() && may_run.is_none()).and_then(|pinned| drift(pinned, live)),
            pinned: pinned.unwrap_or_default(),
            containers: containers
                .iter()
                .map(|container| api::Container {
                    service: container.service.clone(),
                    name: container.name.clone(),
                    state: container.state.to_string(),
                    health: container.health.word().map(str::to_owned),
                    image_id: container.image_id.clone(),
                    started_at: container.started_at.clone(),
                })
                .collect(),
            live: live.map(view),
            running: running.map(view),
            waiting: unfinished.deployments.iter().find(|one| matches!(one.state, State::Waiting { .. })).map(view),
            held: hold.map(|hold| held(service, &hold)),
            blocked,
            rollback_candidates: candidates(&engine, live, verified.iter().flatten(), service.keep).await,
        })
    }
}

/// Why CI's orders are refused.
fn held(service: &Service, hold: &Hold) -> String {
    let since = clock::utc(hold.since_ms);
    let why = match hold.kind {
        HoldKind::Rollback => format!("the rollback {} has held the service since {since}", hold.by),
        HoldKind::NeedsOperator => format!("deployment {} has needed an operator since {since}", hold.by),
    };
    format!("{why}; `tagalong resume {}` lets CI deploy again", service.name)
}

/// The stack's containers: as they were observed, but where something changes them just now.
async fn containers_of(engine: &Engine, changes: bool) -> Result<Arc<Vec<Container>>, EngineError> {
    const AGE: Duration = Duration::from_secs(30);
    let at_most = if changes { Duration::ZERO } else { AGE };
    Ok(engine.observed(at_most, &Cancel::default()).await?.containers)
}

/// What the stack's files pin, or why they cannot be read.
async fn pinned(engine: &Engine) -> Result<Vec<String>, String> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let read = tokio::time::timeout(PATIENCE, engine.current()).await;
    let read = read.map_err(|_| format!("the stack's files could not be read within {} s", PATIENCE.as_secs()))?;
    let text = |pin: PinnedNow| pin.value.map_or_else(|| format!("{} (nothing)", pin.image), |value| format!("{}:{value}", pin.image));
    Ok(read.map_err(|error| error.to_string())?.into_iter().map(text).collect())
}

/// What blocks the service: who is at which step since when.
fn blocked(service: &Service, running: Option<&Deployment>, engine_fault: Option<String>) -> Option<String> {
    if let Some(one) = running {
        let step = one.step.map_or("guards", |step| step.as_str());
        let fault = engine_fault.map_or(String::new(), |fault| format!("; {fault}"));
        return Some(format!("{} has been at {step} since {}{fault}", one.id, clock::utc(one.started_ms.unwrap_or(one.created_ms))));
    }
    let holders = landing::holders(service.stack.dir());
    holders.first().map(|holder| format!("process {} ({}) holds the lock of the stack", holder.pid, holder.command)).or(engine_fault)
}

/// The verified releases before the live one, each content once, newest first.
async fn candidates<'a>(
    engine: &Engine,
    live: Option<&'a Deployment>,
    verified: impl Iterator<Item = &'a Deployment>,
    keep: usize,
) -> Vec<api::Candidate> {
    let mut older: Vec<&Deployment> = Vec::new();
    for one in verified {
        if !live.iter().chain(&older).any(|newer| same_content(&newer.images, &one.images)) {
            older.push(one);
        }
    }
    older.truncate(keep.saturating_sub(1));
    let images: Vec<&ImageRef> = older.iter().flat_map(|one| &one.images).collect();
    // A Docker that does not answer is said elsewhere.
    let gone = engine.gone(&images, &Cancel::default()).await.unwrap_or_default();
    older
        .into_iter()
        .map(|one| api::Candidate {
            deployment: one.id.clone(),
            tag: one.images.first().and_then(|image| image.tag.clone()),
            images: one.images.iter().map(ToString::to_string).collect(),
            gone: one.images.iter().filter(|image| gone.contains(image)).map(ToString::to_string).collect(),
            at_ms: one.ended_ms.unwrap_or(one.created_ms),
        })
        .collect()
}

/// Where the pin is not what was last verified.
fn drift(pinned: &[String], live: Option<&Deployment>) -> Option<String> {
    let live = live?;
    let missing: Vec<String> =
        live.images.iter().filter(|image| !pinned.iter().any(|pin| is_pinned(image, pin))).map(ToString::to_string).collect();
    if missing.is_empty() {
        return None;
    }
    Some(format!(
        "the last verified release is {}, but the stack pins {}",
        missing.join(", "),
        if pinned.is_empty() { "nothing".into() } else { pinned.join(", ") }
    ))
}

/// Whether `pin` means the image: by its digest, or by the tag that a loaded one has alone.
fn is_pinned(image: &ImageRef, pin: &str) -> bool {
    image.loaded_name().map_or_else(|| pin.contains(image.digest.as_str()), |name| pin == name)
}

/// A stored deployment as the API shows it.
#[must_use]
pub fn view(stored: &Deployment) -> api::Deployment {
    let summary = match &stored.state {
        State::Done { outcome } => Some(outcome.to_string()),
        _ => None,
    };
    api::Deployment {
        id: stored.id.clone(),
        service: stored.order.service.clone(),
        kind: stored.order.kind,
        state: stored.state.clone(),
        summary,
        tag: stored.order.tag.clone().or_else(|| stored.images.first()?.tag.clone()),
        images: stored.images.iter().map(ToString::to_string).collect(),
        verified: stored.verified,
        commit: stored.order.commit.clone(),
        git_ref: stored.order.git_ref.clone(),
        run_url: stored.order.run_url.clone(),
        run_number: stored.order.run_number,
        reason: stored.order.reason.clone(),
        caller: stored.order.caller.to_string(),
        ran_before: stored.ran_before.clone(),
        report: stored.report.clone(),
        away: stored.away,
        created_ms: stored.created_ms,
        started_ms: stored.started_ms,
        ended_ms: stored.ended_ms,
    }
}
