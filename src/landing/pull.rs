//! Images are pulled while the old release is still serving.

use std::time::Duration;
use std::time::Instant;

use process::Passing;

use crate::landing::release::Ground;
use crate::landing::release::Release;
use crate::landing::site::Site;
use crate::landing::stop::Fault;
use crate::landing::stop::Stop;
use crate::model::ImageRef;
use crate::model::Step;
use crate::registry;

/// Afterwards everything that `up` starts is on the host, so that `up` needs no registry.
pub(super) async fn pull(site: &mut Site<'_>, release: &Release, ground: &Ground) -> Result<(), Stop> {
    site.begin(Step::Pull, "images").await?;
    // The record names them by now, so that none of them is removed from here on; one that is being removed is pulled again.
    site.within(site.service.deadlines.pull, "the removal of old images", site.host.tidied.settled(&release.images)).await?;
    let limit = site.service.deadlines.pull;
    let until = Instant::now() + site.service.deadlines.pull;
    for image in &release.images {
        if site.engine.image(&image.by_digest(), &site.cancel).await?.is_some() {
            site.record.journal.note(format!("{} is already on this host", image.by_digest()));
            site.engine.name_loaded(image, &site.cancel).await?;
            continue;
        }
        fetch(site, image, until.saturating_duration_since(Instant::now()), limit).await?;
    }
    let left = until.saturating_duration_since(Instant::now());
    let journal = &mut site.record.journal;
    let missing = site.engine.pull_missing(&ground.resolved, left, &site.cancel, |_, line| journal.output(line)).await;
    missing.map_err(|error| error.of_limit(limit))?;
    Ok(())
}

/// What somebody removed meanwhile is asked for at the registry: a verified image, which is kept on the host, by force; one that was
/// just pulled by a routine clean-up, which takes what no container uses yet. Whether one was gone.
pub(super) async fn fetch_if_gone(site: &mut Site<'_>, images: &[ImageRef]) -> Result<bool, Stop> {
    let limit = site.service.deadlines.pull;
    let mut was_gone = false;
    for image in images {
        if site.engine.image(&image.by_digest(), &site.cancel).await?.is_none() {
            site.record.journal.warning(format!("{} is not on this host any more; pulling it", image.by_digest()));
            fetch(site, image, limit, limit).await?;
            was_gone = true;
        }
        site.engine.name_loaded(image, &site.cancel).await?;
    }
    Ok(was_gone)
}

/// One image from its registry, with the login that the configuration has for it.
async fn fetch(site: &mut Site<'_>, image: &ImageRef, left: Duration, limit: Duration) -> Result<(), Stop> {
    if let Some(name) = image.loaded_name() {
        let why = format!("{name} was loaded with `{}` and is not on this host any more; load it again.", site.engine.words().load);
        return Err(Fault::Image(why).into());
    }
    let live = site.host.live();
    let login = live.registries.login(&image.repository).map_err(Fault::Registry)?;
    let folder = login.map(|login| registry::docker_config(&live.passing_dir, &login)).transpose().map_err(Fault::Login)?;
    let journal = &mut site.record.journal;
    let folder = folder.as_ref().map(Passing::path);
    let pulled = site.engine.pull(image, folder, left, &site.cancel, |_, line| journal.output(line)).await;
    pulled.map_err(|error| error.of_limit(limit))?;
    Ok(())
}
