//! Verified images stay on the host, older ones go.

use std::collections::HashSet;

use crate::config::Config;
use crate::config::Service;
use crate::engine::Compose;
use crate::engine::EngineError;
use crate::landing::run::Run;
use crate::model::ImageRef;
use crate::process::Cancel;
use crate::store::Deployment;
use crate::store::Store;
use crate::store::StoreError;

impl Run<'_> {
    /// Gives each image a tag of ours, so that a routine `docker image prune` leaves it.
    pub(super) async fn keep_images(&mut self) {
        for image in self.images.clone() {
            if let Err(error) = self.compose.keep(&self.service.name, &image, &self.cancel).await {
                let warning = format!("{} could not get its keep-tag: {error}", image.by_digest());
                self.journal.warning(&warning);
                self.warnings.push(warning);
            }
        }
    }
}

/// Removes images of `service` that are neither among its last verified ones nor needed by another service.
pub(super) async fn retain(store: &Store, config: &Config, service: &Service, compose: &Compose) {
    // The lock is held meanwhile, so a Docker that went away just now is waited for once, not for each image.
    if compose.ready(&Cancel::default()).await.is_err() {
        return tracing::warn!(service = %service.name, "old images stay: Docker does not answer; it is tried again after the next release");
    }
    let compose = &compose.impatient();
    match no_longer_needed(store, config, service).await {
        Ok(old) => {
            for image in old {
                if let Err(error) = compose.forget(&service.name, &image, &Cancel::default()).await {
                    tracing::warn!(service = %service.name, image = %image, %error, "an old image stays; it is tried again after the next release");
                    if matches!(error, EngineError::Daemon { .. }) {
                        return;
                    }
                }
            }
        }
        Err(error) => tracing::warn!(service = %service.name, %error, "old images stay: the record could not be read"),
    }
}

async fn no_longer_needed(store: &Store, config: &Config, service: &Service) -> Result<Vec<ImageRef>, StoreError> {
    let mut needed: HashSet<String> = HashSet::new();
    let mut old: Vec<ImageRef> = Vec::new();
    let mut releases = 0;
    // A record that does not read may name an image that is needed: then none is removed.
    let all = |found: Vec<Result<Deployment, StoreError>>| found.into_iter().collect::<Result<Vec<_>, _>>();
    for one in all(store.verified(&service.name).await?)? {
        let is_new = one.images.iter().any(|image| !needed.contains(&image.by_digest()));
        if is_new && releases < service.keep {
            releases += 1;
            needed.extend(one.images.iter().map(ImageRef::by_digest));
        } else {
            old.extend(one.images);
        }
    }
    for other in config.services.values().filter(|other| other.name != service.name) {
        let kept = all(store.verified(&other.name).await?)?;
        needed.extend(kept.iter().take(other.keep).flat_map(|one| one.images.iter().map(ImageRef::by_digest)));
        let mut unfinished = store.unfinished(&other.name).await?;
        if let Some(error) = unfinished.unreadable.pop() {
            return Err(error);
        }
        needed.extend(unfinished.deployments.iter().flat_map(|one| one.images.iter().map(ImageRef::by_digest)));
    }
    let mut seen = HashSet::new();
    old.retain(|image| !needed.contains(&image.by_digest()) && seen.insert(image.by_digest()));
    Ok(old)
}
