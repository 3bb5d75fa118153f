//! Options of every subcommand.

use std::path::PathBuf;

/// Where the configuration is looked for.
pub(super) const DEFAULT_CONFIG: &str = "/etc/tagalong/tagalong.toml";

/// Options of every subcommand.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The configuration file.
    #[arg(long, global = true, env = "TAGALONG_CONFIG", default_value = DEFAULT_CONFIG, value_name = "FILE")]
    pub(super) config: PathBuf,
    /// The server's unix socket [default: the one in the configuration].
    #[arg(long, global = true, env = "TAGALONG_SOCKET", value_name = "PATH")]
    pub(super) socket: Option<PathBuf>,
    /// The server's address, if it is not on this host.
    #[arg(long, global = true, env = "TAGALONG_URL", value_name = "URL")]
    pub(super) url: Option<String>,
    /// The file with the key: a whsec_… secret to sign with, or a bearer token.
    #[arg(long, global = true, env = "TAGALONG_KEY_FILE", value_name = "FILE")]
    pub(super) key_file: Option<PathBuf>,
    /// Print JSON: one document, or one line at a time.
    #[arg(long, global = true)]
    pub(super) json: bool,
}

impl Global {
    /// These options as arguments, for this program when it is started again; paths are whole.
    pub(super) fn arguments(&self) -> Vec<String> {
        let whole = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string();
        let mut arguments = vec!["--config".to_owned(), whole(&self.config)];
        let named =
            [("--socket", self.socket.as_ref().map(whole)), ("--url", self.url.clone()), ("--key-file", self.key_file.as_ref().map(whole))];
        for (name, value) in named {
            arguments.extend(value.into_iter().flat_map(|value| [name.to_owned(), value]));
        }
        arguments.extend(self.json.then(|| "--json".to_owned()));
        arguments
    }

    /// Whether the server is asked over the socket of this host.
    pub(super) fn is_here(&self) -> bool {
        self.url.is_none()
    }
}
