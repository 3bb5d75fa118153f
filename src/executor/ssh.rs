//! Hosts that are reached by ssh: the same frames over the standard streams of `tagalong agent --stdio` there.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use process::Cancel;
use process::Ended;
use process::Stream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::api;
use crate::clock::Backoff;
use crate::config::Config;
use crate::config::Host;
use crate::config::Live;
use crate::executor::agents::Agents;
use crate::executor::agents::held;
use crate::line;
use crate::model::AgentName;
use crate::ssh;
use crate::ssh::Ssh;

/// How long a server has the hosts to itself: another one of the same database dials them so long after it was killed.
const TERM: Duration = Duration::from_secs(20);
/// How often the configuration is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How long a connection may last; then a new one takes its place.
const LONGEST: Duration = Duration::from_hours(24);
/// How many of the lines that ssh writes are kept until it ends.
const MOST_SAID: usize = 16;

/// Keeps a line to every host of the configuration until `stop`, if no other server of the same database does: a host that two dial would
/// have its line taken away by the other all the time. This server is `holder` there.
pub async fn dial_hosts(agents: Arc<Agents>, config: Live<Config>, holder: String, stop: Cancel) {
    let mut lines = JoinSet::new();
    let at_work: Arc<Mutex<BTreeSet<AgentName>>> = Arc::default();
    while !stop.is_cancelled() {
        agents.see_who_dials(&holder).await;
        for name in config.now().hosts.keys().filter(|name| agents.host(name).is_some()) {
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

/// Dials a host again and again, as long as it is this server's to dial.
async fn keep(agents: &Agents, config: &Live<Config>, name: &AgentName) {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_mins(1)).spread();
    loop {
        let Some(host) = agents.host(name) else { return agents.reached(name) };
        let before = agents.times_here(name);
        let why = dial(agents, config, name, &host).await;
        if agents.host(name).as_ref() != Some(&host) {
            continue;
        }
        if agents.times_here(name) != before {
            backoff.reset();
        }
        agents.not_reached(name, &why);
        tokio::time::sleep(backoff.fail()).await;
    }
}

/// What ssh gets: its keys may be with an ssh-agent.
fn environment(config: &Config) -> BTreeMap<String, String> {
    let docker = &config.docker;
    let all = [("PATH", Some(&docker.path)), ("HOME", Some(&docker.home)), ("SSH_AUTH_SOCK", config.server.ssh_agent.as_ref())];
    all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.clone()))).collect()
}

/// One connection, until it ends, or the configuration does not say any more that this is `host`. Gives why it did.
async fn dial(agents: &Agents, live: &Live<Config>, name: &AgentName, host: &Arc<Host>) -> String {
    let config = live.now();
    let ssh = match Ssh::new(host, &config.server.passing_dir(), environment(&config), Arc::clone(&config.mask)) {
        Ok(ssh) => ssh,
        Err(error) => return format!("the files for ssh could not be written: {error}"),
    };
    let (channel, far) = match process::channel() {
        Ok(both) => both,
        Err(error) => return error.to_string(),
    };
    let mut said = Vec::new();
    let cancel = Cancel::default();
    let program = [host.program.as_str(), "agent", "--stdio"].into_iter();
    let command = ssh.command(program.chain(host.config.iter().flat_map(|config| ["--config", config])), LONGEST);
    let line = line::over_stream(channel.from, channel.to);
    let attached = async {
        agents.attach(name.clone(), line).await;
        cancel.cancel();
    };
    let running = process::run_with(&command, far.standard(), &cancel, |stream, line| {
        if stream == Stream::Err {
            tracing::debug!(agent = %name, line, "ssh says");
            if said.len() == MOST_SAID {
                said.remove(0);
            }
            said.push(line);
        }
    });
    let meant = async {
        while !cancel.is_cancelled() && agents.host(name).as_ref() == Some(host) {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        cancel.cancel();
    };
    let (ended, (), ()) = tokio::join!(running, attached, meant);
    if let Some(why) = ssh::why_not(name.as_str(), host, &said) {
        return why;
    }
    match (said.pop(), ended) {
        (Some(line), Ended::Exit(_)) => format!("ssh says: {line}"),
        (_, ended) => format!("ssh {ended}"),
    }
}

impl Agents {
    /// Sees whether this server, which is `holder` in the database, dials the hosts.
    async fn see_who_dials(&self, holder: &str) {
        if self.books.store.is_sqlite() {
            return;
        }
        let asked = Instant::now();
        let until = match self.books.store.has_alone("dialler", holder, TERM).await {
            Ok(is_ours) => is_ours.then(|| asked + TERM),
            // It lasts as long as it was given.
            Err(error) => return tracing::warn!(%error, "which server dials the hosts could not be read"),
        };
        let before = std::mem::replace(&mut *held(&self.dials_until), until);
        if before.is_some() != until.is_some() {
            tracing::info!(dials = until.is_some(), "which server of the database dials the hosts has changed");
        }
    }

    /// The host of that name, if this server is to keep a line to it.
    pub(super) fn host(&self, name: &AgentName) -> Option<Arc<Host>> {
        let dials = self.books.store.is_sqlite() || held(&self.dials_until).is_some_and(|until| Instant::now() < until);
        self.config.now().dialled(name).filter(|_| dials).cloned()
    }

    /// How the hosts stand that are dialled by ssh.
    #[must_use]
    pub fn dialled(&self) -> Vec<api::Agent> {
        let config = self.config.now();
        let names = config.hosts.iter().filter(|(_, host)| host.is_dialled).map(|(name, _)| name);
        names.map(|name| self.seat_of(name).view(name)).collect()
    }
}
