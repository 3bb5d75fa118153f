//! Registries: what a tag means there, and whether this host can run it.

mod login;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use oci_client::Reference;
use oci_client::client::ClientConfig;
use oci_client::client::ClientProtocol;
use oci_client::errors::OciDistributionError;
use oci_client::errors::OciErrorCode;
use oci_client::manifest::OciManifest;
use oci_client::secrets::RegistryAuth;

use crate::config::Docker;
use crate::config::Registry;
use crate::model::Digest;
use crate::model::Repository;
use crate::model::Tag;

pub use login::docker_config;

/// Why a registry's answer does not do.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It knows no such tag or digest.
    #[error("The registry has no {0}; check that the build pushed it.")]
    NotFound(String),
    /// It wants another credential.
    #[error(
        "The registry {0} refuses the credential; run `docker login {0}` as the user tagalong runs as, or give user and password_file in [[registry]]."
    )]
    Unauthorized(String),
    /// The image is not made for this host.
    #[error("{image} is made for {has}, but this host is {wanted}; build it for {wanted} as well.")]
    Platform {
        /// The image.
        image: String,
        /// What it is made for.
        has: String,
        /// What the host is.
        wanted: String,
    },
    /// It does not answer, or not sensibly.
    #[error("The registry {host} does not answer as it should: {why}")]
    Unreachable {
        /// Its host.
        host: String,
        /// Why.
        why: String,
    },
}

/// What a tag or digest stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The content, as a pull by digest asks for it.
    pub digest: Digest,
    /// The compressed size of the layers for this host, bytes.
    pub size_bytes: u64,
    /// The labels of the image for this host.
    pub labels: Vec<(String, String)>,
}

/// Asks registries, with the host's own credentials or the configured ones.
pub struct Registries {
    docker: Docker,
    known: Vec<Registry>,
    /// One client a registry: making one reads every root certificate of the host.
    clients: Mutex<HashMap<String, oci_client::Client>>,
}

impl std::fmt::Debug for Registries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registries").field("known", &self.known).finish_non_exhaustive()
    }
}

impl Registries {
    /// Over the configured registries.
    #[must_use]
    pub fn new(docker: Docker, known: Vec<Registry>) -> Self {
        Self { docker, known, clients: Mutex::default() }
    }

    /// The configured entry for an image's registry.
    #[must_use]
    pub fn configured(&self, image: &Repository) -> Option<&Registry> {
        let host = image.registry()?;
        self.known.iter().find(|entry| entry.host == host)
    }

    /// What `tag` (or `digest`, when given) of `image` stands for on a host of `os`/`arch`.
    ///
    /// # Errors
    /// [`RegistryError`]; a digest given beside a tag is not compared here.
    pub async fn resolve(
        &self,
        image: &Repository,
        tag: Option<&Tag>,
        digest: Option<&Digest>,
        platform: (&str, &str),
    ) -> Result<Resolved, RegistryError> {
        let reference = reference(image, tag, digest);
        let host = reference.resolve_registry().to_owned();
        let auth = self.auth(image, &host).await;
        let client = self.client(&host);
        let fault = |error| explain(error, &reference, &host);
        let (manifest, digest) = client.pull_manifest(&reference, &auth).await.map_err(fault)?;
        let digest = Digest::parse(&digest).map_err(|error| RegistryError::Unreachable { host: host.clone(), why: error.to_string() })?;
        let single = match manifest {
            OciManifest::Image(single) => single,
            OciManifest::ImageIndex(index) => {
                let entry = pick(&index.manifests, platform).ok_or_else(|| RegistryError::Platform {
                    image: reference.to_string(),
                    has: platforms(&index.manifests),
                    wanted: format!("{}/{}", platform.0, platform.1),
                })?;
                let by_digest = Reference::with_digest(reference.registry().to_owned(), reference.repository().to_owned(), entry);
                match client.pull_manifest(&by_digest, &auth).await.map_err(fault)?.0 {
                    OciManifest::Image(single) => single,
                    OciManifest::ImageIndex(_) => {
                        return Err(RegistryError::Unreachable { host, why: "an index within an index.".to_owned() });
                    }
                }
            }
        };
        let size_bytes = single.layers.iter().map(|layer| layer.size.unsigned_abs()).sum();
        let mut config = Vec::new();
        client.pull_blob(&reference, &single.config, &mut config).await.map_err(fault)?;
        let config: serde_json::Value = serde_json::from_slice(&config).unwrap_or_default();
        let has = format!("{}/{}", config["os"].as_str().unwrap_or("linux"), config["architecture"].as_str().unwrap_or("amd64"));
        let wanted = format!("{}/{}", platform.0, platform.1);
        if has != wanted {
            return Err(RegistryError::Platform { image: reference.to_string(), has, wanted });
        }
        let labels = config["config"]["Labels"].as_object().into_iter().flatten();
        let labels = labels.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect();
        Ok(Resolved { digest, size_bytes, labels })
    }

    /// Whether the registry of `image` answers at all and takes the credential, for `doctor`.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn ping(&self, image: &Repository) -> Result<(), RegistryError> {
        let reference = reference(image, None, None);
        let host = reference.resolve_registry().to_owned();
        let auth = self.auth(image, &host).await;
        match self.client(&host).list_tags(&reference, &auth, Some(1), None).await {
            Ok(_) => Ok(()),
            Err(error) => match explain(error, &reference, &host) {
                RegistryError::NotFound(_) => Ok(()),
                other => Err(other),
            },
        }
    }

    fn client(&self, host: &str) -> oci_client::Client {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.entry(host.to_owned()).or_insert_with(|| self.new_client(host)).clone()
    }

    fn new_client(&self, host: &str) -> oci_client::Client {
        let plain = is_loopback(host) || self.known.iter().any(|entry| entry.plain_http && entry.host == host);
        oci_client::Client::new(ClientConfig {
            protocol: if plain { ClientProtocol::HttpsExcept(vec![host.to_owned()]) } else { ClientProtocol::Https },
            connect_timeout: Some(Duration::from_secs(10)),
            read_timeout: Some(Duration::from_secs(20)),
            user_agent: concat!("tagalong/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        })
    }

    async fn auth(&self, image: &Repository, host: &str) -> RegistryAuth {
        if let Some((user, password)) = self.configured(image).and_then(|entry| entry.login.as_ref()) {
            return RegistryAuth::Basic(user.clone(), password.reveal().to_owned());
        }
        login::of_docker(&self.docker, host).await
    }
}

/// Docker itself takes registries on loopback as insecure, and so do we.
fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The image as the registry client takes it. Its own parser is left alone: the regular expression in it costs 12 MiB for
/// as long as the server lives, and [`Repository`] has been parsed already.
fn reference(image: &Repository, tag: Option<&Tag>, digest: Option<&Digest>) -> Reference {
    let (registry, path) = match image.registry() {
        Some(host) => (host.to_owned(), image.as_str()[host.len() + 1..].to_owned()),
        // What Docker means by a name without a registry.
        None if image.as_str().contains('/') => ("docker.io".to_owned(), image.to_string()),
        None => ("docker.io".to_owned(), format!("library/{image}")),
    };
    match (tag, digest) {
        (_, Some(digest)) => Reference::with_digest(registry, path, digest.to_string()),
        (Some(tag), None) => Reference::with_tag(registry, path, tag.to_string()),
        (None, None) => Reference::with_tag(registry, path, "latest".to_owned()),
    }
}

/// The entry of an index for this host: exact, or `arm64` for any of its variants.
fn pick(entries: &[oci_client::manifest::ImageIndexEntry], (os, arch): (&str, &str)) -> Option<String> {
    let fits = |entry: &&oci_client::manifest::ImageIndexEntry| {
        entry.platform.as_ref().is_some_and(|platform| platform.os.to_string() == os && platform.architecture.to_string() == arch)
    };
    entries.iter().find(fits).map(|entry| entry.digest.clone())
}

fn platforms(entries: &[oci_client::manifest::ImageIndexEntry]) -> String {
    let all: Vec<String> = entries
        .iter()
        .filter_map(|entry| entry.platform.as_ref())
        .map(|platform| format!("{}/{}", platform.os, platform.architecture))
        .filter(|platform| !platform.starts_with("unknown"))
        .collect();
    if all.is_empty() { "no platform that it names".to_owned() } else { all.join(", ") }
}

fn explain(error: OciDistributionError, reference: &Reference, host: &str) -> RegistryError {
    let not_found = || RegistryError::NotFound(reference.to_string());
    match error {
        OciDistributionError::AuthenticationFailure(_) | OciDistributionError::UnauthorizedError { .. } => {
            RegistryError::Unauthorized(host.to_owned())
        }
        OciDistributionError::RegistryError { ref envelope, .. } => {
            let codes: Vec<&OciErrorCode> = envelope.errors.iter().map(|error| &error.code).collect();
            let any = |wanted: &[OciErrorCode]| codes.iter().any(|code| wanted.contains(code));
            if any(&[OciErrorCode::ManifestUnknown, OciErrorCode::NameUnknown, OciErrorCode::NotFound]) {
                not_found()
            } else if any(&[OciErrorCode::Unauthorized, OciErrorCode::Denied]) {
                RegistryError::Unauthorized(host.to_owned())
            } else {
                RegistryError::Unreachable { host: host.to_owned(), why: format!("{error}.") }
            }
        }
        OciDistributionError::ImageManifestNotFoundError(_) | OciDistributionError::ServerError { code: 404, .. } => not_found(),
        OciDistributionError::ServerError { code: 401 | 403, .. } => RegistryError::Unauthorized(host.to_owned()),
        error => RegistryError::Unreachable { host: host.to_owned(), why: format!("{}.", chain(&error)) },
    }
}

/// An error with what caused it: the reason stands in the last of them.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn only_loopback_is_asked_in_the_clear() {
        for host in ["localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["registry.example.com", "10.0.0.1:5000", "localhost.example.com", "0.0.0.0:5000"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
