//! The pin: from here on the host is changed.

use crate::engine::PinBytes;
use crate::landing::files;
use crate::landing::release::Change;
use crate::landing::release::Ground;
use crate::landing::release::Pinned;
use crate::landing::release::Release;
use crate::landing::site::Site;
use crate::landing::stack;
use crate::landing::stop::Fault;
use crate::landing::stop::Stop;
use crate::model::Step;
use crate::store::Facts;

/// Stores that `release` is to be pinned, with what stands there now. When this fails, nothing has changed.
pub(super) async fn pin(site: &mut Site<'_>, release: Release, ground: Ground) -> Result<Pinned, Stop> {
    let before = site.engine.snapshot().await?.to_text();
    let Ground { files, resolved, ran_before, baseline } = ground;
    let files_before = files.as_ref().map(|laying| laying.before.clone());
    begin(site, Pinned { change: Change { release, before, files_before, ran_before, baseline }, resolved, files }).await
}

/// The step begins: the old bytes are on disk before the new ones are written.
pub(super) async fn begin(site: &mut Site<'_>, pinned: Pinned) -> Result<Pinned, Stop> {
    let Pinned { change: Change { release, before, files_before, ran_before, baseline }, resolved, .. } = &pinned;
    let facts = Facts {
        images: Some(release.images.clone()),
        barrier: Some(release.barrier),
        pin_before: Some(before.clone()),
        files: release.files.clone(),
        files_before: files_before.clone(),
        ran_before: ran_before.clone(),
        resolved: Some(resolved.config_with(&release.images)),
        baseline: baseline.clone(),
        ..Facts::default()
    };
    site.begin_with(Step::Pin, &format!("pin {release}"), &facts).await?;
    Ok(pinned)
}

/// Writes the files and the pin. What a person's own `docker compose up -d` would bring up is asked of compose itself, before anything is
/// stopped; and the stack is still what was looked at. When this fails, nothing but files and pin has changed.
pub(super) async fn may_replace(site: &mut Site<'_>, pinned: &Pinned) -> Result<(), Stop> {
    files::write(site, pinned.files.as_ref()).await?;
    site.engine.pin(&pinned.resolved, &pinned.change.release.images).await?;
    site.engine.prove(&pinned.resolved, &pinned.change.release.images, &site.cancel).await?;
    let leg = pinned.leg();
    site.begin(leg.way.up(), site.engine.words().up).await?;
    stack::unedited(site, &leg).await
}

/// What the release has changed in the stack's files is as it was; what somebody else has written there since stays.
pub(super) async fn take_back(site: &Site<'_>, change: &Change) -> Result<(), Stop> {
    let bytes = PinBytes::from_text(&change.before).map_err(Fault::Record)?;
    files::put_back(site, change).await?;
    Ok(site.engine.unpin(&bytes, &change.release.images).await?)
}
