//! What the stack's files say, and whether they still say it.
//!
//! What was looked at before anything changed is what is landed. An edit that is noticed before anything was replaced refuses
//! the order, and the old release goes on; later it is a reason to undo. An undo itself is never stopped by one: that would
//! leave the page broken. It brings the previous images up with the files as they are then, and says so.

use crate::engine::EngineError;
use crate::engine::Resolved;
use crate::landing::release::Leg;
use crate::landing::release::Way;
use crate::landing::site::Site;
use crate::landing::stop::Stop;
use crate::model::Guard;
use crate::model::StackFiles;

/// What the compose files resolve to and how they are pinned.
pub(super) async fn resolve(site: &mut Site<'_>) -> Result<Resolved, Stop> {
    resolved(site, None).await
}

/// The same with `files` in place of those that are there.
pub(super) async fn resolve_with(site: &mut Site<'_>, files: &StackFiles) -> Result<Resolved, Stop> {
    resolved(site, Some(files)).await
}

async fn resolved(site: &mut Site<'_>, files: Option<&StackFiles>) -> Result<Resolved, Stop> {
    let (version, resolved) = {
        let engine = &site.engine;
        let cancel = &site.cancel;
        let key = &site.host.fingerprint_key;
        let place = site.host.live().passing_dir.clone();
        let resolved = async {
            match files {
                Some(files) => engine.resolve_with(files, &place, key, cancel).await,
                None => engine.resolve(key, cancel).await,
            }
        };
        let asked = async { tokio::join!(engine.version(cancel), resolved) };
        site.within(site.service.deadlines.preflight, engine.words().program, asked).await?
    };
    let version = version.map_err(|error| match error {
        EngineError::Host(why) => Stop::refused(Guard::EngineVersion, why),
        other => other.into(),
    })?;
    if let Some(note) = version.note {
        site.record.journal.note(note);
    }
    let resolved = resolved?;
    for warning in &resolved.warnings {
        site.record.journal.warning(warning);
    }
    let services: Vec<&str> = resolved.uses.iter().flat_map(|used| used.services.iter().map(String::as_str)).collect();
    site.record.journal.note(format!("pins {} by {} ({})", services.join(", "), resolved.pinned_by(), resolved.why_mode));
    Ok(resolved)
}

/// Right before `up`: the stack is what was looked at, with the pin.
pub(super) async fn unedited(site: &mut Site<'_>, leg: &Leg<'_>) -> Result<(), Stop> {
    let asked = site.engine.edited(leg.resolved, leg.images, &site.host.fingerprint_key, &site.cancel);
    let edit = match (site.within(site.service.deadlines.preflight, site.engine.words().program, asked).await, leg.way) {
        (Ok(Ok(edit)), _) => edit,
        // If the stack cannot be compared, that must not keep the page broken.
        (Ok(Err(_)) | Err(Stop::Fault(_)), Way::Unwinding) => None,
        (Ok(Err(error)), Way::Landing) => return Err(error.into()),
        (Err(stop), _) => return Err(stop),
    };
    match (edit, leg.way) {
        (None, _) => Ok(()),
        (Some(edit), Way::Landing) => Err(refuse_edit(site, &edit)),
        (Some(edit), Way::Unwinding) => {
            let dir = site.engine.dir().display();
            site.record.journal.warning(format!(
                "the stack in {dir} was edited meanwhile ({edit}); the previous images are started with the stack as it is now"
            ));
            Ok(())
        }
    }
}

/// What follows from an edit that was noticed on the way of landing.
pub(super) fn refuse_edit(site: &Site<'_>, edit: &str) -> Stop {
    let why = format!(
        "the stack in {} was edited after tagalong had checked it: {edit}. Finish the edit, run `tagalong check`, and deploy again.",
        site.engine.dir().display()
    );
    Stop::refused(Guard::Stack, why)
}
