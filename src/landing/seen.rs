//! What the engine shows, read for a deployment's purposes.

use std::time::Duration;

use crate::clock;
use crate::engine::Container;
use crate::engine::Health;
use crate::engine::LocalImage;
use crate::engine::Resolved;
use crate::model::Digest;
use crate::model::ImageRef;
use crate::model::Repository;
use crate::model::Tag;

pub(super) fn is_running(container: &Container) -> bool {
    container.state == "running"
}

/// Docker's own word for the health of a container; none where it has no check.
#[must_use]
pub fn health_word(container: &Container) -> Option<&'static str> {
    match container.health {
        Health::Unchecked => None,
        Health::Starting => Some("starting"),
        Health::Healthy => Some("healthy"),
        Health::Unhealthy => Some("unhealthy"),
    }
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

/// `env` or `override`, and why.
pub(super) fn mode_text(resolved: &Resolved) -> String {
    format!("{} ({})", resolved.mode.as_str(), resolved.why_mode)
}

pub(super) fn pinned_services(resolved: &Resolved) -> Vec<&str> {
    resolved.uses.iter().flat_map(|used| used.services.iter().map(String::as_str)).collect()
}
