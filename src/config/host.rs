//! `[host.NAME]`: a host that the control plane reaches by ssh, where no agent dials.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::reader::Section;
use crate::model::AgentName;

/// A host that is reached by ssh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Where it is.
    pub to: Hop,
    /// Over which other host it is reached; none: directly.
    pub jump: Option<Hop>,
    /// tagalong there: a name that its shell finds, or a path.
    pub program: String,
    /// The configuration there; none: the usual one.
    pub config: Option<String>,
    /// Whether a line to it is kept over ssh. If not, its agent dials by itself, and ssh is for installing it.
    pub is_dialled: bool,
}

/// Where ssh goes, and how either side proves itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// The user.
    pub user: String,
    /// The name or address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The one key that the host may show, like `ssh-ed25519 AAAA…`; none: a person lets the first one count. What the configuration names
    /// has one.
    pub host_key: Option<String>,
    /// The private key; none: what ssh finds by itself.
    pub identity: Option<PathBuf>,
}

impl Host {
    /// Reads the table of the host `name`.
    pub(super) fn read(name: &str, mut from: Section) -> Option<(AgentName, Arc<Self>)> {
        let name = AgentName::parse(name).map_err(|error| from.problem("", error)).ok();
        let to = Hop::read(&mut from);
        let jump = from.section("jump").map(|mut jump| {
            let hop = Hop::read(&mut jump);
            jump.finish();
            hop
        });
        let program = from.parsed("program", remote_word).unwrap_or_else(|| "tagalong".to_owned());
        let config = from.parsed("config", remote_word);
        let is_dialled = from.flag("dial", true);
        from.finish();
        let jump = match jump {
            Some(jump) => Some(jump?),
            None => None,
        };
        Some((name?, Arc::new(Self { to: to?, jump, program, config, is_dialled })))
    }
}

impl Hop {
    fn read(from: &mut Section) -> Option<Self> {
        let missing = "name the user and the host that ssh connects to, like address = \"deploy@edge.example.com\".";
        let address = from.needed("address", missing, address);
        let missing =
            "name the host's public key, since no other is trusted: the line that `ssh-keyscan -t ed25519 HOST` prints, without the name.";
        let host_key = from.needed("host_key", missing, host_key);
        let port = from.whole("port", 22, 1..=65_535) as u16;
        let identity = from.path("identity_file");
        if let Err(why) = usable(identity.as_ref()) {
            from.problem("identity_file", why);
        }
        let (user, host) = address?;
        Some(Self { user, host, port, host_key: Some(host_key?), identity })
    }

    /// What a person typed as `USER@HOST`, whose key is not known.
    ///
    /// # Errors
    /// One sentence, when ssh could misread the address or the path of the key.
    pub fn typed(text: &str, port: u16, identity: Option<PathBuf>) -> Result<Self, String> {
        let (user, host) = address(text)?;
        usable(identity.as_ref())?;
        Ok(Self { user, host, port, host_key: None, identity })
    }
}

/// Whether ssh takes the path of the key as it is.
fn usable(identity: Option<&PathBuf>) -> Result<(), String> {
    match identity {
        Some(file) if !file.to_str().is_some_and(is_plain) => {
            Err(format!("{} has a space or a quote in its path, which ssh would misread.", file.display()))
        }
        _ => Ok(()),
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || "\"'\\%$`".contains(c))
}

fn address(text: &str) -> Result<(String, String), String> {
    let is_word = |word: &str, also: &str| {
        !word.is_empty() && !word.starts_with('-') && word.bytes().all(|b| b.is_ascii_alphanumeric() || also.as_bytes().contains(&b))
    };
    match text.split_once('@') {
        Some((user, host)) if is_word(user, "._-") && is_word(host, ".-:") => Ok((user.to_owned(), host.to_owned())),
        _ => Err(format!("\"{}\" is not USER@HOST.", text.escape_default())),
    }
}

fn host_key(text: &str) -> Result<String, String> {
    let mut words = text.split_ascii_whitespace();
    let is_key = |kind: &str, key: &str| {
        (kind.starts_with("ssh-") || kind.starts_with("ecdsa-sha2-") || kind.starts_with("sk-"))
            && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b"-@.".contains(&b))
            && key.starts_with("AAAA")
            && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b))
    };
    match (words.next(), words.next()) {
        (Some(kind), Some(key)) if is_key(kind, key) && !text.contains(char::is_control) => Ok(format!("{kind} {key}")),
        _ => Err(format!("\"{}\" is not a public key like ssh-ed25519 AAAA….", text.escape_default())),
    }
}

/// A word that a shell at the other side takes as it is.
fn remote_word(text: &str) -> Result<String, String> {
    let is_plain = !text.is_empty() && !text.starts_with('-') && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b));
    if is_plain { Ok(text.to_owned()) } else { Err(format!("\"{}\" may have only letters, digits, /, ., _ and -.", text.escape_default())) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGx";

    fn read(text: &str) -> Result<Config, Vec<String>> {
        let text = format!("version = 1\n[server]\nlisten = [\"127.0.0.1:0\"]\nsocket = \"\"\n{text}");
        Config::read(&text, Path::new("x.toml"), Path::new("/etc/tagalong")).map_err(|error| error.problems)
    }

    #[test]
    fn a_host_names_its_key_and_that_of_the_host_in_between() {
        let config = read(&format!(
            "[host.edge]\naddress = \"deploy@edge.example.com\"\nhost_key = \"{KEY} somebody\"\n[host.edge.jump]\naddress = \"ops@10.0.0.1\"\nport = 2222\nhost_key = \"{KEY}\"\nidentity_file = \"jump.key\"\n"
        ))
        .unwrap();
        let (name, host) = config.hosts.first_key_value().unwrap();
        assert_eq!((name.as_str(), host.to.host_key.as_deref(), host.to.port), ("edge", Some(KEY), 22));
        let jump = host.jump.as_ref().unwrap();
        assert_eq!(
            (jump.host.as_str(), jump.port, jump.identity.as_deref()),
            ("10.0.0.1", 2222, Some(Path::new("/etc/tagalong/jump.key")))
        );
    }

    #[test]
    fn what_ssh_or_a_shell_could_misread_is_refused() {
        for (key, value) in [
            ("address", "edge.example.com"),
            ("address", "-oProxyCommand=x@edge"),
            ("address", "deploy@-edge"),
            ("address", "deploy@edge x"),
            ("host_key", "AAAA"),
            ("host_key", "ssh-ed25519 AAAA\\nevil"),
            ("program", "tagalong; reboot"),
            ("program", "-x"),
            ("config", "$(id)"),
            ("identity_file", "a key"),
        ] {
            let given = [("address", "deploy@edge"), ("host_key", KEY)].into_iter().filter(|(known, _)| *known != key);
            let lines: String =
                given.chain([(key, value)]).fold(String::new(), |all, (key, value)| all + &format!("{key} = \"{value}\"\n"));
            let problems = read(&format!("[host.edge]\n{lines}")).unwrap_err();
            assert!(problems[0].starts_with(&format!("host.edge.{key}: ")), "{key} {value}: {problems:?}");
        }
        assert!(read("[host.edge]\naddress = \"a@b\"\n").unwrap_err()[0].contains("no other is trusted"));
    }
}
