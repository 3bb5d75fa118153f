//! Tags, digests and references of images.

use std::collections::BTreeSet;

use crate::model::word::WordError;
use crate::model::word::text_form;

/// A tag: `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`
/// ([OCI distribution specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests)).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

impl Tag {
    /// Takes `given` as a tag.
    ///
    /// # Errors
    /// When it is not `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        let first_ok = given.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
        let rest_ok = given.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        if first_ok && rest_ok && given.len() <= 128 {
            Ok(Self(given.to_owned()))
        } else {
            Err(WordError::new("The tag", given, "it starts with a letter, digit or _ and has up to 128 of letters, digits, _, . and -"))
        }
    }

    /// The tag as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
text_form!(Tag);

/// A digest: `sha256:` and 64 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(String);

impl Digest {
    /// Takes `given` as a digest.
    ///
    /// # Errors
    /// When it is not `sha256:` followed by 64 lower-case hex digits.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        let hex = given.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            Ok(Self(given.to_owned()))
        } else {
            Err(WordError::new("The digest", given, "it is sha256: and 64 lower-case hex digits"))
        }
    }

    /// The digest as text, with its `sha256:`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve hex digits, for people and for names.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[7..19]
    }
}
text_form!(Digest);

/// A repository with its registry, `registry.example.com/acme/web`, as the compose file writes it. No tag, no digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository(String);

impl Repository {
    /// Takes `given` as a repository.
    ///
    /// # Errors
    /// When it has a tag, a digest, an upper-case path or an empty part.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        let error = || WordError::new("The image", given, "it is [REGISTRY[:PORT]/]PATH in lower case, without a tag or digest");
        let mut parts: Vec<&str> = given.split('/').collect();
        if parts.len() > 1 && is_registry_host(parts[0]) {
            parts.remove(0);
        }
        let path_ok = parts.iter().all(|part| is_path_part(part));
        if path_ok && given.len() <= 255 { Ok(Self(given.to_owned())) } else { Err(error()) }
    }

    /// The repository as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The registry's host and port, when the name carries one.
    #[must_use]
    pub fn registry(&self) -> Option<&str> {
        let (first, _) = self.0.split_once('/')?;
        is_registry_host(first).then_some(first)
    }
}
text_form!(Repository);

fn is_registry_host(part: &str) -> bool {
    let hostlike = part == "localhost" || part.contains('.') || part.contains(':');
    hostlike && part.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b))
}

fn is_path_part(part: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    edge(part.bytes().next())
        && edge(part.bytes().last())
        && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
}

/// What stands before the id of a loaded image in the text form.
const LOADED: &str = "loaded:";

/// One image, exactly: repository and digest, with the tag that a person knows it by where there is one.
///
/// An image that `docker load` brought has no digest of a registry: its id stands in the place of the digest, and it always
/// has a tag, since only that names it for compose.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageRef {
    /// Where it lives.
    pub repository: Repository,
    /// The tag that was ordered; it says nothing about the content.
    pub tag: Option<Tag>,
    /// The content: the digest at the registry, or the id on this host of an image that was loaded.
    pub digest: Digest,
    /// Whether `docker load` brought it, so that no registry is asked for it.
    pub loaded: bool,
}

/// Whether `some` and `others` are the same contents, in any order and whatever their tags.
#[must_use]
pub fn are_same_contents(some: &[ImageRef], others: &[ImageRef]) -> bool {
    let contents = |images: &[ImageRef]| images.iter().map(ImageRef::by_digest).collect::<BTreeSet<_>>();
    some.len() == others.len() && contents(some) == contents(others)
}

impl ImageRef {
    /// The part behind the repository that an `.env` variable holds: `TAG@sha256:…`, or for an image
    /// without a tag `pinned@sha256:…` (a reference carries both, and Docker goes by the digest). For a loaded image it is
    /// the tag alone.
    #[must_use]
    pub fn pin(&self) -> String {
        let tag = self.tag.as_ref().map_or("pinned", Tag::as_str);
        if self.loaded { tag.to_owned() } else { format!("{tag}@{}", self.digest) }
    }

    /// What names the content alone: `REPOSITORY@sha256:…`, or the id of a loaded image.
    #[must_use]
    pub fn by_digest(&self) -> String {
        if self.loaded { self.digest.to_string() } else { format!("{}@{}", self.repository, self.digest) }
    }

    /// `REPOSITORY:TAG` of a loaded image, which compose knows it by; none: it is known by its digest.
    #[must_use]
    pub fn loaded_name(&self) -> Option<String> {
        self.loaded.then(|| format!("{}:{}", self.repository, self.pin()))
    }

    /// The image as people know it: repository, tag and the first digits of the digest.
    #[must_use]
    pub fn named(&self) -> String {
        let tag = self.tag.as_ref().map_or(String::new(), |tag| format!(":{tag}"));
        format!("{}{tag} (sha256:{})", self.repository, self.digest.short())
    }

    /// Reads `REPOSITORY[:TAG]@sha256:…` back, and `REPOSITORY:TAG@loaded:sha256:…` of a loaded image.
    ///
    /// # Errors
    /// When a part is not valid or the digest is missing.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        let missing = || WordError::new("The reference", given, "it is IMAGE[:TAG]@sha256:…");
        let (name, digest) = given.split_once('@').ok_or_else(missing)?;
        let (loaded, digest) = digest.strip_prefix(LOADED).map_or((false, digest), |id| (true, id));
        let digest = Digest::parse(digest)?;
        let (repository, tag) = match name.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(Tag::parse(tag)?)),
            _ => (name, None),
        };
        if loaded && tag.is_none() {
            return Err(missing());
        }
        Ok(Self { repository: Repository::parse(repository)?, tag, digest, loaded })
    }
}

impl std::fmt::Display for ImageRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.loaded_name() {
            Some(name) => write!(f, "{name}@{LOADED}{}", self.digest),
            None => write!(f, "{}:{}", self.repository, self.pin()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Digest;
    use super::ImageRef;
    use super::Repository;
    use super::Tag;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn tags_follow_the_distribution_specification() {
        for good in ["1", "_x", "v1.2-rc.3", &"a".repeat(128)] {
            assert!(Tag::parse(good).is_ok(), "{good}");
        }
        for bad in ["", ".x", "-x", "a b", "a/b", "a:b", "a@b", "$(id)", "--upload-pack=id", "a\n", "a\0", &"a".repeat(129)] {
            assert!(Tag::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn digests_are_sha256_in_lower_case() {
        assert!(Digest::parse(&format!("sha256:{HEX}")).is_ok());
        for bad in ["", "sha256:", "sha512:00", &format!("sha256:{}", HEX.to_uppercase()), &format!("sha256:{HEX}0"), HEX] {
            assert!(Digest::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn repositories_have_no_tag() {
        for good in ["web", "acme/web", "127.0.0.1:5000/acme/web", "registry.example.com/a/b-c/d", "localhost/x"] {
            assert!(Repository::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "/web", "web/", "a//b", "web:1", "Acme/web", "web@sha256", "registry.example.com:5000", "a b", "-x"] {
            assert!(Repository::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(
            Repository::parse("127.0.0.1:5000/a").ok().and_then(|r| r.registry().map(str::to_owned)).as_deref(),
            Some("127.0.0.1:5000")
        );
        assert_eq!(Repository::parse("acme/web").ok().and_then(|r| r.registry().map(str::to_owned)), None);
    }

    #[test]
    fn a_reference_reads_back_what_it_writes() {
        let loaded = format!("acme/web:1f0c@loaded:sha256:{HEX}");
        for text in [format!("127.0.0.1:5000/acme/web:1f0c@sha256:{HEX}"), format!("acme/web:pinned@sha256:{HEX}"), loaded.clone()] {
            assert_eq!(ImageRef::parse(&text).map(|r| r.to_string()), Ok(text));
        }
        let loaded = ImageRef::parse(&loaded).unwrap();
        assert_eq!((loaded.pin(), loaded.by_digest()), ("1f0c".to_owned(), format!("sha256:{HEX}")));
        assert!(ImageRef::parse(&format!("acme/web@loaded:sha256:{HEX}")).is_err());
        assert!(ImageRef::parse("acme/web:1").is_err());
    }
}
