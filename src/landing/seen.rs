//! What the engine shows, read for a release's purposes.

use std::time::Duration;

use crate::clock;
use crate::engine::Container;
use crate::engine::LocalImage;
use crate::engine::Resolved;
use crate::model::Digest;
use crate::model::ImageRef;
use crate::model::Repository;
use crate::model::Tag;

/// The containers of services that use the pin; those of one-off runs are not meant.
pub(super) fn pinned<'c>(resolved: &Resolved, containers: &'c [Container]) -> impl Iterator<Item = &'c Container> + use<'c> {
    let services: Vec<String> = resolved.touched().into_iter().map(str::to_owned).collect();
    containers.iter().filter(move |container| !container.is_one_off && services.contains(&container.service))
}

/// How long it has been up since its last start.
pub(super) fn running_for(container: &Container) -> Duration {
    let started: Option<jiff::Timestamp> = container.started_at.parse().ok();
    let since_ms = started.map_or(0, |started| clock::now_ms() - started.as_millisecond());
    Duration::from_millis(since_ms.max(0) as u64)
}

/// The tag that the container's image was named by.
pub(super) fn tag_of(container: &Container, repository: &Repository) -> Option<Tag> {
    let rest = container.image.strip_prefix(repository.as_str())?.strip_prefix(':')?;
    Tag::parse(rest.split('@').next()?).ok()
}

/// The digest that a local image has in `repository`.
pub(super) fn digest_of(image: &LocalImage, repository: &Repository) -> Option<Digest> {
    let known = image.repo_digests.iter().filter_map(|text| ImageRef::parse(text).ok());
    known.into_iter().find(|known| &known.repository == repository).map(|known| known.digest)
}
