//! Hosts that are reached by ssh: the same frames over the standard streams of `tagalong agent --stdio` there. The host's key is pinned,
//! and that of the host in between; ssh asks nobody anything.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use process::Cancel;
use process::Command;
use process::Ended;
use process::Passing;
use process::Stream;
use tokio::task::JoinSet;

use crate::clock::Backoff;
use crate::config::Config;
use crate::config::Hop;
use crate::config::Host;
use crate::config::Live;
use crate::executor::agents::Agents;
use crate::executor::agents::held;
use crate::line;
use crate::model::AgentName;

/// How often the configuration is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How long a connection may last; then a new one takes its place.
const LONGEST: Duration = Duration::from_hours(24);

/// Keeps a line to every host of the configuration until `stop`.
pub async fn dial_hosts(agents: Arc<Agents>, config: Live<Config>, stop: Cancel) {
    let mut lines = JoinSet::new();
    let at_work: Arc<Mutex<BTreeSet<AgentName>>> = Arc::default();
    while !stop.is_cancelled() {
        for name in config.now().hosts.keys() {
            if held(&at_work).insert(name.clone()) {
                let name = name.clone();
                let agents = Arc::clone(&agents);
                let config = config.clone();
                let at_work = Arc::clone(&at_work);
                lines.spawn(async move {
                    keep(&agents, &config, &name).await;
                    held(&at_work).remove(&name);
                });
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
        while lines.try_join_next().is_some() {}
    }
    lines.shutdown().await;
}

/// Dials a host again and again, as long as the configuration has it.
async fn keep(agents: &Agents, config: &Live<Config>, name: &AgentName) {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_mins(1)).spread();
    loop {
        let now = config.now();
        let Some(host) = now.hosts.get(name).cloned() else { return agents.reached(name) };
        let before = agents.times_here(name);
        let why = dial(agents, &now, name, &host).await;
        if agents.times_here(name) != before {
            backoff.reset();
        }
        agents.not_reached(name, &why);
        tokio::time::sleep(backoff.fail()).await;
    }
}

/// One connection, until it ends. Gives why it did.
async fn dial(agents: &Agents, config: &Config, name: &AgentName, host: &Host) -> String {
    let files = match Files::write(config, host) {
        Ok(files) => files,
        Err(error) => return format!("the files for ssh could not be written: {error}"),
    };
    let (channel, far) = match process::channel() {
        Ok(both) => both,
        Err(error) => return error.to_string(),
    };
    let mut said = Vec::new();
    let cancel = Cancel::default();
    let command = files.command(config, host);
    let line = line::over_stream(channel.from, channel.to);
    let attached = async {
        agents.attach(name.clone(), line).await;
        cancel.cancel();
    };
    let running = process::run_with(&command, far.standard(), &cancel, |stream, line| {
        if stream == Stream::Err {
            tracing::debug!(agent = %name, line, "ssh says");
            said = vec![line];
        }
    });
    let (ended, ()) = tokio::join!(running, attached);
    match (said.pop(), ended) {
        (Some(line), Ended::Exit(_)) => format!("ssh says: {line}"),
        (_, ended) => format!("ssh {ended}"),
    }
}

/// What ssh reads.
struct Files {
    folder: Passing,
}

impl Files {
    fn write(config: &Config, host: &Host) -> std::io::Result<Self> {
        let place = config.server.passing_dir();
        std::fs::create_dir_all(&place)?;
        let folder = Passing::within(&place)?;
        let known = folder.path().join("known_hosts");
        std::fs::write(&known, known_hosts(host))?;
        std::fs::write(folder.path().join("config"), ssh_config(host, &known.display().to_string()))?;
        Ok(Self { folder })
    }

    fn command(&self, config: &Config, host: &Host) -> Command {
        let file = self.folder.path().join("config").display().to_string();
        let mut args: Vec<String> = ["-F", &file, "-T", "target", "--", &host.program, "agent", "--stdio"].map(str::to_owned).into();
        args.extend(host.config.iter().flat_map(|config| ["--config".to_owned(), config.clone()]));
        let env = BTreeMap::from([("PATH".to_owned(), config.docker.path.clone()), ("HOME".to_owned(), config.docker.home.clone())]);
        Command { program: "ssh".to_owned(), args, env, dir: None, deadline: LONGEST, mask: Arc::clone(&config.mask), lock: None }
    }
}

fn known_hosts(host: &Host) -> String {
    let mut text = format!("target {}\n", host.to.host_key);
    if let Some(jump) = &host.jump {
        let _ = writeln!(text, "jump {}", jump.host_key);
    }
    text
}

fn ssh_config(host: &Host, known: &str) -> String {
    let mut text = String::new();
    let mut hop = |alias: &str, hop: &Hop, over: Option<&str>| {
        let _ = writeln!(text, "Host {alias}\n  HostName {}\n  User {}\n  Port {}\n  HostKeyAlias {alias}", hop.host, hop.user, hop.port);
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
        "Host *\n  BatchMode yes\n  StrictHostKeyChecking yes\n  UserKnownHostsFile {known}\n  GlobalKnownHostsFile /dev/null\n  CheckHostIP no\n  \
         UpdateHostKeys no\n  ConnectTimeout 10\n  ServerAliveInterval 10\n  ServerAliveCountMax 3\n  ControlPath none\n  ForwardAgent no\n  \
         ClearAllForwardings yes\n  LogLevel ERROR\n"
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
            host_key: format!("ssh-ed25519 {key}"),
            identity: Some("/etc/tagalong/id".into()),
        };
        let host = Host {
            to: hop("edge", 22, "AAAAedge"),
            jump: Some(hop("bastion", 2222, "AAAAjump")),
            program: "tagalong".into(),
            config: None,
        };
        assert_eq!(known_hosts(&host), "target ssh-ed25519 AAAAedge\njump ssh-ed25519 AAAAjump\n");
        let text = ssh_config(&host, "/run/known");
        assert!(text.contains("Host target\n  HostName edge\n  User deploy\n  Port 22\n  HostKeyAlias target\n"), "{text}");
        assert!(text.contains("ProxyJump jump\nHost jump\n  HostName bastion\n"), "{text}");
        assert!(text.contains("StrictHostKeyChecking yes\n  UserKnownHostsFile /run/known\n"), "{text}");
    }
}
