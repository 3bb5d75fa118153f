//! What happens to a release that did not land: nothing was changed, or the previous one comes back.
//!
//! The undo is a short story of its own: pin · up · health · smoke of the stored previous release. No registry, no resolve,
//! no before-hook.

use crate::config::OnFailure;
use crate::engine::PinBytes;
use crate::landing::run::Run;
use crate::landing::seen;
use crate::landing::stop::Stop;
use crate::model::ImageRef;
use crate::model::Order;
use crate::model::OrderKind;
use crate::model::Outcome;
use crate::model::State;
use crate::model::Step;
use crate::process::Cancel;
use crate::process::Ended;
use crate::store::Deployment;
use crate::store::Facts;
use crate::store::Store;
use crate::store::StoreError;

/// The deployment that was stopped half-way for a rollback and whose change nobody has brought back yet, where the rollback
/// `order` has to.
///
/// # Errors
/// When the database does not answer.
pub async fn left_half_way(store: &Store, order: &Order) -> Result<Option<Deployment>, StoreError> {
    if order.kind != OrderKind::Rollback {
        return Ok(None);
    }
    let last = match store.last_change(&order.service).await?.transpose() {
        Ok(last) => last,
        Err(error) => {
            tracing::error!(service = %order.service, %error, "what the last change left does not read, so nobody brings it back");
            None
        }
    };
    let is_left =
        |one: &Deployment| matches!(one.state, State::Done { outcome: Outcome::Cancelled { changed: true, brought_back: false, .. } });
    Ok(last.filter(is_left))
}

impl Run<'_> {
    /// From a story that stopped to an outcome.
    pub(super) async fn not_landed(&mut self, stop: Stop) -> Result<Outcome, Stop> {
        let is_fault = matches!(stop, Stop::Refused(..) | Stop::Fault(_));
        if self.changed && !self.replaced && is_fault && self.restore_pin().await.is_ok() {
            // Nothing but the pin was changed: without it, what ran goes on as it was.
            self.changed = false;
        }
        let owes = !self.changed && self.take_up_the_pre_empted(&stop).await?;
        if !self.changed && !owes {
            return self.unchanged(stop).await;
        }
        let (why, cancelled) = match stop {
            Stop::Lost(error) => return Err(Stop::Lost(error)),
            Stop::OldFault(why) => return Ok(Outcome::NeedsOperator { why }),
            Stop::Cancelled => (String::from("it was cancelled"), true),
            Stop::Refused(_, why) | Stop::Fault(why) => (why, false),
        };
        self.journal.error(&why);
        let by = if cancelled { self.cancelled_by().await? } else { String::new() };
        if cancelled && by.starts_with("rollback ") {
            // The rollback brings its own release up, and where it comes to nothing it undoes this one as well
            // (`take_up_the_pre_empted`): bringing another one up before it would only keep the page broken longer.
            return Ok(Outcome::Cancelled { by, changed: true, brought_back: false });
        }
        if self.service.on_failure == OnFailure::Leave && !cancelled && !owes {
            return Ok(Outcome::NeedsOperator { why: format!("{why} It is left as it is (on_failure = \"leave\").") });
        }
        if self.barrier && !self.order.force {
            return Ok(Outcome::NeedsOperator {
                why: format!("{why} The release says that it must not be rolled back past, so it is left for a person."),
            });
        }
        let outcome = self.undo(why).await?;
        Ok(match outcome {
            Outcome::RolledBack { .. } if cancelled => Outcome::Cancelled { by, changed: true, brought_back: true },
            other => other,
        })
    }

    /// Whether this is a rollback that changed nothing while the deployment that it stopped half-way is still up and pinned, and
    /// nobody else brings the last verified release back. Then that change is this rollback's from now on: it is undone as if
    /// that deployment had been cancelled, whatever `on_failure` says, and the hold stays since the service was changed under it.
    async fn take_up_the_pre_empted(&mut self, stop: &Stop) -> Result<bool, Stop> {
        if matches!(stop, Stop::Lost(_)) {
            return Ok(false);
        }
        let Some(left) = left_half_way(&self.host.store, &self.order).await? else { return Ok(false) };
        if matches!(stop, Stop::Cancelled) && self.cancelled_by().await?.starts_with("rollback ") {
            // That rollback finds it as well.
            return Ok(false);
        }
        self.journal.warning(format!("{} was stopped half-way for this rollback, and what it changed is still there", left.id));
        self.owe(left);
        self.changed = true;
        Ok(true)
    }

    /// An earlier life may have been undoing what a pre-empted deployment had left: then the record has that one's pin.
    pub(super) async fn owe_again(&mut self) -> Result<(), Stop> {
        if let Some(left) = left_half_way(&self.host.store, &self.order).await?
            && left.pin_before == self.pin_before
        {
            self.owe(left);
        }
        Ok(())
    }

    /// The change of `left` is undone from what stood before it, not before this order.
    fn owe(&mut self, left: Deployment) {
        self.pin_before = left.pin_before;
        self.ran_before = left.ran_before;
        self.baseline = left.baseline;
        self.barrier = left.barrier;
        self.images = left.images;
    }

    async fn unchanged(&self, stop: Stop) -> Result<Outcome, Stop> {
        Ok(match stop {
            Stop::Refused(guard, why) => Outcome::Refused { guard, why },
            Stop::Fault(why) | Stop::OldFault(why) => Outcome::Failed { why },
            Stop::Cancelled => Outcome::Cancelled { by: self.cancelled_by().await?, changed: false, brought_back: false },
            Stop::Lost(error) => return Err(Stop::Lost(error)),
        })
    }

    async fn cancelled_by(&self) -> Result<String, Stop> {
        let stored = self.host.store.get(&self.fence.id).await?;
        Ok(stored.and_then(|stored| stored.cancel_by).unwrap_or_else(|| "its caller".to_owned()))
    }

    /// The undo. It is not cancelled by what cancelled the deployment.
    pub(super) async fn undo(&mut self, why: String) -> Result<Outcome, Stop> {
        self.cancel = Cancel::default();
        let previous = self.previous_verified().await?;
        let Some(to) = self.way_back(previous.as_ref()) else {
            return self.broken(why).await;
        };
        let brought_back = self.bring_back(previous.as_ref(), &why).await;
        match brought_back {
            Ok(()) => Ok(Outcome::RolledBack { why, to, verified_before: previous.is_some() }),
            // The page had this fault before anything changed, and has it again: the previous release is back.
            Err(Stop::OldFault(old)) => {
                self.journal.warning(old);
                Ok(Outcome::RolledBack { why, to, verified_before: previous.is_some() })
            }
            Err(Stop::Lost(error)) => Err(Stop::Lost(error)),
            Err(Stop::Refused(_, and) | Stop::Fault(and)) => Ok(Outcome::RollbackFailed { why, and }),
            Err(Stop::Cancelled) => Ok(Outcome::RollbackFailed { why, and: "the undo was stopped.".into() }),
        }
    }

    /// The last verified release. It may be the very content that did not hold this time: then it gets a second chance,
    /// and no older release comes up by itself. Where its record does not read, there is none: what ran comes back by the
    /// pin's old bytes.
    async fn previous_verified(&mut self) -> Result<Option<Deployment>, Stop> {
        for old in self.host.store.verified(&self.service.name).await? {
            match old {
                Ok(old) if old.id == self.fence.id || old.images.is_empty() => {}
                Ok(old) => return Ok(Some(old)),
                Err(error) => {
                    tracing::error!(deployment = %self.fence.id, %error, "the record of the previous release does not read");
                    self.journal.error(format!(
                        "The record of the previous release does not read, so what ran before comes back as it was pinned. {error}"
                    ));
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }

    /// What can be returned to, for people; none: nothing.
    fn way_back(&self, previous: Option<&Deployment>) -> Option<String> {
        match previous {
            Some(old) => Some(old.images.iter().map(ImageRef::named).collect::<Vec<_>>().join(", ")),
            None => self.ran_before.clone(),
        }
    }

    /// What the next start needs to take the undo up. The images stay those that were ordered: a retry lands them.
    fn undo_facts(&self, why: &str) -> Facts {
        Facts {
            undo_why: Some(why.to_owned()),
            pin_before: self.pin_before.clone(),
            ran_before: self.ran_before.clone(),
            ..Facts::default()
        }
    }

    async fn bring_back(&mut self, previous: Option<&Deployment>, why: &str) -> Result<(), Stop> {
        self.begin_with(Step::UndoPin, "undo: the previous release comes back", &self.undo_facts(why)).await?;
        if self.resolved.is_none() {
            self.look_at_the_stack().await?;
        }
        if let Some(old) = previous {
            self.images.clone_from(&old.images);
            let resolved = self.resolved.as_ref().ok_or_else(|| Stop::Fault("the stack was not resolved.".into()))?;
            self.compose.pin(resolved, &old.images).await?;
        } else {
            self.restore_pin().await?;
            self.images.clear();
        }
        self.begin(Step::UndoUp, "undo: docker compose up").await?;
        // What failed may have waited for Docker in vain: the undo has a time of its own for that.
        self.compose.ready(&self.cancel).await?;
        self.undo_hook().await?;
        self.fetch_if_gone().await?;
        self.serve([Step::UndoUp, Step::UndoHealth, Step::UndoSmoke]).await
    }

    /// What the pin has changed in the stack's files is as it was; what somebody else has written there since stays.
    pub(super) async fn restore_pin(&mut self) -> Result<(), Stop> {
        let Some(before) = &self.pin_before else { return Ok(()) };
        let bytes = PinBytes::from_text(before).map_err(Stop::Fault)?;
        self.compose.unpin(&bytes, &self.images).await?;
        Ok(())
    }

    /// The `undo` hook may restore a backup, so the previous release must not start before it has ended well.
    async fn undo_hook(&mut self) -> Result<(), Stop> {
        let Some(hook) = self.service.hooks.undo.clone() else { return Ok(()) };
        self.journal.note(format!("undo-hook: {}", hook.argv.join(" ")));
        match self.hook_through_outages(&hook).await {
            Ended::Exit(0) => Ok(()),
            ended => Err(Stop::Fault(format!("the undo-hook {ended}."))),
        }
    }

    /// Nothing to return to: the files get their old bytes, and the record says what still runs.
    async fn broken(&mut self, why: String) -> Result<Outcome, Stop> {
        self.begin_with(Step::UndoPin, "undo: there is nothing to return to", &self.undo_facts(&why)).await?;
        let restored = match self.restore_pin().await {
            Ok(()) => "the pin has its old bytes back",
            Err(Stop::Fault(fault)) => {
                self.journal.error(fault);
                "the pin could not be restored"
            }
            Err(stop) => return Err(stop),
        };
        let containers = self.compose.containers(&self.cancel).await.unwrap_or_default();
        let still: Vec<String> = containers.iter().filter(|c| seen::is_running(c)).map(|c| format!("{} ({})", c.name, c.image)).collect();
        let runs = if still.is_empty() { "nothing runs".to_owned() } else { format!("still up: {}", still.join(", ")) };
        Ok(Outcome::Broken { why, runs: format!("{restored}; {runs}") })
    }
}
