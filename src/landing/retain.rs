//! Verified images stay on the host, older ones go.

use std::collections::HashSet;

use process::Cancel;

use crate::config::Service;
use crate::engine::Engine;
use crate::engine::EngineError;
use crate::landing::host::Host;
use crate::landing::past::Past;
use crate::landing::site::Site;
use crate::model::ImageRef;
use crate::store::Deployment;
use crate::store::StoreError;

/// Gives each image a tag of ours, so that a routine `docker image prune` leaves it. Gives what a person should look at.
pub(super) async fn keep(site: &mut Site<'_>, images: &[ImageRef]) -> Vec<String> {
    let mut warnings = Vec::new();
    for image in images {
        if let Err(error) = site.engine.keep(&site.service.name, image, &site.cancel).await {
            let warning =
                format!("{} could not be given its keep-tag, which protects it from `docker image prune`: {error}", image.by_digest());
            site.record.journal.warning(&warning);
            warnings.push(warning);
        }
    }
    warnings
}

/// Removes images of `service` that are neither among its last verified ones nor needed by another service.
pub(super) async fn retain(host: &Host, past: &Past, service: &Service, engine: &Engine) {
    let old = match no_longer_needed(host, past, service).await {
        Ok(old) if old.is_empty() => return,
        Ok(old) => old,
        Err(error) => {
            return tracing::warn!(service = %service.name, %error, "old images were not removed, because the record could not be read");
        }
    };
    // The lock is held meanwhile, so a Docker that went away just now is waited for once, not for each image.
    if engine.ready(&Cancel::default()).await.is_err() {
        return tracing::warn!(service = %service.name, "old images were not removed, because Docker does not answer");
    }
    let engine = &engine.impatient();
    for image in old {
        if let Err(error) = engine.forget(&service.name, &image, &Cancel::default()).await {
            tracing::warn!(service = %service.name, image = %image, %error, "an old image could not be removed; the next release tries again");
            if matches!(error, EngineError::Daemon { .. }) {
                return;
            }
        }
    }
}

async fn no_longer_needed(host: &Host, past: &Past, service: &Service) -> Result<Vec<ImageRef>, StoreError> {
    let mut needed: HashSet<String> = HashSet::new();
    let mut old: Vec<ImageRef> = Vec::new();
    let mut releases = 0;
    // A record that cannot be read may name an image that is needed: then none is removed.
    let all = |found: Vec<Result<Deployment, StoreError>>| found.into_iter().collect::<Result<Vec<_>, _>>();
    for one in all(past.verified().await?)? {
        let is_new = one.images.iter().any(|image| !needed.contains(&image.by_digest()));
        if is_new && releases < service.keep {
            releases += 1;
            needed.extend(one.images.iter().map(ImageRef::by_digest));
        } else {
            old.extend(one.images);
        }
    }
    for (name, keep) in host.live().keeps.iter().filter(|(name, _)| **name != service.name) {
        let other = past.of(name);
        let kept = all(other.verified().await?)?;
        needed.extend(kept.iter().take(*keep).flat_map(|one| one.images.iter().map(ImageRef::by_digest)));
        let mut unfinished = other.unfinished().await?;
        if let Some(error) = unfinished.unreadable.pop() {
            return Err(error);
        }
        needed.extend(unfinished.deployments.iter().flat_map(|one| one.images.iter().map(ImageRef::by_digest)));
    }
    let mut seen = HashSet::new();
    old.retain(|image| !needed.contains(&image.by_digest()) && seen.insert(image.by_digest()));
    Ok(old)
}
