//! After a restart of tagalong: what it was doing before is finished or undone.

use crate::landing::bring_up;
use crate::landing::files;
use crate::landing::pin;
use crate::landing::release::Change;
use crate::landing::release::Pinned;
use crate::landing::retain;
use crate::landing::site::Site;
use crate::landing::stack;
use crate::landing::stop::Stop;
use crate::landing::undo;
use crate::model::OrderKind;
use crate::model::Outcome;
use crate::model::Stage;
use crate::model::Step;
use crate::store::Deployment;

/// A deployment that was interrupted after its pin.
pub(super) struct Left {
    pub(super) change: Change,
    /// The step that it was at.
    step: Stage,
    /// The resolved configuration at the pin, as it is stored.
    resolved: Option<String>,
    /// Why it was undoing its change, where it was.
    undo_why: Option<String>,
}

impl Left {
    /// What the record has of it; none: nothing was changed, and the story starts again.
    pub(super) fn recorded(deployment: &Deployment) -> Option<Self> {
        let step = deployment.step.filter(|step| step.changes_the_host() && deployment.order.kind != OrderKind::Adopt)?;
        let resolved = deployment.resolved.clone();
        let undo_why = deployment.undo_why.clone();
        Some(Self { change: Change::recorded(deployment)?, step, resolved, undo_why })
    }
}

/// Continues where tagalong was interrupted: finishes the deployment, or undoes it if the release fails; an undo is continued as an undo.
pub(super) async fn go_on(site: &mut Site<'_>, left: Left) -> Result<Outcome, Stop> {
    if left.step.is_unwinding() {
        let why = left.undo_why.unwrap_or_else(|| "the new release failed".to_owned());
        return Ok(undo::take_up(site, left.change, why).await?);
    }
    if left.step == Step::AfterHook.into() {
        return Ok(live(site, &left.change).await);
    }
    let pinned = match pin_again(site, &left).await {
        Ok(pinned) => pinned,
        // Containers are not touched before the step up.
        Err(stop) if left.step == Step::Pin.into() => return undo::take_back(site, left.change.into(), stop).await,
        Err(stop) => return Ok(undo::unwind(site, left.change.into(), stop).await?),
    };
    match bring_up::bring_up(site, &pinned).await {
        Ok(outcome) => Ok(outcome),
        Err(stop) => Ok(undo::unwind(site, pinned.into(), stop).await?),
    }
}

/// It was verified already.
async fn live(site: &mut Site<'_>, change: &Change) -> Outcome {
    let cut_short =
        site.service.hooks.after.is_some().then(|| "the after-hook may have been interrupted by a restart of tagalong".to_owned());
    let mut warnings = Vec::from_iter(cut_short);
    warnings.extend(retain::keep(site, &change.release.images).await);
    Outcome::Live { warnings, page_seen: site.service.smoke.is_some() }
}

/// What was pinned is pinned, as far as the stack is still what it was.
async fn pin_again(site: &mut Site<'_>, left: &Left) -> Result<Pinned, Stop> {
    site.engine.ready(&site.cancel).await?;
    let change = left.change.clone();
    let files = files::recorded(site, &change).await?;
    let (resolved, _) = files::resolve(site, files.as_ref()).await?;
    let edit = left.resolved.as_ref().and_then(|then| resolved.changed_since(then, &change.release.images));
    if let Some(edit) = edit {
        return Err(stack::refuse_edit(site, &edit));
    }
    let pinned = pin::begin(site, Pinned { change, resolved, files }).await?;
    pin::may_replace(site, &pinned).await?;
    Ok(pinned)
}
