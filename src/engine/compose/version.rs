//! Which compose it is, and whether it may be used.

use std::path::Path;
use std::path::PathBuf;

use process::Cancel;

use crate::engine::compose::known::FileTraits;
use crate::engine::compose::known::Known;
use crate::engine::compose::known::Version;
use crate::engine::compose::known::traits;
use crate::engine::compose::stack::Compose;
use crate::engine::compose::stack::QUESTION;
use crate::engine::error::EngineError;

/// The version of compose that our tests run on.
const TESTED: (u32, u32, u32) = (2, 40, 3);
/// Where docker looks for the plugin, behind the folder of its own settings.
const PLUGINS: [&str; 4] = [
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];

impl Compose {
    /// The version of the compose plugin. It is asked for once, until one of the files changes that decide who answers.
    ///
    /// # Errors
    /// [`EngineError::Host`] when there is none, or one from 2.34.0 to 2.40.1, which CVE-2025-62725 makes unfit.
    pub async fn version(&self, cancel: &Cancel) -> Result<Version, EngineError> {
        let files = self.on_disk(|engine| Ok(engine.who_answers())).await?;
        if let Some(known) = self.daemon.known_version().as_ref().filter(|known| files.as_ref() == Some(&known.files)) {
            return Ok(known.version.clone());
        }
        let command = self.docker_command(["compose", "version", "--short"], QUESTION);
        let version = judge(self.ask(&command, "docker compose version", cancel).await?.trim())?;
        *self.daemon.known_version() = files.map(|files| Known { files, version: version.clone() });
        Ok(version)
    }

    /// The files that decide which compose answers; none where others may, which we do not know of.
    fn who_answers(&self) -> Option<Vec<FileTraits>> {
        let docker = self.daemon.docker();
        let settings = docker.config_dir.clone().unwrap_or_else(|| Path::new(&docker.home).join(".docker"));
        let config = settings.join("config.json");
        if std::fs::read_to_string(&config).is_ok_and(|text| text.contains("cliPluginsExtraDirs")) {
            return None;
        }
        let folders = std::iter::once(settings.join("cli-plugins")).chain(PLUGINS.map(PathBuf::from));
        let plugins: Vec<FileTraits> = folders.map(|folder| traits(folder.join("docker-compose"))).collect();
        let program = traits(self.docker_command([""; 0], QUESTION).program_path());
        let is_found = program.is_there() && plugins.iter().any(FileTraits::is_there);
        is_found.then(|| [program, traits(config)].into_iter().chain(plugins).collect())
    }
}

fn judge(reported: &str) -> Result<Version, EngineError> {
    let plain = reported.trim_start_matches('v').split(['-', '+']).next().unwrap_or_default();
    let mut parts = plain.split('.').map(|part| part.parse::<u32>().ok());
    let (Some(Some(major)), minor, patch) = (parts.next(), parts.next().flatten(), parts.next().flatten()) else {
        return Err(EngineError::Host(format!(
            "docker compose reports the version \"{reported}\", which is not a version number: install Docker Compose 2.40.3"
        )));
    };
    let version = (major, minor.unwrap_or(0), patch.unwrap_or(0));
    if major < 2 {
        return Err(EngineError::Host(format!("Docker Compose {reported} is not supported: install version 2.40.3 or newer")));
    }
    if ((2, 34, 0)..=(2, 40, 1)).contains(&version) {
        return Err(EngineError::Host(format!(
            "Docker Compose {reported} must not be used: a stack can make it write outside its folder (CVE-2025-62725): install 2.40.2 or newer"
        )));
    }
    let age = if version < TESTED { "older" } else { "newer" };
    let tested = format!("{}.{}.{}", TESTED.0, TESTED.1, TESTED.2);
    let note =
        (version != TESTED).then(|| format!("Docker Compose {reported} is {age} than {tested}, the version that tagalong is tested with"));
    Ok(Version { version: reported.to_owned(), note })
}

#[cfg(test)]
mod tests {
    use crate::engine::compose::version::judge;

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
