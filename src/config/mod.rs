//! The configuration: as written, then checked, every problem at once.
//!
//! `config/tagalong.toml` shows every key with its unit and default; a test reads it.

mod admission;
mod agent;
mod approval;
mod approval_check;
mod at_agent;
mod check;
mod claims;
mod dashboard;
mod dataset;
mod difference;
mod elsewhere;
mod files;
mod forge;
mod freeze;
mod host;
mod key;
mod live;
mod look;
mod notify;
mod notify_to;
mod oidc;
mod person;
mod policy;
mod provision;
mod quiet;
mod reach;
mod reader;
mod reload;
mod remote;
mod secret;
mod server;
mod service;
mod socket;
mod source;
mod stack;
#[cfg(test)]
mod tests;
mod watch;
mod webhook;
mod webhook_check;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use text::Mask;
use text::Secret;

pub use admission::{Admission, RequiredChecks, WhichChecks};
pub use agent::Agent;
pub use approval::{Approval, WhoseOrders};
pub use claims::{ClaimValue, WantedClaim};
pub use dashboard::{Allowed, Dashboard, ForgeUsers, Member};
pub use dataset::{Access, Confine, Dataset, DatasetLogin, Git, Publish};
pub use difference::Difference;
pub use elsewhere::Placement;
pub use files::StackSource;
pub use forge::{Forge, ForgeKind, ForgeLogin};
pub use freeze::Freeze;
pub use host::{Hop, Host};
pub use key::{Key, KeyProof, RefPattern, signing_secrets};
pub use live::Live;
pub use look::{KnownFindings, Smoke};
pub use notify::Notify;
pub use notify_to::{Email, MailEncryption, NotifyAddress, NotifyTo};
pub use oidc::OidcPolicy;
pub use person::{People, Person};
pub use provision::{At, MOST_BYTES, Provision, ProvisionKind, Value, Visibility};
pub use quiet::QuietHours;
pub use reload::{Credential, OnChange, Peer, PeerPlace, Reload, SignalTo, Verify};
pub use secret::{Rotating, SecretSource};
pub use service::{Deadlines, Health, Hook, HookKind, Hooks, OnFailure, Service};
pub use socket::ScopedSocket;
pub use source::Source;
pub use stack::{ComposeStack, Docker, Elsewhere, PinChoice, PinnedImage, Stack};
pub use watch::{LookTerms, Watch, WatchTerms};
pub use webhook::{WebhookAction, WebhookFilters, WebhookRule};

use crate::model::AgentName;
use crate::model::DatasetName;
use crate::model::KeyId;
use crate::model::ServiceName;

/// Everything, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it was read.
    pub file: PathBuf,
    /// Where it listens and what it takes.
    pub server: Server,
    /// The control plane that this host takes orders from, if any.
    pub agent: Option<Agent>,
    /// Where state is kept.
    pub store: Store,
    /// How Docker is reached.
    pub docker: Docker,
    /// How long things are kept.
    pub retention: Retention,
    /// Credentials of registries, by host.
    pub registries: Vec<Registry>,
    /// Who may call.
    pub keys: Vec<Key>,
    /// Which callers are which people.
    pub people: People,
    /// Which jobs of forges may call with their own token, in their order.
    pub oidc: Vec<OidcPolicy>,
    /// The forges that are told and asked something.
    pub forges: Vec<Arc<Forge>>,
    /// The dashboard, and who may log in by a forge.
    pub dashboard: Dashboard,
    /// Who is told what happened.
    pub notifiers: Vec<Arc<Notify>>,
    /// The secrets and variables that are put elsewhere.
    pub provisions: Vec<Provision>,
    /// What native webhooks of forges become, in their order.
    pub webhook_rules: Vec<WebhookRule>,
    /// Unix sockets for callers that may not do everything.
    pub sockets: Vec<ScopedSocket>,
    /// The services, by name.
    pub services: BTreeMap<ServiceName, Arc<Service>>,
    /// When services are left as they are.
    pub freezes: Vec<Freeze>,
    /// The datasets and what becomes of new data, by name.
    pub datasets: BTreeMap<DatasetName, Arc<Reload>>,
    /// The hosts that are reached by ssh, by the names of their agents.
    pub hosts: BTreeMap<AgentName, Arc<Host>>,
    /// Hides every secret above.
    pub mask: Arc<Mask>,
    written: difference::Written,
}

/// Where the server listens and what it takes.
#[derive(Debug, Clone)]
pub struct Server {
    /// TCP addresses.
    pub listen: Vec<SocketAddr>,
    /// The unix socket, if any.
    pub socket: Option<PathBuf>,
    /// The group that may use the socket beside its owner, by number.
    pub socket_gid: Option<u32>,
    /// The socket of an ssh-agent that hosts are dialled with; none: there is none.
    pub ssh_agent: Option<String>,
    /// The folder for everything that is kept.
    pub data_dir: PathBuf,
    /// Where people open this server from outside, for the addresses in messages.
    pub public_url: Option<url::Url>,
    /// Networks whose forwarded headers are believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Which of their headers are believed.
    pub forwarded_headers: ForwardedHeaders,
    /// Certificate chain and key (PEM), for TLS of its own.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The largest body that is read.
    pub body_limit_bytes: usize,
    /// How many orders may wait in all.
    pub max_waiting: i64,
    /// How many orders may be carried out at a time; a rollback beside them.
    pub max_running: usize,
    /// How many connections there may be over TCP.
    pub max_connections: usize,
    /// How many of them one address may have that is not authenticated.
    pub max_connections_per_address: usize,
    /// How many followers there may be.
    pub max_followers: usize,
    /// How many failed attempts an address has a minute.
    pub failed_attempts_per_min: i64,
    /// Whether log lines are JSON.
    pub log_json: bool,
    /// Which log lines are written, in the syntax of `tracing`'s `EnvFilter`.
    pub log_level: String,
}

impl Server {
    /// The folder for what is needed only for a moment.
    #[must_use]
    pub fn passing_dir(&self) -> PathBuf {
        self.data_dir.join("passing")
    }
}

/// The headers by which trusted proxies name the caller. One kind is believed, the other passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedHeaders {
    /// `X-Forwarded-For` and `X-Forwarded-Proto`.
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Standard,
}

/// Where state is kept.
#[derive(Debug, Clone)]
pub struct Store {
    /// A PostgreSQL address; none: SQLite in the data folder.
    pub postgres: Option<Secret>,
    /// How long a run stays its server's without a sign of life, before another server of the same database takes it over.
    pub lease: Duration,
}

/// How long things are kept.
#[derive(Debug, Clone)]
pub struct Retention {
    /// Journals and ended deployments.
    pub journal: Duration,
    /// Answers to deliveries, for callers that ask again.
    pub deliveries: Duration,
    /// What scheduled looks have seen, by the hour.
    pub looks: Duration,
}

/// Credentials of one registry.
#[derive(Debug, Clone)]
pub struct Registry {
    /// Its host and port, as in image names.
    pub host: String,
    /// The login, when it is not taken from Docker's own configuration.
    pub login: Option<RegistryLogin>,
    /// Whether it is asked over plain http.
    pub plain_http: bool,
}

/// A login of a registry.
#[derive(Debug, Clone)]
pub struct RegistryLogin {
    /// The user.
    pub user: String,
    /// Where the password is kept; it is read for each use.
    pub password: SecretSource,
}

/// The configuration is not valid; every problem, each a whole sentence.
#[derive(Debug, thiserror::Error)]
#[error("{} in {}:\n{}", if .problems.len() == 1 { "One problem".to_owned() } else { format!("{} problems", .problems.len()) }, .file.display(), .problems.iter().map(|p| format!("  - {p}")).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong.
    pub problems: Vec<String>,
}

impl Config {
    /// Reads and checks `file`.
    ///
    /// # Errors
    /// Every problem of the file at once: syntax, unknown keys, wrong values, secrets that cannot be read or are too weak.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file)
            .map_err(|why| ConfigError { file: file.to_owned(), problems: vec![format!("it cannot be read: {why}.")] })?;
        let folder = file.canonicalize().ok().and_then(|file| file.parent().map(Path::to_owned)).unwrap_or_default();
        Self::read(&text, file, &folder)
    }

    /// Checks `text` as the content of `file`, which need not be there; relative paths start at `folder`.
    ///
    /// # Errors
    /// Every problem of the text at once.
    pub fn read(text: &str, file: &Path, folder: &Path) -> Result<Self, ConfigError> {
        let config = check::check(text, folder).map_err(|problems| ConfigError { file: file.to_owned(), problems })?;
        Ok(Self { file: file.to_owned(), ..config })
    }

    /// The forge of that id.
    #[must_use]
    pub fn forge(&self, id: &KeyId) -> Option<&Arc<Forge>> {
        self.forges.iter().find(|forge| forge.id == *id)
    }

    /// The freezes that the service is under, in their order.
    pub fn freezes_of(&self, service: &Service) -> impl Iterator<Item = &Freeze> {
        self.freezes.iter().filter(|freeze| freeze.is_for(service))
    }

    /// The notifier of that id.
    #[must_use]
    pub fn notifier(&self, id: &str) -> Option<&Arc<Notify>> {
        self.notifiers.iter().find(|notifier| notifier.id.as_str() == id)
    }

    /// The service of that name.
    #[must_use]
    pub fn service(&self, name: &ServiceName) -> Option<&Arc<Service>> {
        self.services.get(name)
    }

    /// The host of that name, if a line to it is kept over ssh, so that no agent has its name.
    #[must_use]
    pub fn dialled(&self, name: &AgentName) -> Option<&Arc<Host>> {
        self.hosts.get(name).filter(|host| host.is_dialled)
    }

    /// Whether a line to the host `name` is kept over ssh.
    #[must_use]
    pub fn dials(&self, name: &AgentName) -> bool {
        self.dialled(name).is_some()
    }
}
