//! What becomes of a dataset's new data: who hears of it, who is asked whether it is served, who else is told.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use smoke::ReleaseCarrier;
use subtle::ConstantTimeEq as _;
use text::Secret;

use crate::config::Dataset;
use crate::config::Docker;
use crate::config::Hook;
use crate::config::HookKind;
use crate::config::Publish;
use crate::config::Rotating;
use crate::config::SecretSource;
use crate::config::key;
use crate::config::look;
use crate::config::reader::Section;
use crate::config::remote::branch;
use crate::config::remote::read_git;
use crate::config::remote::read_login;
use crate::config::remote::read_plain_http;
use crate::config::remote::remote;
use crate::model::DatasetName;

/// A dataset of the configuration, and what becomes of its new data.
#[derive(Debug, Clone)]
pub struct Reload {
    /// The checkout and its remote.
    pub data: Dataset,
    /// How often it is reconciled without a call; none: never.
    pub every: Option<Duration>,
    /// What a call of `/api/_internal/reload-data` must show; none: such calls are not taken for it.
    pub secret: Option<SecretSource>,
    /// Runs over the new files before readers see them; when it fails, they do not.
    pub check: Option<Hook>,
    /// How the app hears of new data; none: it looks for itself.
    pub on_change: Option<OnChange>,
    /// How the app is asked which commit it serves; none: it is not.
    pub verify: Option<Verify>,
    /// Who else is told.
    pub peers: Vec<Peer>,
}

/// How the app hears of new data.
#[derive(Debug, Clone)]
pub enum OnChange {
    /// By a POST.
    Http {
        /// Where to.
        url: url::Url,
        /// What the call shows.
        credential: Option<SecretSource>,
        /// How long one try may take.
        deadline: Duration,
        /// How many further tries a call that did not get through has.
        retries: u32,
    },
    /// By a signal.
    Signal {
        /// Who gets it.
        to: SignalTo,
        /// Which, as `kill -l` names it.
        signal: String,
    },
    /// By a program.
    Command {
        /// Program and arguments.
        argv: Vec<String>,
        /// How long it may take.
        deadline: Duration,
    },
}

/// Who gets a signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignalTo {
    /// The process whose id stands in this file.
    PidFile(PathBuf),
    /// The first process of this container.
    Container(String),
}

/// How the app is asked which commit it serves.
#[derive(Debug, Clone)]
pub struct Verify {
    /// Where.
    pub url: url::Url,
    /// What of the answer carries the commit.
    pub carried_by: ReleaseCarrier,
    /// What the call shows, as a bearer token.
    pub credential: Option<SecretSource>,
    /// How long the app may take to serve the new commit.
    pub within: Duration,
}

/// Others that serve the same dataset.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where they are.
    pub place: PeerPlace,
    /// What calls show.
    pub credential: Option<SecretSource>,
    /// How long one try may take.
    pub deadline: Duration,
    /// Whether a bearer token may travel to them unencrypted.
    pub plain_http: bool,
}

/// Where peers are.
#[derive(Debug, Clone)]
pub enum PeerPlace {
    /// At these addresses.
    Urls(Vec<url::Url>),
    /// At every address that this one's name has.
    Dns(url::Url),
}

impl PeerPlace {
    /// The addresses as they are written.
    #[must_use]
    pub fn urls(&self) -> &[url::Url] {
        match self {
            Self::Urls(urls) => urls,
            Self::Dns(url) => std::slice::from_ref(url),
        }
    }
}

/// What a credential is used as. While it is rotated there are two of it, and whoever is called may know one alone.
pub enum Credential {
    /// `Authorization: Bearer`.
    Bearer(Rotating<Secret>),
    /// Standard Webhooks: the bytes behind `whsec_`.
    Webhook(Rotating<Vec<u8>>),
}

impl Credential {
    /// The scheme that a secret is made for: one that begins with `whsec_` signs, any other is a bearer token.
    ///
    /// # Errors
    /// When it begins with `whsec_` and is none, or cannot be read.
    pub fn of(source: &SecretSource) -> Result<Self, String> {
        let both = source.read_both()?;
        if both.newest.reveal().starts_with("whsec_") {
            both.try_map(|secret| key::webhook_bytes(secret.reveal())).map(Self::Webhook)
        } else {
            Ok(Self::Bearer(both))
        }
    }
}

const ADDRESS: &str = "it must begin with https:// or http:// and must not contain a credential.";
/// A secret that may be guessed is none.
const SHORTEST_SECRET: usize = 24;

impl Reload {
    pub(super) fn read(name: &str, mut from: Section, docker: &Docker, secrets: &mut Vec<Secret>) -> Option<Self> {
        // A wrong name must not hide what else is wrong, so the table is read on under another.
        let name = DatasetName::parse(name).map_err(|error| from.problem("", error)).or_else(|()| DatasetName::parse("invalid")).ok()?;
        let data = read_data(&mut from, name, docker, secrets);
        let every = from.seconds("interval_s", 60.0, 0.0..=86_400.0);
        let secret = from.secret_source("reload_secret_file", "reload_secret_env", secrets);
        match secret.as_ref().map(SecretSource::read_both) {
            Some(Ok(both)) if both.iter().any(|secret| secret.reveal().len() < SHORTEST_SECRET) => {
                from.problem("reload_secret_file", "the secret is shorter than 24 bytes; make one with `tagalong key new --bearer`.");
            }
            Some(Err(why)) => from.problem("reload_secret_file", why),
            _ => {}
        }
        let reload = Self {
            data,
            every: (!every.is_zero()).then_some(every),
            secret,
            check: from.section("check").map(read_check),
            on_change: from.section("on_change").and_then(|section| read_on_change(section, secrets)),
            verify: from.section("verify").and_then(|section| read_verify(section, secrets)),
            peers: from.sections("peer").into_iter().filter_map(|section| read_peer(section, secrets)).collect(),
        };
        from.finish();
        Some(reload)
    }

    /// Whether both take calls with the same secret as it is now.
    pub(super) fn shares_secret(&self, other: &Self) -> bool {
        let now = |one: &Self| one.secret.as_ref().and_then(|source| source.read_both().ok());
        let (Some(mine), Some(other)) = (now(self), now(other)) else { return false };
        let is_same = |mine: &Secret, other: &Secret| bool::from(mine.reveal().as_bytes().ct_eq(other.reveal().as_bytes()));
        mine.iter().any(|mine| other.iter().any(|other| is_same(mine, other)))
    }
}

fn read_data(from: &mut Section, name: DatasetName, docker: &Docker, secrets: &mut Vec<Secret>) -> Dataset {
    let dir = from.path("dir").unwrap_or_default();
    if dir.as_os_str().is_empty() {
        from.problem("dir", "every dataset needs the folder of its checkout.");
    }
    let remote = from.needed("remote", "every dataset needs the address of its repository.", remote).unwrap_or_default();
    let login = read_login(from, secrets);
    // git shows the password to a remote that asks for it; other schemes have no such login.
    let over_http = url::Url::parse(&remote).ok().filter(|url| url.scheme() == "http" && login.is_some());
    read_plain_http(from, over_http.as_slice(), "password", "use https or ssh");
    let (committer_name, committer_email) = read_committer(from.section("committer"));
    let (fetch_deadline, push_deadline, local_deadline) = read_deadlines(from.section("deadlines"));
    Dataset {
        // Known when the server's section is read too.
        state: PathBuf::new(),
        name,
        remote,
        branch: from.parsed("branch", branch).unwrap_or_else(|| "main".to_owned()),
        committer_name,
        committer_email,
        fetch_deadline,
        push_deadline,
        local_deadline,
        publish: read_publish(from, &dir),
        push_untracked: from.flag("push_untracked", false),
        git: read_git(from, docker),
        ssh_key_file: from.path("ssh_key_file"),
        ssh_known_hosts_file: from.path("ssh_known_hosts_file"),
        login,
        mask: Arc::default(),
        dir,
    }
}

fn read_publish(from: &mut Section, dir: &std::path::Path) -> Publish {
    let worktree = from.choice("publish", &[("in-place", false), ("worktree", true)]);
    let beside = |end: &str| {
        let mut name = dir.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let link = from.path("link");
    let folder = from.path("worktrees");
    let keep = from.seconds("grace_s", 60.0, 0.0..=86_400.0);
    if !worktree {
        if link.is_some() || folder.is_some() {
            from.problem("link", "link and worktrees are for publish = \"worktree\" only.");
        }
        return Publish::InPlace;
    }
    Publish::Worktree { link: link.unwrap_or_else(|| beside(".current")), dir: folder.unwrap_or_else(|| beside(".worktrees")), keep }
}

fn read_committer(from: Option<Section>) -> (String, String) {
    let mut name = "tagalong".to_owned();
    let mut email = "tagalong@localhost".to_owned();
    let Some(mut from) = from else { return (name, email) };
    let word = |text: &str| {
        let wrong = text.trim().is_empty() || text.contains(|c: char| c.is_control() || c == '<' || c == '>');
        if wrong { Err("it must not contain < or >.") } else { Ok(text.trim().to_owned()) }
    };
    name = from.parsed("name", word).unwrap_or(name);
    email = from.parsed("email", word).unwrap_or(email);
    from.finish();
    (name, email)
}

fn read_deadlines(from: Option<Section>) -> (Duration, Duration, Duration) {
    let mut fetch = Duration::from_mins(1);
    let mut push = Duration::from_mins(1);
    let mut local = Duration::from_mins(2);
    let Some(mut from) = from else { return (fetch, push, local) };
    for (key, slot) in [("fetch_s", &mut fetch), ("push_s", &mut push), ("local_s", &mut local)] {
        *slot = from.seconds(key, slot.as_secs_f64(), 1.0..=86_400.0);
    }
    from.finish();
    (fetch, push, local)
}

fn read_check(mut from: Section) -> Hook {
    let argv = read_argv(&mut from);
    let check = Hook { kind: HookKind::Host, argv, deadline: from.seconds("deadline_s", 60.0, 0.1..=86_400.0) };
    from.finish();
    check
}

fn read_argv(from: &mut Section) -> Vec<String> {
    let argv = from.texts("argv").unwrap_or_default();
    if argv.first().is_none_or(String::is_empty) {
        from.problem("argv", "write the program and its arguments as a list: argv = [\"reindex\", \"--all\"].");
    }
    argv
}

fn read_on_change(mut from: Section, secrets: &mut Vec<Secret>) -> Option<OnChange> {
    let url = from.parsed("url", address);
    let credential = from.secret_source("token_file", "token_env", secrets);
    let shown_to = if credential.is_some() { url.as_slice() } else { &[] };
    read_plain_http(&mut from, shown_to, "bearer token", "use https");
    let pid_file = from.path("pid_file");
    let container = from.text("container");
    let argv = from.texts("argv");
    let signal = from.parsed("signal", signal_name).unwrap_or_else(|| "HUP".to_owned());
    let deadline = from.seconds("deadline_s", 30.0, 0.1..=3600.0);
    let retries = from.whole("retries", 3, 0..=100) as u32;
    let found = match (url, pid_file, container, argv) {
        (Some(url), None, None, None) => Some(OnChange::Http { url, credential, deadline, retries }),
        (None, Some(file), None, None) => Some(OnChange::Signal { to: SignalTo::PidFile(file), signal }),
        (None, None, Some(name), None) => Some(OnChange::Signal { to: SignalTo::Container(name), signal }),
        (None, None, None, Some(argv)) if argv.first().is_some_and(|program| !program.is_empty()) => {
            Some(OnChange::Command { argv, deadline })
        }
        _ => {
            from.problem("url", "set exactly one of url, pid_file, container and argv.");
            None
        }
    };
    from.finish();
    found
}

fn signal_name(text: &str) -> Result<String, String> {
    const KNOWN: [&str; 4] = ["HUP", "USR1", "USR2", "WINCH"];
    let bare = text.strip_prefix("SIG").unwrap_or(text);
    if KNOWN.contains(&bare) {
        Ok(bare.to_owned())
    } else {
        Err(format!("\"{}\" is not one of {}.", text.escape_default(), KNOWN.join(", ")))
    }
}

fn read_verify(mut from: Section, secrets: &mut Vec<Secret>) -> Option<Verify> {
    let url = from.needed("url", "it needs the url at which the app shows the commit that it serves.", address);
    let credential = from.secret_source("token_file", "token_env", secrets);
    let shown_to = if credential.is_some() { url.as_slice() } else { &[] };
    read_plain_http(&mut from, shown_to, "bearer token", "use https");
    let within = from.seconds("within_s", 30.0, 0.1..=3600.0);
    let carried_by = look::read_carrier(&mut from);
    from.finish();
    Some(Verify { url: url?, carried_by: carried_by?, credential, within })
}

fn read_peer(mut from: Section, secrets: &mut Vec<Secret>) -> Option<Peer> {
    let urls = from.list("urls", address);
    let dns = from.parsed("dns", address);
    let credential = from.secret_source("secret_file", "secret_env", secrets);
    if let Some(Err(why)) = credential.as_ref().map(Credential::of) {
        from.problem("secret_file", why);
    }
    let deadline = from.seconds("deadline_s", 60.0, 0.1..=3600.0);
    let place = match (urls.is_empty(), dns) {
        (false, None) => Some(PeerPlace::Urls(urls)),
        (true, Some(name)) => Some(PeerPlace::Dns(name)),
        _ => {
            from.problem("urls", "set either urls = [\"https://pod-1.example.com\"] or dns = \"http://pods.example.internal:8787\".");
            None
        }
    };
    let shows_bearer = matches!(credential.as_ref().map(Credential::of), Some(Ok(Credential::Bearer(_))));
    let urls = place.as_ref().filter(|_| shows_bearer).map_or(&[][..], PeerPlace::urls);
    let plain_http = read_plain_http(&mut from, urls, "bearer token", "use https, or sign with a whsec_ secret");
    from.finish();
    Some(Peer { place: place?, credential, deadline, plain_http })
}

fn address(text: &str) -> Result<url::Url, String> {
    let url = url::Url::parse(text).map_err(|error| format!("it is not a valid address: {error}."))?;
    let plain = url.username().is_empty() && url.password().is_none();
    if matches!(url.scheme(), "https" | "http") && plain { Ok(url) } else { Err(ADDRESS.to_owned()) }
}
