//! Keep-tags, which protect images from a routine `docker image prune`.

use process::Cancel;

use crate::engine::compose::stack::Compose;
use crate::engine::compose::stack::QUESTION;
use crate::engine::error::EngineError;
use crate::model::ImageRef;
use crate::model::ServiceName;

/// The registry part of keep-tags. It names no host, so nothing is ever pulled or pushed by it.
const KEEP: &str = "tagalong.keep";

/// The result of giving up an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forgotten {
    /// Its keep-tag and its digest are gone; its layers too, unless something else names it.
    Gone,
    /// It was not on the host.
    NotHere,
    /// A container uses it (its name), running or not: nothing was removed.
    InUse(String),
}

impl Compose {
    /// Gives the image a keep-tag of `service`, so that it survives `docker image prune`. Doing it twice is no fault.
    ///
    /// # Errors
    /// When the image is not on the host.
    pub async fn keep(&self, service: &ServiceName, reference: &ImageRef, cancel: &Cancel) -> Result<(), EngineError> {
        let command = self.docker_command(["tag".to_owned(), reference.by_digest(), keep_tag(service, reference)], QUESTION);
        self.ask(&command, &format!("keeping {reference}"), cancel).await.map(|_| ())
    }

    /// Afterwards the tag of a loaded image names this very content on this host, whatever was loaded under it since.
    ///
    /// # Errors
    /// When the image is not on the host.
    pub async fn name_loaded(&self, reference: &ImageRef, cancel: &Cancel) -> Result<(), EngineError> {
        let Some(name) = reference.loaded_name() else { return Ok(()) };
        let command = self.docker_command(["tag".to_owned(), reference.by_digest(), name], QUESTION);
        self.ask(&command, &format!("tagging {reference}"), cancel).await.map(|_| ())
    }

    /// Which of `wanted` [`Compose::forget`] would find something of, from one listing: the content or a keep-tag of `service`.
    ///
    /// # Errors
    /// When Docker does not answer.
    pub async fn left_of<'a>(
        &self,
        service: &ServiceName,
        wanted: &'a [ImageRef],
        cancel: &Cancel,
    ) -> Result<Vec<&'a ImageRef>, EngineError> {
        let images = self.images_now(cancel).await?;
        let is_left = |image: &&ImageRef| images.id_of(image).is_some() || images.has_name(&keep_tag(service, image));
        Ok(wanted.iter().filter(is_left).collect())
    }

    /// Takes the keep-tag of `service` and, unless another service keeps the same image, the digest away. An image that a
    /// container of any project uses stays whole; nothing is ever forced.
    ///
    /// # Errors
    /// When Docker does not do it.
    pub async fn forget(&self, service: &ServiceName, reference: &ImageRef, cancel: &Cancel) -> Result<Forgotten, EngineError> {
        let keep = keep_tag(service, reference);
        let digest = reference.by_digest();
        let image = match self.image(&digest, cancel).await? {
            Some(image) => Some(image),
            None => self.image(&keep, cancel).await?,
        };
        let Some(image) = image else { return Ok(Forgotten::NotHere) };
        let ancestor = format!("ancestor={}", image.id);
        let users = self.docker_command(["ps", "-a", "--filter", &ancestor, "--format", "{{.Names}}"], QUESTION);
        let users = self.ask(&users, "listing the containers that use an image", cancel).await?;
        if let Some(user) = users.lines().next() {
            return Ok(Forgotten::InUse(user.to_owned()));
        }
        let is_kept_by_others = image.tags.iter().any(|tag| tag.starts_with(KEEP) && *tag != keep);
        let mut names = Vec::new();
        if image.tags.contains(&keep) {
            names.push(keep);
        }
        let name = reference.loaded_name().unwrap_or(digest);
        if !is_kept_by_others && image.repo_digests.iter().chain(&image.tags).any(|known| *known == name) {
            names.push(name);
        }
        for name in names {
            self.untag(&name, cancel).await?;
        }
        Ok(Forgotten::Gone)
    }

    async fn untag(&self, name: &str, cancel: &Cancel) -> Result<(), EngineError> {
        let command = self.docker_command(["rmi", name], QUESTION);
        match self.ask(&command, &format!("removing the tag {name}"), cancel).await {
            // The last name took the others with it.
            Err(EngineError::Failed { why, .. }) if why.contains("No such image") => Ok(()),
            done => done.map(|_| ()),
        }
    }
}

fn keep_tag(service: &ServiceName, reference: &ImageRef) -> String {
    format!("{KEEP}/{service}:{}", reference.digest.short())
}
