//! The daemon and the compose plugin of the host.

use serde_json::Value;

use crate::engine::compose::fields::items;
use crate::engine::compose::fields::json;
use crate::engine::compose::fields::text;
use crate::engine::compose::stack::Compose;
use crate::engine::compose::stack::QUESTION;
use crate::engine::error::EngineError;
use crate::process::Cancel;

/// The version of compose that our tests run on.
const TESTED: (u32, u32, u32) = (2, 40, 3);

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

/// The compose plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComposeVersion {
    /// As it says itself, `2.40.3`.
    pub version: String,
    /// What a person should know about it: that our tests do not run on it. None: they do.
    pub note: Option<String>,
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

    /// Asks the compose plugin for its version.
    ///
    /// # Errors
    /// [`EngineError::Host`] when there is none, or one from 2.34.0 to 2.40.1, which CVE-2025-62725 makes unfit.
    pub async fn compose_version(&self, cancel: &Cancel) -> Result<ComposeVersion, EngineError> {
        let command = self.docker_command(["compose", "version", "--short"], QUESTION);
        judge(self.ask(&command, "docker compose version", cancel).await?.trim())
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

fn judge(said: &str) -> Result<ComposeVersion, EngineError> {
    let plain = said.trim_start_matches('v').split(['-', '+']).next().unwrap_or_default();
    let mut parts = plain.split('.').map(|part| part.parse::<u32>().ok());
    let (Some(Some(major)), minor, patch) = (parts.next(), parts.next().flatten(), parts.next().flatten()) else {
        return Err(EngineError::Host(format!(
            "docker compose says that it is version \"{said}\", which is none: install Docker Compose 2.40.3"
        )));
    };
    let version = (major, minor.unwrap_or(0), patch.unwrap_or(0));
    if major < 2 {
        return Err(EngineError::Host(format!("Docker Compose {said} is not supported: install version 2.40.3 or newer")));
    }
    if ((2, 34, 0)..=(2, 40, 1)).contains(&version) {
        return Err(EngineError::Host(format!(
            "Docker Compose {said} must not be used: a stack can make it write outside its folder (CVE-2025-62725): install 2.40.2 or newer"
        )));
    }
    let age = if version < TESTED { "older" } else { "newer" };
    let tested = format!("{}.{}.{}", TESTED.0, TESTED.1, TESTED.2);
    let note =
        (version != TESTED).then(|| format!("Docker Compose {said} is {age} than {tested}, the version that tagalong is tested with"));
    Ok(ComposeVersion { version: said.to_owned(), note })
}

#[cfg(test)]
mod tests {
    use crate::engine::compose::server::judge;

    #[test]
    fn versions_with_a_known_hole_are_refused() {
        for bad in ["2.34.0", "v2.35.1", "2.40.0", "2.40.1", "2.40.1+ds1", "2.38.2-desktop.1", "1.29.2", "", "dev"] {
            assert!(judge(bad).is_err(), "{bad}");
        }
        for good in ["2.33.1", "2.20.0", "2.40.2", "v2.41.0", "5.0.0"] {
            assert!(judge(good).unwrap().note.unwrap().contains("tested with"), "{good}");
        }
        assert_eq!(judge("2.40.3").unwrap().note, None);
    }
}
