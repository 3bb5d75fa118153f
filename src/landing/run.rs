//! The story of one deployment.
//!
//! [`Run::land`] is the story function: it reads aloud what happens, and the details stand below it in call order. A rollback,
//! an adoption and a restart enter by the same function. Whatever goes wrong from the pin on is `undo.rs`'s.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use smoke::Report;

use crate::clock;
use crate::config::Config;
use crate::config::Service;
use crate::engine::Compose;
use crate::engine::Container;
use crate::engine::EngineError;
use crate::engine::Resolved;
use crate::journal::Journal;
use crate::landing::Claimed;
use crate::landing::Host;
use crate::landing::Objection;
use crate::landing::retain;
use crate::landing::seen;
use crate::landing::stop::Stop;
use crate::model::Guard;
use crate::model::ImageRef;
use crate::model::Order;
use crate::model::OrderKind;
use crate::model::Outcome;
use crate::model::Step;
use crate::process::Cancel;
use crate::process::HostLock;
use crate::store::Facts;
use crate::store::Fence;
use crate::store::StoreError;

/// What is done at the step up, for people.
const UP: &str = "docker compose up";

/// One deployment that is being carried out.
pub(super) struct Run<'a> {
    pub(super) host: &'a Host,
    pub(super) config: Arc<Config>,
    pub(super) objection: Option<Objection>,
    pub(super) service: Arc<Service>,
    pub(super) compose: Compose,
    pub(super) journal: Journal,
    pub(super) cancel: Cancel,
    pub(super) fence: Fence,
    pub(super) order: Order,
    pub(super) attempts: i64,
    /// The exact images, once they are known.
    pub(super) images: Vec<ImageRef>,
    /// What the stack resolves to, once it is known.
    pub(super) resolved: Option<Resolved>,
    /// Whether something on the host may have changed.
    pub(super) changed: bool,
    /// Whether `docker compose up` may have begun to replace what ran.
    pub(super) replaced: bool,
    /// The pin's bytes before it was written.
    pub(super) pin_before: Option<String>,
    /// What ran before, for people; none: nothing did.
    pub(super) ran_before: Option<String>,
    pub(super) baseline: Option<Report>,
    pub(super) barrier: bool,
    pub(super) warnings: Vec<String>,
    step: Step,
    step_began: Instant,
}

/// Carries an order out, or finishes what an earlier life left of it. When this returns, its outcome is stored and told.
pub async fn carry_out(host: &Host, config: Arc<Config>, claimed: Claimed, cancel: Cancel) {
    let (id, recovered) = (claimed.deployment.id.clone(), claimed.recovered);
    let fence = claimed.deployment.fence();
    let journal = match Journal::open(&host.store, &host.hub, &fence, Arc::clone(&config.mask)).await {
        Ok(journal) => journal,
        Err(error) => return tracing::error!(deployment = %id, %error, "the journal could not be opened; the next round tries again"),
    };
    if claimed.deployment.cancel_by.is_some() {
        cancel.cancel();
    }
    let resume_at = claimed.deployment.step.filter(|_| recovered);
    let mut run = Run::new(host, config, journal, cancel, fence, claimed);
    let (outcome, lock) = match run.take_lock(recovered).await {
        Ok(lock) => {
            let voice = run.journal.voice();
            run.compose = run.compose.locked(lock.file()).patient(move |line| voice.warning(line));
            (run.find_outcome(resume_at).await, Some(lock))
        }
        Err(why) => (
            Some(if run.changed {
                Outcome::RollbackFailed { why, and: "nothing could be done about it.".into() }
            } else {
                Outcome::Failed { why }
            }),
            None,
        ),
    };
    let Some(outcome) = outcome else { return };
    run.end(&outcome, lock).await;
}

impl<'a> Run<'a> {
    fn new(host: &'a Host, config: Arc<Config>, journal: Journal, cancel: Cancel, fence: Fence, claimed: Claimed) -> Self {
        let Claimed { deployment: stored, service, objection, .. } = claimed;
        let compose = Compose::new(config.docker.clone(), service.stack.clone(), Arc::clone(&config.mask), None);
        let changed = stored.pin_before.is_some();
        Self {
            host,
            config,
            objection,
            compose,
            journal,
            cancel,
            fence,
            attempts: stored.attempts,
            images: stored.images,
            resolved: None,
            changed,
            replaced: changed && stored.step > Some(Step::Pin),
            pin_before: stored.pin_before,
            ran_before: stored.ran_before,
            baseline: stored.baseline,
            barrier: stored.barrier,
            warnings: Vec::new(),
            step: stored.step.unwrap_or(Step::Guards),
            step_began: Instant::now(),
            order: stored.order,
            service,
        }
    }

    /// The whole way to an outcome; none when another server has taken over.
    async fn find_outcome(&mut self, resume_at: Option<Step>) -> Option<Outcome> {
        let story = match resume_at {
            Some(step) => self.resume(step).await,
            None => self.land().await,
        };
        let ended = match story {
            Ok(outcome) => Ok(outcome),
            Err(Stop::Lost(error)) => Err(Stop::Lost(error)),
            Err(stop) => self.not_landed(stop).await,
        };
        ended
            .map_err(
                |stop| tracing::error!(deployment = %self.fence.id, ?stop, "this run ends without an outcome; the next one takes it up"),
            )
            .ok()
    }

    /// The story.
    pub(super) async fn land(&mut self) -> Result<Outcome, Stop> {
        self.asked()?;
        if self.order.kind == OrderKind::Adopt {
            return self.adopt().await;
        }
        self.resolve().await?;
        self.preflight().await?;
        if self.order.dry_run {
            return Ok(Outcome::DryRun { would_pin: self.images_text() });
        }
        self.before_hook().await?;
        self.pull().await?;
        self.pin().await?;
        self.bring_up().await
    }

    /// The second half, where a restart may enter: everything in it can be done again.
    pub(super) async fn bring_up(&mut self) -> Result<Outcome, Stop> {
        self.begin(Step::Up, UP).await?;
        self.serve([Step::Up, Step::Health, Step::Smoke]).await?;
        self.verified().await?;
        self.after_hook().await?;
        Ok(Outcome::Live { warnings: std::mem::take(&mut self.warnings) })
    }

    /// The order whose turn it is, which a guard may have something against.
    fn asked(&mut self) -> Result<(), Stop> {
        let tag = self.order.tag.as_ref().map_or_else(|| "the recorded image".to_owned(), ToString::to_string);
        let title = match self.order.kind {
            OrderKind::Deploy => format!("{} → {tag}", self.service.name),
            OrderKind::Rollback => format!("{} back to {tag}", self.service.name),
            OrderKind::Adopt => format!("{}: adopt what runs", self.service.name),
        };
        self.journal.step(Step::Guards, &title);
        let why = self.order.reason.as_ref().map_or(String::new(), |why| format!(": {why}"));
        self.journal.note(format!("ordered by {}{why}", self.order.caller));
        if self.attempts > 3 {
            let times = self.attempts - 1;
            return Err(Stop::Fault(format!(
                "tagalong was ended {times} times while it carried this out; retry it when the host is well."
            )));
        }
        self.objection.take().map_or(Ok(()), |Objection { guard, why }| Err(Stop::Refused(guard, why)))
    }

    /// Everything that can be known before anything changes, the running page's own faults among it.
    async fn preflight(&mut self) -> Result<(), Stop> {
        let facts = Facts { images: Some(self.images.clone()), barrier: Some(self.barrier), ..Facts::default() };
        self.begin_with(Step::Preflight, "whether it can be landed", &facts).await?;
        self.look_at_the_stack().await?;
        let containers = self.compose.containers(&self.cancel).await?;
        let running: Vec<String> =
            self.pinned_of(&containers).filter(|c| seen::is_running(c)).map(|c| format!("{} ({})", c.service, c.image)).collect();
        self.ran_before = (!running.is_empty()).then(|| running.join(", "));
        match &self.ran_before {
            Some(what) => self.journal.note(format!("runs now: {what}")),
            None => self.journal.note("nothing of it runs now"),
        }
        if self.ran_before.is_some() {
            let running: Vec<&Container> = self.pinned_of(&containers).filter(|c| seen::is_running(c)).collect();
            let pins = &self.service.stack.pins;
            let tag = running.iter().find_map(|c| pins.iter().find_map(|pin| seen::tag_of(c, &pin.image)));
            let tag = tag.map(|tag| tag.to_string());
            let outages = self.compose.outages();
            self.baseline = self.smoke_before(tag.clone()).await;
            if self.baseline.as_ref().is_some_and(|report| report.errors().count() > 0) && self.compose.was_away(outages).await {
                self.compose.ready(&self.cancel).await?;
                self.baseline = self.smoke_before(tag).await;
            }
        }
        Ok(())
    }

    /// What the compose files resolve to and how they are pinned.
    pub(super) async fn look_at_the_stack(&mut self) -> Result<(), Stop> {
        let (version, resolved) = {
            let compose = &self.compose;
            let asked =
                async { tokio::join!(compose.compose_version(&self.cancel), compose.resolve(&self.host.fingerprint_key, &self.cancel)) };
            self.within(self.service.deadlines.preflight, "docker compose", asked).await?
        };
        let version = version.map_err(|error| match error {
            EngineError::Host(why) => Stop::Refused(Guard::ComposeVersion, why),
            other => other.into(),
        })?;
        if let Some(note) = version.note {
            self.journal.note(note);
        }
        let resolved = resolved?;
        for warning in &resolved.warnings {
            self.journal.warning(warning);
        }
        self.journal.note(format!("pins {} by {}", seen::pinned_services(&resolved).join(", "), seen::mode_text(&resolved)));
        self.resolved = Some(resolved);
        Ok(())
    }

    /// The pin: from here on the host is changed. The old bytes are on disk before the new ones are written.
    pub(super) async fn pin(&mut self) -> Result<(), Stop> {
        let before = match &self.pin_before {
            Some(before) => before.clone(),
            None => self.compose.snapshot().await?.to_text(),
        };
        let facts = Facts {
            images: Some(self.images.clone()),
            barrier: Some(self.barrier),
            pin_before: Some(before.clone()),
            ran_before: self.ran_before.clone(),
            resolved: self.resolved.as_ref().map(|resolved| resolved.config_with(&self.images)),
            baseline: self.baseline.clone(),
            ..Facts::default()
        };
        let title = format!("pin {}", self.images_text());
        if self.cancel.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        self.begin_with(Step::Pin, &title, &facts).await?;
        self.pin_before = Some(before);
        let resolved = self.resolved.as_ref().ok_or_else(|| Stop::Fault("the stack was not resolved.".into()))?;
        // A file that cannot be written leaves its old bytes, so nothing has changed yet when this fails.
        self.compose.pin(resolved, &self.images).await?;
        self.changed = true;
        // What a person's own `docker compose up -d` would bring up is asked of compose itself, before anything is stopped.
        self.compose.prove(resolved, &self.images, &self.cancel).await?;
        Ok(())
    }

    /// What is pinned is brought up, is healthy, and was looked at, at `steps`; the first of them has begun. Where Docker went away
    /// meanwhile, whatever failed is no fault of the release: once Docker is back, all of it is done again.
    pub(super) async fn serve(&mut self, steps: [Step; 3]) -> Result<(), Stop> {
        const MOST_OUTAGES: u32 = 5;
        let [up, health, smoke] = steps;
        for _ in 0..MOST_OUTAGES {
            let outages = self.compose.outages();
            let why = match self.serve_once(health, smoke).await {
                Err(Stop::Fault(why) | Stop::OldFault(why)) if self.compose.was_away(outages).await => why,
                done => return done,
            };
            self.journal.warning(format!("{}. Docker was away meanwhile, so this is done again", why.trim_end_matches('.')));
            self.compose.ready(&self.cancel).await?;
            self.begin(up, UP).await?;
        }
        self.serve_once(health, smoke).await
    }

    async fn serve_once(&mut self, health: Step, smoke: Step) -> Result<(), Stop> {
        self.compose_up().await?;
        self.health(health).await?;
        self.smoke(smoke).await
    }

    async fn compose_up(&mut self) -> Result<(), Stop> {
        self.refuse_edited(self.step.is_undo()).await?;
        self.replaced = true;
        let resolved = self.resolved.as_ref().ok_or_else(|| Stop::Fault("the stack was not resolved.".into()))?;
        let journal = &mut self.journal;
        self.compose.up(resolved, self.service.deadlines.up, &self.cancel, |_, line| journal.output(line)).await?;
        Ok(())
    }

    /// From here on the release counts as verified, whatever the after-hook does.
    pub(super) async fn verified(&mut self) -> Result<(), Stop> {
        let facts = Facts { verified: Some(true), images: Some(self.images.clone()), ..Facts::default() };
        self.begin_with(Step::AfterHook, "verified", &facts).await?;
        self.keep_images().await;
        Ok(())
    }

    /// Says and stores that a step begins.
    pub(super) async fn begin(&mut self, step: Step, title: &str) -> Result<(), Stop> {
        self.begin_with(step, title, &Facts::default()).await
    }

    pub(super) async fn begin_with(&mut self, step: Step, title: &str, facts: &Facts) -> Result<(), Stop> {
        if self.cancel.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        self.host.metrics.step(self.step, self.step_began.elapsed());
        (self.step, self.step_began) = (step, Instant::now());
        self.journal.step(step, title);
        self.host.store.advance(&self.fence, step, facts).await?;
        Ok(())
    }

    /// `work`, ended at `limit` or when the order is cancelled.
    pub(super) async fn within<T>(&self, limit: Duration, what: &str, work: impl Future<Output = T>) -> Result<T, Stop> {
        tokio::select! {
            done = work => Ok(done),
            () = self.cancel.cancelled() => Err(Stop::Cancelled),
            () = tokio::time::sleep(limit) => Err(Stop::Fault(format!("{what} did not answer within {} s.", limit.as_secs()))),
        }
    }

    pub(super) fn images_text(&self) -> String {
        self.images.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    /// Stores and tells the outcome, then lets go of the lock and removes images that nothing needs any more.
    async fn end(self, outcome: &Outcome, lock: Option<HostLock>) {
        let (host, config) = (self.host, Arc::clone(&self.config));
        let id = self.fence.id.clone();
        host.metrics.step(self.step, self.step_began.elapsed());
        let (service, fence, step) = (Arc::clone(&self.service), self.fence.clone(), self.step);
        let compose = self.compose.clone();
        let caller = self.order.caller.to_string();
        let before = self.ran_before.as_ref().map_or(String::new(), |before| format!(" over {before}"));
        let detail =
            if self.images.is_empty() { format!("{id} {outcome}") } else { format!("{id} {}{before}: {outcome}", self.images_text()) };
        let seq = self.journal.close().await;
        // What happened on the host has happened: the record is tried until it is written or somebody else owns it.
        while let Err(error) = host.store.finish(&fence, outcome, step, seq).await {
            if matches!(error, StoreError::Fenced) {
                return;
            }
            tracing::error!(deployment = %id, %error, "the outcome cannot be stored; it is tried again");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        host.hub.tell(&id);
        host.metrics.ended(&service.name, outcome, clock::now_ms());
        if let Err(error) = host.store.audit(&caller, "outcome", service.name.as_str(), &detail).await {
            tracing::warn!(deployment = %id, %error, "the outcome is not in the audit trail");
        }
        tracing::info!(deployment = %id, service = %service.name, outcome = outcome.name(), detail = %outcome, "deployment ended");
        if matches!(outcome, Outcome::Live { .. }) {
            retain::retain(&host.store, &config, &service, &compose).await;
        }
        drop(lock);
    }
}
