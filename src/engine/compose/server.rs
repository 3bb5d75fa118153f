//! The daemon and the compose plugin of the host.

use process::Cancel;
use serde_json::Value;

use crate::engine::compose::fields::items;
use crate::engine::compose::fields::json;
use crate::engine::compose::fields::text;
use crate::engine::compose::stack::Compose;
use crate::engine::compose::stack::QUESTION;
use crate::engine::error::EngineError;

/// The Docker daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// `linux`.
    pub os: String,
    /// As images name it: `amd64`, `arm64`, `arm`, `386`, …
    pub arch: String,
    /// Its version.
    pub version: String,
    /// `overlay2`, `overlayfs`, `btrfs`, …
    pub storage_driver: String,
    /// The folder its images are in, on its host.
    pub root_dir: String,
}

impl Compose {
    /// Asks the daemon who it is.
    ///
    /// # Errors
    /// [`EngineError::Daemon`] when it does not answer.
    pub async fn server(&self, cancel: &Cancel) -> Result<Server, EngineError> {
        let mut turn = self.turn();
        loop {
            let done = self.introduced(cancel).await;
            if !self.again(&mut turn, &done, cancel).await? {
                return done;
            }
        }
    }

    async fn introduced(&self, cancel: &Cancel) -> Result<Server, EngineError> {
        let command = self.docker_command(["info", "--format", "{{json .}}"], QUESTION);
        let info = json(&self.ask(&command, "docker info", cancel).await?)?;
        let errors: Vec<&str> = items(&info, &["ServerErrors"]).filter_map(Value::as_str).collect();
        if text(&info, &["ServerVersion"]).is_empty() {
            return Err(EngineError::Daemon { why: errors.join("; ") });
        }
        Ok(Server {
            os: text(&info, &["OSType"]).to_owned(),
            arch: architecture(text(&info, &["Architecture"])).to_owned(),
            version: text(&info, &["ServerVersion"]).to_owned(),
            storage_driver: text(&info, &["Driver"]).to_owned(),
            root_dir: text(&info, &["DockerRootDir"]).to_owned(),
        })
    }
}

/// What the kernel calls a machine, as images name it.
fn architecture(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "i386" | "i686" => "386",
        machine if machine.starts_with("armv") => "arm",
        machine => machine,
    }
}
