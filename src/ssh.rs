//! The way to a host by the system's `ssh`, with a configuration of our own: only the keys of the configuration are trusted, of the host and
//! of the one in between, nothing is asked and nothing is forwarded.

mod faults;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use process::Command;
use process::Passing;
use text::Mask;

use crate::config::Hop;
use crate::config::Host;

pub use faults::why_not;

/// The folder in which `ssh` finds what it needs to reach one host. It is gone with this value.
#[derive(Debug)]
pub struct Ssh {
    folder: Passing,
    env: BTreeMap<String, String>,
    mask: Arc<Mask>,
}

impl Ssh {
    /// The way to `host`, with its files in a new folder within `place`. `ssh` runs in the environment `env`, and what it says is masked.
    /// A hop without a key in `host` is believed the first time ([`Ssh::taken`]).
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn new(host: &Host, place: &Path, env: BTreeMap<String, String>, mask: Arc<Mask>) -> std::io::Result<Self> {
        std::fs::create_dir_all(place)?;
        let folder = Passing::within(place)?;
        let known = folder.path().join("known_hosts");
        std::fs::write(&known, known_hosts(host))?;
        std::fs::write(folder.path().join("config"), ssh_config(host, &known.display().to_string()))?;
        Ok(Self { folder, env, mask })
    }

    /// `words` on the host, which its shell takes apart at spaces. A word is given as it is, so it has to be plain.
    #[must_use]
    pub fn command<'w>(&self, words: impl IntoIterator<Item = &'w str>, deadline: Duration) -> Command {
        let file = self.folder.path().join("config").display().to_string();
        let own = ["-F", &file, "-T", "target", "--"].map(str::to_owned).into_iter();
        let args = own.chain(words.into_iter().map(str::to_owned)).collect();
        Command { program: "ssh".to_owned(), args, env: self.env.clone(), dir: None, deadline, mask: Arc::clone(&self.mask), lock: None }
    }

    /// The keys that count by now, of the host and of the one in between: those of the configuration, and those that were believed.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn taken(&self) -> std::io::Result<Taken> {
        let known = std::fs::read_to_string(self.folder.path().join("known_hosts"))?;
        let key = |alias: &str| known.lines().find_map(|line| Some(line.strip_prefix(alias)?.strip_prefix(' ')?.trim().to_owned()));
        Ok(Taken { target: key("target"), jump: key("jump") })
    }
}

/// Host keys, like `ssh-ed25519 AAAA…`; none: that hop was not reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The host's.
    pub target: Option<String>,
    /// That of the host in between.
    pub jump: Option<String>,
}

fn known_hosts(host: &Host) -> String {
    let mut text = String::new();
    for (alias, hop) in [("target", Some(&host.to)), ("jump", host.jump.as_ref())] {
        if let Some(key) = hop.and_then(|hop| hop.host_key.as_ref()) {
            let _ = writeln!(text, "{alias} {key}");
        }
    }
    text
}

fn ssh_config(host: &Host, known: &str) -> String {
    let mut text = String::new();
    let mut hop = |alias: &str, hop: &Hop, over: Option<&str>| {
        let _ = writeln!(text, "Host {alias}\n  HostName {}\n  User {}\n  Port {}\n  HostKeyAlias {alias}", hop.host, hop.user, hop.port);
        // Which key is believed the first time is the caller's to say, hop by hop.
        let strict = if hop.host_key.is_some() { "yes" } else { "accept-new" };
        let _ = writeln!(text, "  StrictHostKeyChecking {strict}");
        if let Some(identity) = &hop.identity {
            let _ = writeln!(text, "  IdentityFile {}\n  IdentitiesOnly yes", identity.display());
        }
        if let Some(over) = over {
            let _ = writeln!(text, "  ProxyJump {over}");
        }
    };
    hop("target", &host.to, host.jump.as_ref().map(|_| "jump"));
    if let Some(jump) = &host.jump {
        hop("jump", jump, None);
    }
    let _ = write!(
        text,
        "Host *\n  BatchMode yes\n  StrictHostKeyChecking yes\n  UserKnownHostsFile {known}\n  GlobalKnownHostsFile /dev/null\n  HashKnownHosts no\n  \
         CheckHostIP no\n  UpdateHostKeys no\n  ConnectTimeout 10\n  ServerAliveInterval 10\n  ServerAliveCountMax 3\n  ControlPath none\n  \
         ForwardAgent no\n  ClearAllForwardings yes\n  LogLevel ERROR\n"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::known_hosts;
    use super::ssh_config;
    use crate::config::Hop;
    use crate::config::Host;

    #[test]
    fn both_keys_are_pinned_and_the_hop_is_named() {
        let hop = |host: &str, port: u16, key: &str| Hop {
            user: "deploy".into(),
            host: host.into(),
            port,
            host_key: Some(format!("ssh-ed25519 {key}")),
            identity: Some("/etc/tagalong/id".into()),
        };
        let mut host = Host {
            to: hop("edge", 22, "AAAAedge"),
            jump: Some(hop("bastion", 2222, "AAAAjump")),
            program: "tagalong".into(),
            config: None,
            is_dialled: true,
        };
        assert_eq!(known_hosts(&host), "target ssh-ed25519 AAAAedge\njump ssh-ed25519 AAAAjump\n");
        let text = ssh_config(&host, "/run/known");
        assert!(
            text.contains("Host target\n  HostName edge\n  User deploy\n  Port 22\n  HostKeyAlias target\n  StrictHostKeyChecking yes\n"),
            "{text}"
        );
        assert!(text.contains("ProxyJump jump\nHost jump\n  HostName bastion\n"), "{text}");
        assert!(text.contains("StrictHostKeyChecking yes\n  UserKnownHostsFile /run/known\n") && !text.contains("accept-new"), "{text}");
        host.to.host_key = None;
        assert_eq!(known_hosts(&host), "jump ssh-ed25519 AAAAjump\n");
        let text = ssh_config(&host, "/run/known");
        assert!(text.contains("HostKeyAlias target\n  StrictHostKeyChecking accept-new\n"), "{text}");
        assert!(text.contains("HostKeyAlias jump\n  StrictHostKeyChecking yes\n"), "{text}");
    }
}
