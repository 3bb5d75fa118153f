//! What is seen of a service outside, for everybody who asks for it at the same time.

use std::sync::Arc;

use crate::engine::Container;
use crate::engine::FilesNow;
use crate::engine::Images;
use crate::engine::PinnedNow;
use crate::model::Tag;
use crate::registry::RegistryError;
use crate::registry::Tagged;

/// A service's stack as it was seen.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) containers: Result<Arc<Vec<Container>>, String>,
    pub(super) pinned: Result<Vec<PinnedNow>, String>,
    pub(super) images: Option<Images>,
    /// The files that the stack has from a repository; none: it has none, or they cannot be read now.
    pub(super) files: Option<FilesNow>,
}

/// What there is for a service to be deployed with: the images on its host, and what its registry says.
#[derive(Debug)]
pub(super) struct Offered {
    pub(super) images: Option<Images>,
    pub(super) listed: Result<Listed, String>,
}

/// What a registry says: which tags it has, and what each of those stands for that were looked at.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) tags: Vec<Tag>,
    pub(super) has_more: bool,
    pub(super) looks: Vec<(Tag, Result<Tagged, RegistryError>)>,
}
