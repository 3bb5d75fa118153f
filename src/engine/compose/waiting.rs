//! A Docker daemon that goes away while an order is carried out (a restart, an upgrade), and comes back.
//!
//! An engine made [`Compose::patient`] waits for it, within a time, in the one place through which docker is asked and told:
//! what can be done again is done again. What cannot (`docker compose up`, hooks) asks here whether its failure was the
//! daemon's going away.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use process::Cancel;
use process::capture;

use crate::clock;
use crate::engine::compose::events::Need;
use crate::engine::compose::patience::Patience;
use crate::engine::compose::patience::Turn;
use crate::engine::compose::stack::Compose;
use crate::engine::error::EngineError;

/// How often a daemon that is away is asked.
const ASK: Duration = Duration::from_millis(500);
/// A Docker that gives no output for this long counts as unavailable.
const SILENCE: Duration = Duration::from_secs(10);
/// How often it is said that it is still waited for.
const SAY: Duration = Duration::from_secs(30);
/// How often one call is made again: a daemon that comes and goes must not keep it up for ever.
const MOST_TIMES: u32 = 5;

impl Compose {
    /// The same engine, which waits at most the configured time for a daemon that does not answer, and says so by `tell`.
    /// As long as it lives, the host's events are listened to: the end of that line is an outage, however short.
    #[must_use]
    pub fn patient(self, tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        let engine = self.impatient();
        let patience = Patience {
            limit: self.daemon.docker().wait,
            tell: Box::new(tell),
            given_up: AtomicBool::new(false),
            waiting: tokio::sync::Mutex::default(),
            _events: Need::new(&self.daemon),
        };
        Self { patience: Some(Arc::new(patience)), ..engine }
    }

    /// The same engine, which waits for nothing.
    #[must_use]
    pub fn impatient(&self) -> Self {
        Self { patience: None, ..self.clone() }
    }

    /// How many outages were seen so far; compare it by [`Compose::was_away`].
    #[must_use]
    pub fn outages(&self) -> u32 {
        self.daemon.outages()
    }

    /// Whether the daemon was away at a time after `since`, or is away now. One that was waited for without success counts no more.
    pub async fn was_away(&self, since: u32) -> bool {
        let Some(patience) = &self.patience else { return false };
        if patience.given_up.load(Ordering::SeqCst) {
            return false;
        }
        // The end of the listener's line may be read a little later than what it made fail: the question takes longer.
        self.outages() != since || self.absence().await.is_some() || self.outages() != since
    }

    /// Waits until the daemon answers; at once where it does.
    ///
    /// # Errors
    /// [`EngineError::Daemon`] when it does not within the configured time, [`EngineError::Cancelled`] when the order was
    /// cancelled meanwhile.
    pub async fn ready(&self, cancel: &Cancel) -> Result<(), EngineError> {
        self.waited(cancel).await.map(|_| ())
    }

    /// As [`Compose::ready`]; whether it had to be waited for.
    async fn waited(&self, cancel: &Cancel) -> Result<bool, EngineError> {
        let Some(patience) = &self.patience else { return Ok(false) };
        let began = (Instant::now(), clock::utc(clock::now_ms()));
        let _alone = unless_cancelled(cancel, patience.waiting.lock()).await?;
        let mut last_told: Option<Instant> = None;
        while let Some(why) = unless_cancelled(cancel, self.absence()).await? {
            if last_told.is_none() {
                self.daemon.count_outage();
                (patience.tell)(&format!(
                    "Docker does not answer ({why}); waiting for it since {}, for at most {} s (docker.wait_s)",
                    began.1,
                    patience.limit.as_secs()
                ));
            } else if last_told.is_some_and(|at| at.elapsed() >= SAY) {
                (patience.tell)(&format!("still waiting for Docker, since {} ({} s)", began.1, began.0.elapsed().as_secs()));
            }
            if last_told.is_none_or(|at| at.elapsed() >= SAY) {
                last_told = Some(Instant::now());
            }
            if began.0.elapsed() >= patience.limit {
                patience.given_up.store(true, Ordering::SeqCst);
                return Err(EngineError::Daemon { why: format!("{why}; tagalong waited for it since {}", began.1) });
            }
            unless_cancelled(cancel, tokio::time::sleep(ASK)).await?;
        }
        patience.given_up.store(false, Ordering::SeqCst);
        if last_told.is_some() {
            (patience.tell)(&format!("Docker answers again after {} s; continuing", began.0.elapsed().as_secs()));
        }
        Ok(last_told.is_some())
    }

    /// The beginning of something that may be done more than once.
    pub(super) fn turn(&self) -> Turn {
        Turn { left: MOST_TIMES, since: self.outages() }
    }

    /// Whether what came to `done` is to be done again: it failed because the daemon was away, and that is back by now.
    ///
    /// # Errors
    /// As [`Compose::ready`].
    pub(super) async fn again<T: Sync>(
        &self,
        turn: &mut Turn,
        done: &Result<T, EngineError>,
        cancel: &Cancel,
    ) -> Result<bool, EngineError> {
        let is_outage = match done {
            _ if self.patience.is_none() || turn.left == 0 => false,
            Err(EngineError::Daemon { .. }) => !self.has_given_up(),
            Err(EngineError::Failed { .. } | EngineError::Deadline { .. }) => unless_cancelled(cancel, self.was_away(turn.since)).await?,
            _ => false,
        };
        let (true, Some(patience), Err(error)) = (is_outage, &self.patience, done) else { return Ok(false) };
        if !self.waited(cancel).await? {
            (patience.tell)(&format!("{error}. Docker was unavailable for a moment, so this step is repeated"));
        }
        unless_cancelled(cancel, tokio::time::sleep(ASK)).await?;
        *turn = Turn { left: turn.left - 1, since: self.outages() };
        Ok(true)
    }

    fn has_given_up(&self) -> bool {
        self.patience.as_ref().is_some_and(|patience| patience.given_up.load(Ordering::SeqCst))
    }

    /// Why the daemon cannot be reached now; none: it can. What else a client may complain of is another matter.
    async fn absence(&self) -> Option<String> {
        let command = self.docker_command(["info", "--format", "{{json .}}"], SILENCE);
        let captured = capture(&command, &Cancel::default()).await;
        match EngineError::ended("docker info", &command.program, &captured.ended, &captured.err) {
            EngineError::Daemon { why } => Some(why),
            EngineError::Deadline { limit, .. } => Some(format!("it gave no output for {} s", limit.as_secs())),
            _ => None,
        }
    }
}

/// What `waited` comes to; a cancel of the order ends it.
async fn unless_cancelled<T>(cancel: &Cancel, waited: impl Future<Output = T>) -> Result<T, EngineError> {
    tokio::select! {
        done = waited => Ok(done),
        () = cancel.cancelled() => Err(EngineError::Cancelled { what: "waiting for Docker".to_owned() }),
    }
}
