//! Which tags a repository has, and what each stands for.

use oci_client::manifest::OciManifest;

use crate::model::Digest;
use crate::model::Repository;
use crate::model::Tag;
use crate::registry::Place;
use crate::registry::Registries;
use crate::registry::RegistryError;
use crate::registry::explain;
use crate::registry::manifest;
use crate::registry::of_index;
use crate::registry::pick;
use crate::registry::platforms_of;
use crate::registry::reference;
use crate::registry::wire::Fault;
use crate::registry::wire::Session;

/// How many tags are asked about at the same time.
const AT_ONCE: usize = 8;

/// What a tag stands for at the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tagged {
    /// The content, as a pull by digest asks for it.
    pub digest: Digest,
    /// When the image was built, ms since 1970 (UTC), as its configuration says; builds that are to be reproducible often say 1970.
    pub built_ms: Option<i64>,
    /// What it is built for, `linux/amd64`.
    pub platforms: Vec<String>,
}

impl Registries {
    /// At most `most` tags of `image` in the registry's order, and whether there are more.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn tags(&self, image: &Repository, most: usize) -> Result<(Vec<Tag>, bool), RegistryError> {
        let reference = reference(image, None, None);
        let mut session = self.session(image, &reference).await?;
        session.tags(most).await.map_err(|fault| explain(fault, &reference, &Place::of(&session.host, session.is_plain)))
    }

    /// What each of `tags` of `image` stands for, on a host of `os`/`arch` where it is built for several; in their order.
    ///
    /// # Errors
    /// [`RegistryError`] when the login is missing; what is wrong with one tag is its own result.
    pub async fn look_at(
        &self,
        image: &Repository,
        tags: &[Tag],
        platform: (&str, &str),
    ) -> Result<Vec<Result<Tagged, RegistryError>>, RegistryError> {
        use futures_util::StreamExt as _;
        let session = self.session(image, &reference(image, None, None)).await?;
        let mut looks = Vec::with_capacity(tags.len());
        for tag in tags {
            looks.push(look_at_tag(session.clone(), image, tag, platform));
        }
        Ok(futures_util::stream::iter(looks).buffered(AT_ONCE).collect().await)
    }
}

async fn look_at_tag(mut session: Session, image: &Repository, tag: &Tag, platform: (&str, &str)) -> Result<Tagged, RegistryError> {
    let seen = resolve_tag(&mut session, tag, platform).await;
    seen.map_err(|fault| explain(fault, &reference(image, Some(tag), None), &Place::of(&session.host, session.is_plain)))
}

async fn resolve_tag(session: &mut Session, tag: &Tag, platform: (&str, &str)) -> Result<Tagged, Fault> {
    let (body, digest) = session.manifest(tag.as_str()).await?;
    let (single, mut platforms) = match manifest(&body)? {
        OciManifest::Image(single) => (single, Vec::new()),
        OciManifest::ImageIndex(index) => {
            let entry = pick(&index.manifests, platform).or_else(|| index.manifests.first().map(|entry| entry.digest.clone()));
            let entry = entry.ok_or_else(|| Fault::Other("the image index is empty.".to_owned()))?;
            (of_index(session, &entry).await?, platforms_of(&index.manifests))
        }
    };
    let config: serde_json::Value = serde_json::from_slice(&session.config(&single.config.digest).await?).unwrap_or_default();
    if platforms.is_empty() {
        let word = |name: &str| text::without_controls(config[name].as_str().unwrap_or("unknown"));
        platforms.push(format!("{}/{}", word("os"), word("architecture")));
    }
    let built = config["created"].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok());
    Ok(Tagged { digest, built_ms: built.map(jiff::Timestamp::as_millisecond), platforms })
}
