//! Which tags a service can be deployed with or rolled back to: what was verified here, and what else the registry has.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use process::Cancel;

use crate::api::KnownTag;
use crate::api::Tags;
use crate::config::Service;
use crate::engine::Images;
use crate::model::ImageRef;
use crate::model::Repository;
use crate::model::Tag;
use crate::orders::Deployer;
use crate::orders::seen::Listed;
use crate::orders::seen::Offered;
use crate::registry::Registries;
use crate::registry::RegistryError;
use crate::store::Deployment;
use crate::store::StoreError;

/// How many tags of a registry are read. They come in no order of time, so all have to be read to find the newest.
const MOST_TAGS: usize = 5000;
/// How many verified tags, and how many others, the registry is asked about.
const MOST_LOOKS: usize = 50;
/// How long the registry may take for all of it, and the engine for what it is asked.
const REGISTRY_PATIENCE: Duration = Duration::from_secs(15);
const DOCKER_PATIENCE: Duration = Duration::from_secs(3);

impl Deployer {
    /// The tags of `service`. A registry that does not answer takes nothing from what was verified here.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn tags(&self, service: &Service) -> Result<Tags, StoreError> {
        let verified = self.store.verified(&service.name).await?;
        let offered = self.offer(service, &verified).await;
        Ok(tags_of(service, &verified, offered.as_deref()))
    }

    /// What there is for `service`, of which `verified` is recorded, to be deployed with; none: it pins no image.
    pub(super) async fn offer(&self, service: &Service, verified: &[Result<Deployment, StoreError>]) -> Option<Arc<Offered>> {
        let repository = repository_of(service)?;
        let known = known(verified, repository);
        let look = self.look_at_offer(service, repository, &known).map(Arc::new).boxed();
        Some(self.offered.share(service.name.clone(), look).await)
    }

    async fn look_at_offer(&self, service: &Service, repository: &Repository, known: &[KnownTag]) -> Offered {
        let engine = self.engine(service);
        let never = Cancel::default();
        let images = async { engine.as_ref()?.images(&never).await.ok() };
        let images = tokio::time::timeout(DOCKER_PATIENCE, images).await.ok().flatten();
        let server = async { engine.as_ref()?.server(&never).await.ok() };
        let server = tokio::time::timeout(DOCKER_PATIENCE, server).await.ok().flatten();
        let platform = server.as_ref().map_or(("linux", "amd64"), |server| (server.os.as_str(), server.arch.as_str()));
        if let Some(why) = self.unasked(service, repository) {
            return Offered { images, listed: Err(why) };
        }
        let asked = self.ask_registry(service, repository, known, platform);
        let listed = match tokio::time::timeout(REGISTRY_PATIENCE, asked).await {
            Ok(listed) => listed.map_err(|error| error.to_string()),
            Err(_) => Err(format!("the registry of {repository} did not answer within {} s", REGISTRY_PATIENCE.as_secs())),
        };
        Offered { images, listed }
    }

    /// Why no registry is asked for `repository` of `service`; none: it may be.
    pub(super) fn unasked(&self, service: &Service, repository: &Repository) -> Option<String> {
        let may_ask = service.stack.is_here() || self.agents().may_ask_registry(repository);
        (!may_ask).then(|| {
            format!(
                "the registry of {repository} is not asked, because only an agent names that image; write image = \"{repository}\" in \
                 [service.{}] here",
                service.name
            )
        })
    }

    async fn ask_registry(
        &self,
        service: &Service,
        repository: &Repository,
        known: &[KnownTag],
        platform: (&str, &str),
    ) -> Result<Listed, RegistryError> {
        let config = self.config.now();
        let registries = Registries::new(config.docker.clone(), config.registries.clone());
        let (mut tags, mut has_more) = registries.tags(repository, MOST_TAGS).await?;
        tags.retain(|tag| service.tag_pattern.as_ref().is_none_or(|pattern| pattern.is_match(tag.as_str())));
        let is_known = |tag: &&Tag| known.iter().any(|one| one.tag == **tag);
        let others: Vec<&Tag> = tags.iter().filter(|tag| !is_known(tag)).collect();
        // Where tags have an order by name, the last are the newest.
        let others = &others[others.len().saturating_sub(MOST_LOOKS)..];
        has_more |= tags.len() > others.len() + tags.iter().filter(is_known).count();
        let wanted: Vec<Tag> = known
            .iter()
            .map(|one| &one.tag)
            .filter(|tag| tags.contains(tag))
            .take(MOST_LOOKS)
            .chain(others.iter().copied())
            .cloned()
            .collect();
        let looks = registries.look_at(repository, &wanted, platform).await?;
        Ok(Listed { tags, has_more, looks: wanted.into_iter().zip(looks).collect() })
    }
}

/// The images of a service are built and tagged together.
fn repository_of(service: &Service) -> Option<&Repository> {
    service.stack.pins().first().map(|pin| &pin.image)
}

/// The tags of `service`: those that were verified here, with what else is offered where that is known.
pub(super) fn tags_of(service: &Service, verified: &[Result<Deployment, StoreError>], offered: Option<&Offered>) -> Tags {
    let Some(repository) = repository_of(service) else { return Tags { tags: Vec::new(), has_more: false, registry_fault: None } };
    let mut tags = known(verified, repository);
    let Some(offered) = offered else { return Tags { tags, has_more: false, registry_fault: None } };
    if let Ok(listed) = &offered.listed {
        join(&mut tags, listed);
    }
    for tag in &mut tags {
        tag.on_host = offered.images.as_ref().and_then(|images| is_on_host(images, repository, tag));
    }
    let has_more = offered.listed.as_ref().is_ok_and(|listed| listed.has_more);
    Tags { tags, has_more, registry_fault: offered.listed.as_ref().err().cloned() }
}

/// The tags that were verified here, each as it was last, newest first.
fn known(verified: &[Result<Deployment, StoreError>], repository: &Repository) -> Vec<KnownTag> {
    // The one behind a record that cannot be read is not the one that serves.
    let live = verified.first().and_then(|one| Some(&one.as_ref().ok()?.id));
    let mut tags: Vec<KnownTag> = Vec::new();
    for one in verified.iter().flatten() {
        let image = one.images.iter().find(|image| image.repository == *repository);
        let Some(tag) = one.order.tag.as_ref().or(image.and_then(|image| image.tag.as_ref())) else { continue };
        if tags.iter().any(|known| known.tag == *tag) {
            continue;
        }
        tags.push(KnownTag {
            tag: tag.clone(),
            digest: image.filter(|image| !image.loaded).map(|image| image.digest.clone()),
            verified_by: Some(one.id.clone()),
            verified_ms: one.ended_ms,
            live: live == Some(&one.id),
            on_host: None,
            in_registry: None,
            moved: false,
            built_ms: None,
            platforms: Vec::new(),
        });
    }
    tags
}

/// Adds what the registry says to what was verified here, and behind it what only the registry has, the newest build first.
fn join(tags: &mut Vec<KnownTag>, listed: &Listed) {
    let was_asked = !listed.tags.is_empty() || !listed.looks.is_empty();
    for tag in tags.iter_mut().filter(|_| was_asked) {
        tag.in_registry = Some(listed.tags.contains(&tag.tag));
    }
    let mut others = Vec::new();
    for (name, look) in &listed.looks {
        // A tag that was removed meanwhile, or that is no image.
        let Ok(tagged) = look else { continue };
        if let Some(known) = tags.iter_mut().find(|known| known.tag == *name) {
            known.moved = known.digest.as_ref().is_some_and(|digest| *digest != tagged.digest);
            if !known.moved {
                known.built_ms = tagged.built_ms;
                known.platforms.clone_from(&tagged.platforms);
            }
            continue;
        }
        others.push(KnownTag {
            tag: name.clone(),
            digest: Some(tagged.digest.clone()),
            verified_by: None,
            verified_ms: None,
            live: false,
            on_host: None,
            in_registry: Some(true),
            moved: false,
            built_ms: tagged.built_ms,
            platforms: tagged.platforms.clone(),
        });
    }
    others.sort_by_key(|tag| std::cmp::Reverse(tag.built_ms));
    tags.append(&mut others);
}

fn is_on_host(images: &Images, repository: &Repository, tag: &KnownTag) -> Option<bool> {
    let digest = tag.digest.clone()?;
    let image = ImageRef { repository: repository.clone(), tag: None, digest, loaded: false };
    Some(images.id_of(&image).is_some())
}
