//! Which content a tag is, and whether the host has room for it.

use std::path::Path;

use crate::engine::Server;
use crate::landing::run::Run;
use crate::landing::seen;
use crate::landing::stop::Stop;
use crate::model::Digest;
use crate::model::Guard;
use crate::model::ImageRef;
use crate::model::OrderKind;
use crate::model::Repository;
use crate::model::Step;
use crate::model::Tag;
use crate::registry::RegistryError;

/// The label by which an image says that it must not be rolled back past.
const BARRIER: &str = "tagalong.no-rollback-past";

impl Run<'_> {
    /// Which content the tag is, at the registry; a rollback knows it from the record.
    pub(super) async fn resolve(&mut self) -> Result<(), Stop> {
        self.begin(Step::Resolve, "which content the tag is").await?;
        if self.order.kind == OrderKind::Rollback && !self.images.is_empty() {
            self.journal.note(format!("from the record: {}", self.images_text()));
            return Ok(());
        }
        let tag = self.order.tag.clone().ok_or_else(|| Stop::Fault("the order names no tag.".into()))?;
        let server = self.host.docker.get_or_try_init(|| self.compose.server(&self.cancel)).await?.clone();
        let registries = self.host.registries();
        let mut images = Vec::new();
        for pin in self.service.stack.pins.clone() {
            let asked = registries.resolve(&pin.image, Some(&tag), None, (&server.os, &server.arch));
            let answer = match self.within(self.service.deadlines.resolve, "the registry", asked).await {
                Ok(Err(error @ RegistryError::Unreachable { .. })) => Err(error.to_string()),
                Err(Stop::Fault(silence)) => Err(silence),
                Ok(answer) => Ok(answer.map_err(|error| refuse(&error))?),
                Err(stop) => return Err(stop),
            };
            let found = match answer {
                Ok(found) => found,
                Err(silence) => {
                    images.push(self.loaded(&pin.image, &tag, silence, &server).await?);
                    continue;
                }
            };
            if let Some(expected) = self.order.digest.as_ref().filter(|expected| **expected != found.digest) {
                let why = format!(
                    "the tag {tag} of {} is {} at the registry, but the order expects {expected}; the tag was moved.",
                    pin.image, found.digest
                );
                return Err(Stop::Refused(Guard::DigestMismatch, why));
            }
            self.barrier |= found.labels.iter().any(|(name, value)| name == BARRIER && value == "true");
            self.check_disk(&pin.image, found.size_bytes, Path::new(&server.root_dir))?;
            images.push(ImageRef { repository: pin.image, tag: Some(tag.clone()), digest: found.digest, loaded: false });
        }
        self.barrier |= self.service.no_rollback_past.contains(&tag);
        self.images = images;
        self.journal.note(format!("{tag} is {}", self.images.iter().map(|image| image.digest.to_string()).collect::<Vec<_>>().join(", ")));
        Ok(())
    }

    /// The image of a host without a network: `docker load` brought it under this tag. Only where the service says so, since
    /// nobody can tell whether the tag means the same at the registry.
    async fn loaded(&mut self, repository: &Repository, tag: &Tag, silence: String, server: &Server) -> Result<ImageRef, Stop> {
        let name = format!("{repository}:{tag}");
        let found = match self.compose.image(&name, &self.cancel).await {
            // Only a hint hangs on it, and the registry's silence is the reason.
            Err(_) if !self.service.loaded_images => None,
            found => found?,
        };
        let image = match found {
            Some(image) if self.service.loaded_images => image,
            Some(_) => {
                let why =
                    format!("{silence} {name} is on this host all the same; set loaded_images = true to land what `docker load` brought.");
                return Err(Stop::Fault(why));
            }
            None if self.service.loaded_images => {
                return Err(Stop::Fault(format!("{silence} {name} is not on this host either; bring it with `docker load`.")));
            }
            None => return Err(Stop::Fault(silence)),
        };
        let platform = format!("{}/{}", server.os, server.arch);
        if image.platform != platform && !image.platform.starts_with(&format!("{platform}/")) {
            let why = format!("{name} on this host is for {}, and this host is {platform}.", image.platform);
            return Err(Stop::Refused(Guard::Platform, why));
        }
        self.barrier |= image.labels.get(BARRIER).is_some_and(|value| value == "true");
        let (digest, loaded) = match seen::digest_of(&image, repository) {
            Some(digest) => (digest, false),
            None => (Digest::parse(&image.id).map_err(|error| Stop::Fault(error.to_string()))?, true),
        };
        if let Some(expected) = self.order.digest.as_ref().filter(|expected| **expected != digest) {
            let why = format!("the order expects {expected}, but {name} on this host is {digest}, and the registry cannot be asked.");
            return Err(Stop::Refused(Guard::DigestMismatch, why));
        }
        self.journal.warning(format!("{silence} {name} is taken as it is on this host"));
        Ok(ImageRef { repository: repository.clone(), tag: Some(tag.clone()), digest, loaded })
    }

    /// Layers are stored unpacked beside what runs; three times their packed size is what images need in practice.
    fn check_disk(&mut self, image: &Repository, packed_bytes: u64, root: &Path) -> Result<(), Stop> {
        const MARGIN_BYTES: u64 = 64 << 20;
        const INODES: u64 = 2000;
        let Ok(free) = rustix::fs::statvfs(root) else {
            self.journal.note(format!("{} cannot be seen from here, so free space is not checked", root.display()));
            return Ok(());
        };
        let (free_bytes, wanted_bytes) = (free.f_bavail * free.f_frsize, packed_bytes * 3 + MARGIN_BYTES);
        let mib = |bytes: u64| bytes >> 20;
        if free_bytes < wanted_bytes {
            let why = format!(
                "{image} needs about {} MiB in {}, but only {} MiB are free; make room with `docker image prune`.",
                mib(wanted_bytes),
                root.display(),
                mib(free_bytes)
            );
            return Err(Stop::Refused(Guard::Disk, why));
        }
        if free.f_files > 0 && free.f_favail < INODES {
            let why = format!("{} has only {} free inodes; remove unused images or files.", root.display(), free.f_favail);
            return Err(Stop::Refused(Guard::Disk, why));
        }
        Ok(())
    }
}

fn refuse(error: &RegistryError) -> Stop {
    let why = error.to_string();
    match error {
        RegistryError::NotFound(_) => Stop::Refused(Guard::NotFound, why),
        RegistryError::Platform { .. } => Stop::Refused(Guard::Platform, why),
        RegistryError::Unauthorized(_) | RegistryError::Unreachable { .. } => Stop::Fault(why),
    }
}
