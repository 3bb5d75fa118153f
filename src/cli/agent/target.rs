//! Which host is meant: one of the configuration, or one that somebody typed and whose key nobody knows yet.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::cli::agent::remote::Remote;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::config::Config;
use crate::config::Hop;
use crate::config::Host;
use crate::model::AgentName;

#[derive(Debug, clap::Args)]
pub(super) struct Target {
    /// The host: USER@HOST, or the NAME of a [host.NAME] in the configuration
    #[arg(value_name = "USER@HOST|NAME")]
    pub(super) host: String,
    #[command(flatten)]
    pub(super) way: Way,
}

#[derive(Debug, clap::Args)]
pub(super) struct Way {
    /// Connect over this jump host [default: jump of the host in the configuration]
    #[arg(long, value_name = "USER@BASTION")]
    jump: Option<String>,
    /// The private key for the host [default: `identity_file` in the configuration, or what ssh finds by itself]
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// The private key for the jump host
    #[arg(long, value_name = "FILE")]
    jump_identity: Option<PathBuf>,
    /// The port of the host's ssh server
    #[arg(long, default_value_t = 22)]
    port: u16,
    /// The port of the jump host's ssh server
    #[arg(long, default_value_t = 22)]
    jump_port: u16,
    /// Trust a host key that the configuration does not have, and print it
    #[arg(long)]
    accept_new: bool,
}

impl Target {
    /// The host, and whether the configuration has it. Without a name in the configuration it is called `name`, or as its address begins.
    ///
    /// # Errors
    /// When a key is missing that should be compared, or the configuration says something else than what was typed.
    pub(super) fn remote(&self, global: &Global, name: Option<&AgentName>) -> anyhow::Result<(Remote, bool)> {
        let hosts = if global.config.exists() { Config::load(&global.config)?.hosts } else { BTreeMap::default() };
        let way = &self.way;
        let typed = |text: &str, port: u16, identity: &Option<PathBuf>| {
            let identity = identity.as_ref().map(|file| std::path::absolute(file).unwrap_or_else(|_| file.clone()));
            Hop::typed(text, port, identity).map_err(anyhow::Error::msg)
        };
        let Some((user, address)) = self.host.split_once('@') else {
            let known = hosts.iter().find(|(name, _)| name.as_str() == self.host);
            let (name, host) = known.with_context(|| format!("There is no [host.{}] in {}.", self.host, global.config.display()))?;
            return Ok((Remote::new(name.clone(), (**host).clone())?, true));
        };
        if let Some((known, host)) = hosts.iter().find(|(_, host)| host.to.user == user && host.to.host == address) {
            anyhow::ensure!(
                name.is_none_or(|name| name == known),
                "{} is [host.{known}] in the configuration, so its agent is called {known}; leave --name out.",
                self.host
            );
            let over = host.jump.as_ref().map(|jump| format!("{}@{}", jump.user, jump.host));
            anyhow::ensure!(
                way.jump.is_none() || way.jump == over,
                "host.{known} in the configuration is reached over {}; leave --jump out, or correct host.{known}.jump.",
                over.unwrap_or_else(|| "no other host".to_owned())
            );
            return Ok((Remote::new(known.clone(), (**host).clone())?, true));
        }
        let name = name.cloned().map_or_else(|| AgentName::parse(&name_of(address)), Ok);
        let name = name.with_context(|| format!("{address} does not begin with a name for an agent; give one with --name"))?;
        let mut jump = way.jump.as_ref().map(|text| typed(text, way.jump_port, &way.jump_identity)).transpose()?;
        if let Some(jump) = &mut jump {
            // Its key is known where the configuration reaches it, or another host over it.
            let hops = hosts.values().flat_map(|host| [Some(&host.to), host.jump.as_ref()]).flatten();
            let known = hops.into_iter().find(|hop| hop.user == jump.user && hop.host == jump.host && hop.port == jump.port);
            jump.host_key = known.and_then(|hop| hop.host_key.clone());
            jump.identity = jump.identity.take().or_else(|| known.and_then(|hop| hop.identity.clone()));
        }
        let to = typed(&self.host, way.port, &way.identity)?;
        anyhow::ensure!(
            way.accept_new,
            "The configuration has no host key of {}, so nothing was sent there: add [host.{name}] with address, host_key (`ssh-keyscan -t ed25519 \
             {address}`, compared on the host) and dial = false, or trust the first key that is shown with --accept-new.",
            self.host
        );
        let host = Host { to, jump, program: "tagalong".to_owned(), config: None, is_dialled: false };
        Ok((Remote::new(name, host)?, false))
    }
}

/// What a host is called by itself: by the first part of its name, or by its whole address.
fn name_of(address: &str) -> String {
    let is_number = address.parse::<std::net::IpAddr>().is_ok();
    if is_number { format!("host-{}", address.replace(['.', ':'], "-")) } else { address.split('.').next().unwrap_or_default().to_owned() }
}

/// Says which keys were believed, as lines for the configuration.
pub(super) fn show_taken(output: &Output, remote: &Remote) -> anyhow::Result<()> {
    let taken = remote.taken()?;
    let host = &remote.host;
    let mut lines = table(&format!("host.{}", remote.name), &host.to, taken.target.as_deref());
    lines.push("dial = false".to_owned());
    if let Some(jump) = &host.jump {
        lines.extend(table(&format!("host.{}.jump", remote.name), jump, taken.jump.as_deref()));
    }
    output.notice("These keys were trusted without being compared. Compare them on the hosts, and add these lines to the configuration:");
    output.notice(&lines.join("\n"));
    Ok(())
}

fn table(name: &str, hop: &Hop, key: Option<&str>) -> Vec<String> {
    let mut lines = vec![format!("[{name}]"), format!("address = \"{}@{}\"", hop.user, hop.host)];
    lines.extend((hop.port != 22).then(|| format!("port = {}", hop.port)));
    lines.extend(key.map(|key| format!("host_key = \"{key}\"")));
    lines.extend(hop.identity.as_ref().map(|file| format!("identity_file = \"{}\"", file.display())));
    lines
}
