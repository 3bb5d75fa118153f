//! The pin: from here on the host is changed.

use crate::engine::PinBytes;
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

/// Pins `release`. The old bytes are on disk before the new ones are written; when this fails, nothing has changed.
pub(super) async fn pin(site: &mut Site<'_>, release: Release, ground: Ground) -> Result<Pinned, Stop> {
    let before = site.engine.snapshot().await?.to_text();
    let Ground { resolved, ran_before, baseline } = ground;
    write(site, Pinned { change: Change { release, before, ran_before, baseline }, resolved }).await
}

/// Stores what is to be pinned and writes it. A file that cannot be written leaves its old bytes.
pub(super) async fn write(site: &mut Site<'_>, pinned: Pinned) -> Result<Pinned, Stop> {
    let Pinned { change: Change { release, before, ran_before, baseline }, resolved } = &pinned;
    let facts = Facts {
        images: Some(release.images.clone()),
        barrier: Some(release.barrier),
        pin_before: Some(before.clone()),
        ran_before: ran_before.clone(),
        resolved: Some(resolved.config_with(&release.images)),
        baseline: baseline.clone(),
        ..Facts::default()
    };
    site.begin_with(Step::Pin, &format!("pin {release}"), &facts).await?;
    site.engine.pin(resolved, &release.images).await?;
    Ok(pinned)
}

/// What a person's own `docker compose up -d` would bring up is asked of compose itself, before anything is stopped; and the stack
/// is still what was looked at. When this fails, nothing but the pin has changed.
pub(super) async fn may_replace(site: &mut Site<'_>, pinned: &Pinned) -> Result<(), Stop> {
    site.engine.prove(&pinned.resolved, &pinned.change.release.images, &site.cancel).await?;
    let leg = pinned.leg();
    site.begin(leg.way.up(), site.engine.words().up).await?;
    stack::unedited(site, &leg).await
}

/// What the pin has changed in the stack's files is as it was; what somebody else has written there since stays.
pub(super) async fn take_back(site: &Site<'_>, change: &Change) -> Result<(), Fault> {
    let bytes = PinBytes::from_text(&change.before).map_err(Fault::Record)?;
    site.engine.unpin(&bytes, &change.release.images).await.map_err(Fault::Engine)
}
