//! Registries: what a tag means there, and whether this host can run it.

mod login;
mod tags;
mod wire;

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use oci_client::Reference;
use oci_client::manifest::OciImageManifest;
use oci_client::manifest::OciManifest;
use oci_client::secrets::RegistryAuth;

use crate::config::Docker;
use crate::config::Registry;
use crate::model::Digest;
use crate::model::Repository;
use crate::model::Tag;
use crate::registry::wire::Fault;
use crate::registry::wire::Session;

pub use login::{Login, docker_config};
pub use tags::Tagged;

/// Why a registry's answer does not do.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It knows no such tag or digest.
    #[error("The registry does not have {0}; check that the build pushed it.")]
    NotFound(String),
    /// It wants another credential.
    #[error(
        "The registry {0} rejected the login; run `docker login {0}` as the user that tagalong runs as, or set user and password_file in \
        [[registry]]."
    )]
    Unauthorized(String),
    /// The password of the configured login cannot be read.
    #[error("The password for the registry {host} (password_file in [[registry]]) is missing: {why}")]
    Password {
        /// Its host.
        host: String,
        /// Why.
        why: String,
    },
    /// The image is not made for this host.
    #[error("{image} is built for {has}, but this host is {wanted}; build it for {wanted} as well.")]
    Platform {
        /// The image.
        image: String,
        /// What it is made for.
        has: String,
        /// What the host is.
        wanted: String,
    },
    /// Nobody answers there, or not in time.
    #[error("The registry {host} cannot be reached: {why}. See whether it runs and is reachable from this host: `curl -v {address}`.")]
    Unreachable {
        /// Its host.
        host: String,
        /// The address that every registry answers at.
        address: String,
        /// Why, without a full stop.
        why: String,
    },
    /// Somebody answers, but not as a registry does.
    #[error("The registry {host} does not answer correctly: {why}. See what it answers: `curl -i {address}`.")]
    Odd {
        /// Its host.
        host: String,
        /// The address that every registry answers at.
        address: String,
        /// Why, without a full stop.
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
    http: Mutex<Option<reqwest::Client>>,
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
        Self { docker, known, http: Mutex::default() }
    }

    /// The configured entry for an image's registry.
    fn configured(&self, image: &Repository) -> Option<&Registry> {
        let host = image.registry()?;
        self.known.iter().find(|entry| entry.host == host)
    }

    /// The configured login for an image's registry, with the password as it is now.
    ///
    /// # Errors
    /// [`RegistryError::Password`].
    pub fn login(&self, image: &Repository) -> Result<Option<Login>, RegistryError> {
        let Some(entry) = self.configured(image) else { return Ok(None) };
        let Some(login) = &entry.login else { return Ok(None) };
        let host = entry.host.clone();
        let password = login.password.read().map_err(|why| RegistryError::Password { host: host.clone(), why })?;
        Ok(Some(Login { host, user: login.user.clone(), password }))
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
        let mut session = self.session(image, &reference).await?;
        let place = Place::of(&session.host, session.is_plain);
        let fault = |fault| explain(fault, &reference, &place);
        let named = reference.digest().or(reference.tag()).unwrap_or("latest");
        let (body, digest) = session.manifest(named).await.map_err(fault)?;
        let single = match manifest(&body).map_err(fault)? {
            OciManifest::Image(single) => single,
            OciManifest::ImageIndex(index) => {
                let entry = pick(&index.manifests, platform).ok_or_else(|| {
                    let all = platforms_of(&index.manifests);
                    RegistryError::Platform {
                        image: reference.to_string(),
                        has: if all.is_empty() { "no platform that is named".to_owned() } else { all.join(", ") },
                        wanted: format!("{}/{}", platform.0, platform.1),
                    }
                })?;
                of_index(&mut session, &entry).await.map_err(fault)?
            }
        };
        let size_bytes = single.layers.iter().map(|layer| layer.size.unsigned_abs()).fold(0, u64::saturating_add);
        let config = session.config(&single.config.digest).await.map_err(fault)?;
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

    /// Whether the registry of `image` answers within `limit` and takes the credential, for `doctor`.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn ping(&self, image: &Repository, limit: Duration) -> Result<(), RegistryError> {
        let reference = reference(image, None, None);
        let mut session = self.session(image, &reference).await?;
        let silent = || Err(Fault::Unreachable(format!("it did not answer within {} s.", limit.as_secs())));
        match tokio::time::timeout(limit, session.ping()).await.unwrap_or_else(|_| silent()) {
            Ok(()) | Err(Fault::NotFound) => Ok(()),
            Err(fault) => Err(explain(fault, &reference, &Place::of(&session.host, session.is_plain))),
        }
    }

    async fn session(&self, image: &Repository, reference: &Reference) -> Result<Session, RegistryError> {
        let host = reference.resolve_registry().to_owned();
        let is_plain = is_loopback(&host) || self.known.iter().any(|entry| entry.plain_http && entry.host == host);
        let http = {
            let mut kept = self.http.lock().unwrap_or_else(PoisonError::into_inner);
            match &*kept {
                Some(http) => http.clone(),
                None => kept.insert(wire::client().map_err(|fault| explain(fault, reference, &Place::of(&host, is_plain)))?).clone(),
            }
        };
        let auth = self.auth(image, &host).await?;
        Ok(Session { http, is_plain, repository: reference.repository().to_owned(), auth, authorization: None, host })
    }

    async fn auth(&self, image: &Repository, host: &str) -> Result<RegistryAuth, RegistryError> {
        Ok(match self.login(image)? {
            Some(login) => RegistryAuth::Basic(login.user, login.password.reveal().to_owned()),
            None => login::of_docker(&self.docker, host).await,
        })
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

/// The manifest of the image that is the entry of an index with this digest.
async fn of_index(session: &mut Session, entry: &str) -> Result<OciImageManifest, Fault> {
    let entry = Digest::parse(entry).map_err(|error| Fault::Other(error.to_string()))?;
    match manifest(&session.manifest(&entry.to_string()).await?.0)? {
        OciManifest::Image(single) => Ok(single),
        OciManifest::ImageIndex(_) => Err(Fault::Other("the image index contains another index.".to_owned())),
    }
}

/// What the images of an index are built for. Attestations are among the entries too, for no platform.
fn platforms_of(entries: &[oci_client::manifest::ImageIndexEntry]) -> Vec<String> {
    entries
        .iter()
        .filter_map(|entry| entry.platform.as_ref())
        .map(|platform| format!("{}/{}", platform.os, platform.architecture))
        .filter(|platform| !platform.starts_with("unknown"))
        .collect()
}

/// A registry as people look for it.
struct Place {
    host: String,
    address: String,
}

impl Place {
    fn of(host: &str, is_plain: bool) -> Self {
        let scheme = if is_plain { "http" } else { "https" };
        Self { host: host.to_owned(), address: format!("{scheme}://{host}/v2/") }
    }
}

fn explain(fault: Fault, reference: &Reference, place: &Place) -> RegistryError {
    let Place { host, address } = place;
    let host = host.clone();
    let address = address.clone();
    let bare = |why: &str| why.trim_end_matches('.').to_owned();
    match fault {
        Fault::NotFound => RegistryError::NotFound(reference.to_string()),
        Fault::Unauthorized => RegistryError::Unauthorized(host),
        Fault::Unreachable(why) => RegistryError::Unreachable { host, address, why: bare(&why) },
        Fault::Other(why) => RegistryError::Odd { host, address, why: bare(&why) },
    }
}

fn manifest(body: &[u8]) -> Result<OciManifest, Fault> {
    serde_json::from_slice(body).map_err(|error| Fault::Other(format!("its manifest could not be parsed: {error}.")))
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

    /// A registry of one answer: other people's API, as hostile as it can be.
    async fn served(
        answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
    ) -> (super::Registries, super::Repository, tokio::task::JoinHandle<()>) {
        use tokio::io::AsyncReadExt as _;
        use tokio::io::AsyncWriteExt as _;
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let serving = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let mut head = vec![0; 4096];
                let read = stream.read(&mut head).await.unwrap_or(0);
                let bytes = answer(&String::from_utf8_lossy(&head[..read]));
                if bytes.is_empty() {
                    let chunk = [b"10000\r\n".to_vec(), vec![b' '; 0x10000], b"\r\n".to_vec()].concat();
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
                    while stream.write_all(&chunk).await.is_ok() {}
                }
                let _ = stream.write_all(&bytes).await;
            }
        });
        let text = "[docker]\nprogram = \"/bin/false\"\n";
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("server.toml");
        std::fs::write(&file, format!("version = 1\n[server]\nlisten = [\"127.0.0.1:0\"]\n{text}")).expect("a file");
        let config = crate::config::Config::load(&file).expect("a configuration");
        let image = super::Repository::parse(&format!("127.0.0.1:{port}/acme/web")).expect("a name");
        (super::Registries::new(config.docker, Vec::new()), image, serving)
    }

    async fn against(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Result<super::Resolved, super::RegistryError> {
        let (registries, image, serving) = served(answer).await;
        let tag = super::Tag::parse("v1").expect("a tag");
        let found = registries.resolve(&image, Some(&tag), None, ("linux", "amd64")).await;
        serving.abort();
        found
    }

    /// Nobody is there: that is no wrong answer.
    #[tokio::test]
    async fn a_registry_that_is_away_is_said_to_be_away() {
        let (registries, image, serving) = served(|_| Vec::new()).await;
        serving.abort();
        assert!(serving.await.is_err_and(|error| error.is_cancelled()));
        let said = registries.ping(&image, std::time::Duration::from_secs(5)).await.unwrap_err().to_string();
        assert!(said.contains("cannot be reached: ") && said.contains("`curl -v http://127.0.0.1:") && said.contains("/v2/`"), "{said}");
        assert!(!said.contains("correctly") && !said.contains(".."), "{said}");
    }

    async fn tags_of(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Result<(Vec<String>, bool), String> {
        let (registries, image, serving) = served(answer).await;
        let found = registries.tags(&image, 3).await;
        serving.abort();
        let found = found.map(|(tags, has_more)| (tags.iter().map(ToString::to_string).collect(), has_more));
        found.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn tags_are_read_page_by_page_and_never_for_ever() {
        let page = |next: bool, tags: &str| {
            let link = if next { "link: <http://192.0.2.1/elsewhere>; rel=\"next\"\r\n" } else { "" };
            let body = format!("{{\"name\":\"acme/web\",\"tags\":{tags}}}");
            format!("HTTP/1.1 200 OK\r\n{link}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).into_bytes()
        };
        let listed = |tags: &[&str], has_more: bool| Ok::<_, String>((tags.iter().map(ToString::to_string).collect::<Vec<_>>(), has_more));
        let two_pages = move |head: &str| if head.contains("last=b") { page(false, "[\"c\"]") } else { page(true, "[\"a\",\"b\"]") };
        assert_eq!(tags_of(two_pages).await, listed(&["a", "b", "c"], false));
        // What is no tag is passed over; a page that comes again ends it; more than are wanted are told of.
        let odd = move |_: &str| page(true, "[\"a b\",\"../x\",\"v1\"]");
        assert_eq!(tags_of(odd).await, listed(&["v1"], false));
        assert_eq!(tags_of(move |_| page(false, "[\"a\",\"b\",\"c\",\"d\"]")).await, listed(&["a", "b", "c"], true));
        assert_eq!(tags_of(move |_| page(false, "null")).await, listed(&[], false));
        for (wrong, why) in [(page(false, "7"), "could not be parsed"), (Vec::new(), "larger than 4096 KiB")] {
            let error = tags_of(move |_| wrong.clone()).await.expect_err("no list");
            assert!(error.contains(why), "{error}");
        }
    }

    fn says(found: Result<super::Resolved, super::RegistryError>) -> String {
        found.map_or_else(|error| error.to_string(), |found| found.digest.to_string())
    }

    #[tokio::test]
    async fn what_a_registry_says_is_bounded_and_its_sums_are_checked() {
        let whole = |headers: &str, body: &str| {
            format!("HTTP/1.1 200 OK\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).into_bytes()
        };
        let endless = says(against(|_| Vec::new()).await);
        assert!(endless.contains("larger than 4096 KiB. See what it answers: `curl -i http://127.0.0.1:"), "{endless}");
        assert!(endless.contains("does not answer correctly") && !endless.contains("cannot be reached"), "{endless}");
        let announced = |_: &str| b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n".to_vec();
        assert!(says(against(announced).await).contains("larger than 4096 KiB"));
        let wrong = format!("docker-content-digest: sha256:{}\r\n", "0".repeat(64));
        assert!(says(against(move |_| whole(&wrong, "{}")).await).contains("has the digest sha256:44136fa355b3678a"));
        // A configuration that is not the one that the manifest names.
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","layers":[],"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","size":2,"digest":"sha256:{}"}}}}"#,
            "1".repeat(64)
        );
        let given = move |head: &str| if head.contains("/manifests/") { whole("", &manifest) } else { whole("", "{}") };
        assert!(says(against(given).await).contains("a blob has the digest sha256:44136fa355b3678a"));
        let endless_token = |head: &str| {
            if !head.contains("/v2/") {
                return Vec::new();
            }
            let host =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("host: ").map(str::to_owned)).unwrap_or_default();
            format!(
                "HTTP/1.1 401 x\r\nwww-authenticate: Bearer realm=\"http://{host}/token\"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
            .into_bytes()
        };
        assert!(says(against(endless_token).await).contains("larger than 64 KiB"));
        let elsewhere = |_: &str| b"HTTP/1.1 401 x\r\nwww-authenticate: Bearer realm=\"ftp://x/\"\r\ncontent-length: 0\r\n\r\n".to_vec();
        assert!(says(against(elsewhere).await).contains("does not name an https address that issues tokens"));
    }
}
