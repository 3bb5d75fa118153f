//! Verified images stay on the host, older ones go.

use std::collections::HashSet;

use process::Cancel;

use crate::config::Service;
use crate::engine::Engine;
use crate::engine::EngineError;
use crate::engine::Forgotten;
use crate::landing::host::Host;
use crate::landing::past::Past;
use crate::landing::site::Site;
use crate::model::ImageRef;
use crate::store::Deployment;
use crate::store::StoreError;

/// Gives each image a tag of ours, so that the routine clean-up leaves it. Gives what a person should look at.
pub(super) async fn keep(site: &mut Site<'_>, images: &[ImageRef]) -> Vec<String> {
    let mut warnings = Vec::new();
    for image in images {
        site.host.tidied.forget(&site.service.name, image);
        if let Err(error) = site.engine.keep(&site.service.name, image, &site.cancel).await {
            let clean_up = site.engine.words().clean_up;
            let warning = format!("{} could not be given its keep-tag, which protects it from `{clean_up}`: {error}", image.by_digest());
            site.record.journal.warning(&warning);
            warnings.push(warning);
        }
    }
    warnings
}

/// Removes images of `service` that are neither among its last verified ones nor needed by another service or by an order that has
/// not ended. It holds no lock: the next order may be carried out meanwhile, so what is needed is asked again before each removal.
pub(super) async fn retain(host: &Host, past: &Past, service: &Service, engine: &Engine) {
    if let Err(error) = remove_old(host, past, service, engine).await {
        tracing::warn!(service = %service.name, %error, "old images were not removed; the next release tries again");
    }
}

/// Why old images stay.
#[derive(Debug, thiserror::Error)]
enum Kept {
    #[error("the record could not be read: {0}")]
    Record(#[from] StoreError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

async fn remove_old(host: &Host, past: &Past, service: &Service, engine: &Engine) -> Result<(), Kept> {
    let mut old = no_longer_needed(host, past, service).await?;
    host.tidied.recall(&service.name, &mut old);
    if old.is_empty() {
        return Ok(());
    }
    let left = engine.left_of(&service.name, &old, &Cancel::default()).await?;
    host.tidied.remember(&service.name, old.iter().filter(|image| !left.contains(image)));
    for image in left {
        let removing = host.tidied.begin(image);
        if no_longer_needed(host, past, service).await?.iter().any(|old| old.by_digest() == image.by_digest()) {
            match engine.forget(&service.name, image, &Cancel::default()).await {
                Ok(Forgotten::Gone | Forgotten::NotHere) => host.tidied.remember(&service.name, [image]),
                Ok(Forgotten::InUse(_)) => {}
                Err(error @ EngineError::Daemon { .. }) => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(service = %service.name, image = %image, %error, "an old image could not be removed; the next release tries again");
                }
            }
        }
        drop(removing);
    }
    Ok(())
}

/// The images of earlier releases that nothing needs.
async fn no_longer_needed(host: &Host, past: &Past, service: &Service) -> Result<Vec<ImageRef>, StoreError> {
    // What has not ended is asked for before what has, so that nothing slips through in between.
    let mut needed = unfinished(past).await?;
    let mut old: Vec<ImageRef> = Vec::new();
    let mut releases: HashSet<String> = HashSet::new();
    let mut many = 0;
    for one in whole(past.verified().await?)? {
        let is_new = one.images.iter().any(|image| !releases.contains(&image.by_digest()));
        if is_new && many < service.keep {
            many += 1;
            releases.extend(one.images.iter().map(ImageRef::by_digest));
        } else {
            old.extend(one.images);
        }
    }
    needed.extend(releases);
    for (name, keep) in host.live().keeps.iter().filter(|(name, _)| **name != service.name) {
        let other = past.of(name);
        needed.extend(unfinished(&other).await?);
        let kept = whole(other.last_verified(*keep).await?)?;
        needed.extend(kept.iter().flat_map(|one| one.images.iter().map(ImageRef::by_digest)));
    }
    let mut seen = HashSet::new();
    old.retain(|image| !needed.contains(&image.by_digest()) && seen.insert(image.by_digest()));
    Ok(old)
}

/// A record that does not read may name an image that is needed: then none is removed.
fn whole(found: Vec<Result<Deployment, StoreError>>) -> Result<Vec<Deployment>, StoreError> {
    found.into_iter().collect()
}

/// The images that orders name which have not ended.
async fn unfinished(past: &Past) -> Result<HashSet<String>, StoreError> {
    let mut unfinished = past.unfinished().await?;
    if let Some(error) = unfinished.unreadable.pop() {
        return Err(error);
    }
    Ok(unfinished.deployments.iter().flat_map(|one| one.images.iter().map(ImageRef::by_digest)).collect())
}
