//! The configuration as it is before anything is added.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;

use crate::cli::global::DEFAULT_CONFIG;
use crate::config::Config;
use crate::config::ConfigError;
use crate::config::Service;
use crate::model::Scope;
use crate::model::ServiceName;
use crate::model::Verb;

/// The configuration that there is, or the beginning of a new one.
#[derive(Debug)]
pub(super) struct Existing {
    pub(super) file: PathBuf,
    pub(super) folder: PathBuf,
    /// Whether the file is there.
    pub(super) is_there: bool,
    pub(super) text: String,
    pub(super) config: Config,
}

impl Existing {
    /// Reads `file`, where there is one.
    ///
    /// # Errors
    /// When it is there and is not valid, or its folder is not there.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let file = std::path::absolute(file).context("The path of the configuration is not known")?;
        let folder = file.parent().unwrap_or(&file).to_owned();
        anyhow::ensure!(
            folder.is_dir(),
            "{} is not there; install tagalong's package, or keep the configuration elsewhere: --config FILE.",
            folder.display()
        );
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read; run init as its owner", file.display())),
        };
        let is_there = text.is_some();
        let text = text.unwrap_or_else(|| beginning(&file));
        let config = Config::read(&text, &file, &folder)?;
        Ok(Self { file, folder, is_there, text, config })
    }

    /// The text with `added` at its end.
    pub(super) fn with(&self, added: &str) -> String {
        let gap = if self.text.ends_with('\n') { "" } else { "\n" };
        format!("{}{gap}{added}", self.text)
    }

    /// What the text with `added` would be as a configuration.
    ///
    /// # Errors
    /// Every problem of it.
    pub(super) fn tried(&self, added: &str) -> Result<Config, ConfigError> {
        Config::read(&self.with(added), &self.file, &self.folder)
    }

    /// The name of the service whose stack is in `dir`.
    pub(super) fn service_in(&self, dir: &Path) -> Option<&ServiceName> {
        let is_there = |service: &&Arc<Service>| service.stack.dir().is_some_and(|its| same_folder(its, dir));
        self.config.services.values().find(is_there).map(|service| &service.name)
    }

    /// The key that was made for this service alone: its id, and the file of its secret.
    pub(super) fn key_for(&self, service: &ServiceName) -> Option<(String, Option<PathBuf>)> {
        let wanted = Scope::on(Verb::Deploy, service);
        let key = self.config.keys.iter().find(|key| key.scopes.contains(&wanted))?;
        let table: toml::Table = self.text.parse().ok()?;
        let keys = table.get("key").and_then(toml::Value::as_array).into_iter().flatten();
        let file =
            keys.filter(|one| one.get("id").and_then(toml::Value::as_str) == Some(key.id.as_str())).find_map(|one| one.get("secret_file"));
        Some((key.id.to_string(), file.and_then(toml::Value::as_str).map(|file| self.folder.join(file))))
    }

    /// The audience of the policy that was made for this service alone.
    pub(super) fn policy_for(&self, service: &ServiceName) -> Option<String> {
        let wanted = Scope::on(Verb::Deploy, service);
        let policy = self.config.oidc.iter().find(|policy| policy.scopes.contains(&wanted))?;
        Some(policy.audience.clone())
    }
}

/// Whether two paths lead to one folder.
pub(super) fn same_folder(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    one == other || real(one) == real(other)
}

/// Whether it is the file that the package's unit reads.
pub(super) fn is_default(file: &Path) -> bool {
    file == Path::new(DEFAULT_CONFIG)
}

fn beginning(file: &Path) -> String {
    // Elsewhere than in the package's place, state and socket lie beside the file, so that nobody has to be root.
    let own = if is_default(file) { "" } else { "socket = \"tagalong.sock\"\ndata_dir = \"state\"\n" };
    format!(
        "# The configuration of `tagalong serve`. config/tagalong.toml in tagalong's repository shows every key.\n\
         # After a change: `tagalong check`, then let the server read it again (SIGHUP).\n\nversion = 1\n\n[server]\nlisten = [\"127.0.0.1:8787\"]\n{own}"
    )
}
