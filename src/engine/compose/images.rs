//! All images of a host, from one listing: a page that shows many services asks for them once.

use std::sync::Arc;
use std::time::Instant;

use process::Cancel;

use crate::engine::compose::memory::Look;
use crate::engine::compose::project::same_repository;
use crate::engine::compose::stack::Compose;
use crate::engine::compose::stack::QUESTION;
use crate::engine::error::EngineError;
use crate::model::ImageRef;

/// The images of a host.
#[derive(Debug, Default)]
pub struct Images(Vec<Row>);

#[derive(Debug)]
struct Row {
    repository: String,
    tag: String,
    digest: String,
    id: String,
}

impl Images {
    /// The id of an image, which containers made from it carry; none: it is not on the host.
    #[must_use]
    pub fn id_of(&self, image: &ImageRef) -> Option<&str> {
        let is_it = |row: &&Row| {
            if image.loaded {
                return row.id == image.digest.as_str();
            }
            row.digest == image.digest.as_str() && same_repository(&row.repository, image.repository.as_str())
        };
        self.0.iter().find(is_it).map(|row| row.id.as_str())
    }

    /// Whether an image on the host has this name, `REPOSITORY:TAG`.
    pub(super) fn has_name(&self, name: &str) -> bool {
        name.rsplit_once(':').is_some_and(|(repository, tag)| self.0.iter().any(|row| row.repository == repository && row.tag == tag))
    }

    fn read(listed: &str) -> Self {
        let row = |line: &str| {
            let mut words = line.split(' ').map(str::to_owned);
            Some(Row { repository: words.next()?, tag: words.next()?, digest: words.next()?, id: words.next()? })
        };
        Self(listed.lines().filter_map(row).collect())
    }
}

impl Compose {
    /// The images of the host, seen just now or a moment ago.
    ///
    /// # Errors
    /// When Docker does not answer.
    pub async fn images(&self, cancel: &Cancel) -> Result<Images, EngineError> {
        if let Some(known) = self.daemon.memory().recall_images(Instant::now()) {
            return Ok(Images::read(&known));
        }
        self.images_now(cancel).await
    }

    /// The images of the host, from a look that is begun by this call.
    ///
    /// # Errors
    /// When Docker does not answer.
    pub(super) async fn images_now(&self, cancel: &Cancel) -> Result<Images, EngineError> {
        let looked = Instant::now();
        let format = "{{.Repository}} {{.Tag}} {{.Digest}} {{.ID}}";
        let command = self.docker_command(["images", "--digests", "--no-trunc", "--format", format], QUESTION);
        let listed = self.ask(&command, "listing the images on this host", cancel).await?;
        self.daemon.memory().keep_images(&Arc::from(listed.as_str()), Look::since(looked));
        Ok(Images::read(&listed))
    }
}

#[cfg(test)]
mod tests {
    use super::Images;
    use crate::model::ImageRef;

    #[test]
    fn images_are_known_by_their_digest_and_loaded_ones_by_their_id() {
        let hex = |digit: &str| format!("sha256:{}", digit.repeat(64));
        let (one, two, id) = (hex("1"), hex("2"), hex("a"));
        let images =
            Images::read(&format!("example.com/web v1 {one} {id}\nexample.com:5000/web v2 <none> {id}\n<none> <none> <none> {two}\n"));
        let of = |text: String| images.id_of(&ImageRef::parse(&text).unwrap()).map(str::to_owned);
        assert_eq!(of(format!("example.com/web:v1@{one}")), Some(id));
        assert_eq!(of(format!("example.com/web:v1@{two}")), None);
        assert_eq!(of(format!("example.com/other:v1@{one}")), None);
        assert_eq!(of(format!("web:v1@loaded:{two}")), Some(two));
        let named =
            ["example.com/web:v1", "example.com:5000/web:v2", "example.com/web:v2", "example.com"].map(|name| images.has_name(name));
        assert_eq!(named, [true, true, false, false]);
    }
}
