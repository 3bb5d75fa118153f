//! What happens to a release that did not land: nothing was changed, or the previous one comes back.
//!
//! The undo is a short story of its own: pin · up · health · smoke of the stored previous release. No registry, no resolve,
//! no before-hook. It is a state of the run, [`Unwinding`], made of a [`Change`] and of nothing else: only what was changed
//! can be undone.

use process::Cancel;

use crate::config::OnFailure;
use crate::engine::Resolved;
use crate::landing::bring_up;
use crate::landing::claimed::Objection;
use crate::landing::files;
use crate::landing::hooks;
use crate::landing::pin;
use crate::landing::pull;
use crate::landing::release::Change;
use crate::landing::release::Leg;
use crate::landing::release::Pinned;
use crate::landing::release::Way;
use crate::landing::site::Site;
use crate::landing::stack;
use crate::landing::stop::Fault;
use crate::landing::stop::Stop;
use crate::model::CancelledBy;
use crate::model::ImageRef;
use crate::model::OrderKind;
use crate::model::Outcome;
use crate::model::StepBack;
use crate::store::Deployment;
use crate::store::Facts;
use crate::store::StoreError;

/// A change that is being undone.
pub(super) struct Unwinding {
    change: Change,
    /// What the stack resolves to, where this run has looked at it already.
    resolved: Option<Resolved>,
    whose: Whose,
}

/// Whose change is being undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// This very order.
    Own,
    /// The change of a deployment that this rollback stopped.
    PreEmpted,
}

impl From<Pinned> for Unwinding {
    fn from(pinned: Pinned) -> Self {
        Self { change: pinned.change, resolved: Some(pinned.resolved), whose: Whose::Own }
    }
}

impl From<Change> for Unwinding {
    fn from(change: Change) -> Self {
        Self { change, resolved: None, whose: Whose::Own }
    }
}

/// From a story that stopped with nothing changed to an outcome.
pub(super) async fn nothing_changed(site: &mut Site<'_>, stop: Stop) -> Result<Outcome, StoreError> {
    if let Some(left) = pre_empted(site, &stop).await? {
        return unwind(site, left, stop).await;
    }
    Ok(match stop {
        Stop::Refused(Objection { guard, why }) => Outcome::Refused { guard, why },
        Stop::Fault(fault) => {
            site.record.count(&fault);
            Outcome::Failed { why: fault.to_string() }
        }
        Stop::OldFault(why) => Outcome::Failed { why },
        Stop::Cancelled => Outcome::Cancelled { by: site.record.cancelled_by().await?, changed: false, brought_back: false },
        Stop::Lost(error) => return Err(error),
    })
}

/// Where this is a rollback that changed nothing, the change of the deployment that it stopped half-way, which is still up and
/// pinned: nobody else brings the last verified release back. That change is this rollback's from now on: it is undone as if
/// that deployment had been cancelled, whatever `on_failure` says, and the hold stays since the service was changed under it.
async fn pre_empted(site: &mut Site<'_>, stop: &Stop) -> Result<Option<Unwinding>, StoreError> {
    if matches!(stop, Stop::Lost(_)) {
        return Ok(None);
    }
    let Some(left) = site.record.past.left_half_way(&site.order).await? else { return Ok(None) };
    if matches!(stop, Stop::Cancelled) && is_for_a_rollback(&site.record.cancelled_by().await?) {
        // That rollback finds it as well.
        return Ok(None);
    }
    site.record.journal.warning(format!("{} was stopped for this rollback while it was changing the stack", left.id));
    Ok(Change::recorded(&left).map(|change| Unwinding { change, resolved: None, whose: Whose::PreEmpted }))
}

fn is_for_a_rollback(by: &CancelledBy) -> bool {
    matches!(by, CancelledBy::Rollback(_))
}

/// From a story that stopped when nothing but the pin was changed: without it, what ran goes on as it was.
///
/// # Errors
/// `stop` itself, when the pin is taken back and nothing is changed any more.
pub(super) async fn take_back(site: &mut Site<'_>, unwinding: Unwinding, stop: Stop) -> Result<Outcome, Stop> {
    let is_fault = matches!(stop, Stop::Refused(_) | Stop::Fault(_));
    if is_fault && Box::pin(pin::take_back(site, &unwinding.change)).await.is_ok() {
        return Err(stop);
    }
    Ok(unwind(site, unwinding, stop).await?)
}

/// From a story that stopped after the host was changed to an outcome.
pub(super) async fn unwind(site: &mut Site<'_>, unwinding: Unwinding, stop: Stop) -> Result<Outcome, StoreError> {
    // A fault of the page stands in the journal already, as its findings.
    let is_told = matches!(&stop, Stop::Fault(Fault::Page { .. }));
    let (why, by) = match stop {
        Stop::Lost(error) => return Err(error),
        Stop::OldFault(why) => return Ok(Outcome::NeedsOperator { why }),
        Stop::Cancelled => ("it was cancelled".to_owned(), Some(site.record.cancelled_by().await?)),
        Stop::Refused(Objection { why, .. }) => (why, None),
        Stop::Fault(fault) => {
            site.record.count(&fault);
            (fault.to_string(), None)
        }
    };
    if !is_told {
        site.record.journal.error(&why);
    }
    // Where tagalong itself is replaced, nobody may be there to carry that rollback out until the old version is back.
    if let Some(by) = by.as_ref().filter(|by| is_for_a_rollback(by) && !site.service.is_self) {
        // The rollback brings its own release up, and where it changes nothing it undoes this one as well ([`pre_empted`]):
        // bringing another one up before it would only keep the page broken longer.
        return Ok(Outcome::Cancelled { by: by.clone(), changed: true, brought_back: false });
    }
    if site.service.on_failure == OnFailure::Leave && by.is_none() && unwinding.whose == Whose::Own {
        return Ok(Outcome::NeedsOperator { why: format!("{why} The stack is left as it is (on_failure = \"leave\").") });
    }
    if unwinding.change.release.barrier && !site.order.force {
        return Ok(Outcome::NeedsOperator {
            why: format!(
                "{why} The release says that it must not be undone (no_rollback_past), so the stack is left as it is for an operator."
            ),
        });
    }
    Ok(match (undo(site, unwinding, why).await?, by) {
        (Outcome::RolledBack { .. }, Some(by)) => Outcome::Cancelled { by, changed: true, brought_back: true },
        (other, _) => other,
    })
}

/// An undo that an earlier process had begun is continued. That process may have been undoing what a pre-empted deployment had left:
/// then the record has that one's pin.
pub(super) async fn take_up(site: &mut Site<'_>, change: Change, why: String) -> Result<Outcome, StoreError> {
    let left = site.record.past.left_half_way(&site.order).await?;
    let left = left.as_ref().and_then(Change::recorded).filter(|left| left.before == change.before);
    undo(site, left.unwrap_or(change).into(), why).await
}

/// The undo. It is not cancelled by what cancelled the deployment.
async fn undo(site: &mut Site<'_>, unwinding: Unwinding, why: String) -> Result<Outcome, StoreError> {
    site.cancel = Cancel::default();
    let previous = match site.order.kind {
        // It has just been tried.
        OrderKind::Repair => None,
        _ => previous_verified(site).await?,
    };
    let Some(to) = way_back(&unwinding.change, previous.as_ref()) else {
        return Box::pin(broken(site, &unwinding.change, why)).await;
    };
    let rolled_back = |why| Outcome::RolledBack { why, to, verified_before: previous.is_some() };
    // The future is large, as all that bring a release up are.
    match Box::pin(bring_back(site, unwinding, previous.as_ref(), &why)).await {
        Ok(()) => Ok(rolled_back(why)),
        // The page had this fault before anything changed, and has it again: the previous release is back.
        Err(Stop::OldFault(old)) => {
            site.record.journal.warning(old);
            Ok(rolled_back(why))
        }
        Err(Stop::Lost(error)) => Err(error),
        Err(Stop::Refused(Objection { why: and, .. })) => Ok(Outcome::RollbackFailed { why, and }),
        Err(Stop::Fault(fault)) => {
            site.record.count(&fault);
            Ok(Outcome::RollbackFailed { why, and: fault.to_string() })
        }
        Err(Stop::Cancelled) => Ok(Outcome::RollbackFailed { why, and: "the rollback was stopped.".into() }),
    }
}

/// The last verified release. It may be the very content that failed this time: then it gets a second chance,
/// and no older release comes up by itself. Where its record cannot be read, there is none: what ran comes back by the
/// pin's old bytes.
async fn previous_verified(site: &mut Site<'_>) -> Result<Option<Deployment>, StoreError> {
    for old in site.record.past.verified().await? {
        match old {
            Ok(old) if old.id == *site.record.id() || old.images.is_empty() => {}
            Ok(old) => return Ok(Some(old)),
            Err(error) => {
                tracing::error!(deployment = %site.record.id(), %error, "the record of the previous release could not be read");
                site.record
                    .journal
                    .error(format!("The record of the previous release could not be read, so the previous pin is restored. {error}"));
                return Ok(None);
            }
        }
    }
    Ok(None)
}

/// What can be returned to, for people; none: nothing.
fn way_back(change: &Change, previous: Option<&Deployment>) -> Option<String> {
    match previous {
        Some(old) => Some(old.images.iter().map(ImageRef::named).collect::<Vec<_>>().join(", ")),
        None => change.ran_before.clone().filter(|ran| !change.release.images.iter().all(|image| ran.contains(&image.to_string()))),
    }
}

/// What the next start needs to take the undo up. The images stay those that were ordered: a retry lands them.
fn undo_facts(change: &Change, why: &str) -> Facts {
    Facts {
        undo_why: Some(why.to_owned()),
        pin_before: Some(change.before.clone()),
        files_before: change.files_before.clone(),
        ran_before: change.ran_before.clone(),
        ..Facts::default()
    }
}

/// The short story: pin · up · health · smoke.
async fn bring_back(site: &mut Site<'_>, unwinding: Unwinding, previous: Option<&Deployment>, why: &str) -> Result<(), Stop> {
    let Unwinding { change, resolved, .. } = unwinding;
    site.begin_with(StepBack::Pin, "undo: restore the previous release", &undo_facts(&change, why)).await?;
    let resolved = match (files::bring_back(site, &change, previous).await?, resolved) {
        (Some(resolved), _) | (None, Some(resolved)) => resolved,
        (None, None) => stack::resolve(site).await?,
    };
    let images = previous.map_or(&[][..], |old| &old.images);
    match previous {
        Some(_) => site.engine.pin(&resolved, images).await?,
        None => pin::take_back(site, &change).await?,
    }
    let leg = Leg { way: Way::Unwinding, images, resolved: &resolved, baseline: change.baseline.as_ref() };
    site.begin(leg.way.up(), &format!("undo: {}", site.engine.words().up)).await?;
    // What failed may have waited for Docker in vain: the undo has a time of its own for that.
    site.engine.ready(&site.cancel).await?;
    hooks::undo(site, images, &resolved).await?;
    pull::fetch_if_gone(site, images).await?;
    stack::unedited(site, &leg).await?;
    bring_up::serve(site, &leg).await?;
    Ok(())
}

/// Nothing to return to: the files get their old bytes, and the record says what still runs.
async fn broken(site: &mut Site<'_>, change: &Change, why: String) -> Result<Outcome, StoreError> {
    site.record.begin(StepBack::Pin.into(), "undo: there is no previous release to restore", &undo_facts(change, &why)).await?;
    let restored = match pin::take_back(site, change).await {
        Ok(()) => "the pin was restored to its previous content",
        Err(stop) => {
            site.record.journal.error(stop.to_string());
            "the pin could not be restored"
        }
    };
    let containers = site.engine.containers(&site.cancel).await.unwrap_or_default();
    let still: Vec<String> = containers.iter().filter(|one| one.is_running()).map(|one| format!("{} ({})", one.name, one.image)).collect();
    let runs = if still.is_empty() { "nothing is running".to_owned() } else { format!("still running: {}", still.join(", ")) };
    Ok(Outcome::Broken { why, runs: format!("{restored}; {runs}") })
}
