//! Which files compose uses when somebody runs it by hand in a folder.

use std::path::Path;
use std::path::PathBuf;

use crate::engine::compose::dotenv::DotEnv;
use crate::engine::compose::replace;
use crate::engine::compose::sources;
use crate::engine::compose::stack::path_text;
use crate::engine::error::EngineError;

const NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
const OVERRIDES: [&str; 4] =
    ["compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"];

/// The override file that tagalong writes, when `COMPOSE_FILE` lists it.
pub(super) const LISTED: &str = "compose.tagalong.yml";
/// The override file that tagalong writes where compose finds it by itself.
pub(super) const FOUND: &str = "compose.override.yml";
/// The first line of the file that tagalong writes.
pub(super) const MARK: &str = "# Written by tagalong; every deployment overwrites this file.";

/// What `docker compose`, run by hand in the folder, reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HandFiles {
    /// `COMPOSE_FILE` as `.env` has it.
    pub(super) variable: Option<String>,
    /// The separator of the files in it.
    pub(super) separator: String,
    /// All files, absolute, in order, an override file of ours included, whether it exists or not.
    pub(super) files: Vec<PathBuf>,
}

impl HandFiles {
    /// Finds them.
    ///
    /// # Errors
    /// When `COMPOSE_FILE` names something that is no file here.
    pub(super) fn find(dir: &Path, dotenv: &DotEnv) -> Result<Self, EngineError> {
        let variable = dotenv.value("COMPOSE_FILE").filter(|value| !value.is_empty());
        let separator = dotenv.value("COMPOSE_PATH_SEPARATOR").filter(|value| !value.is_empty()).unwrap_or_else(|| ":".to_owned());
        let files = match &variable {
            Some(value) if sources::is_remote(value) => {
                return Err(EngineError::Stack(format!(
                    "COMPOSE_FILE in {} names a remote file ({value}): keep the compose files of a stack on this host",
                    dir.join(".env").display()
                )));
            }
            Some(value) => value.split(separator.as_str()).map(|file| dir.join(file)).collect(),
            None => found(dir),
        };
        Ok(Self { variable, separator, files })
    }

    /// The override file of ours among them.
    pub(super) fn ours(&self, dir: &Path) -> Option<PathBuf> {
        let listed = dir.join(LISTED);
        if self.variable.is_some() && self.files.iter().any(|file| same(file, &listed)) {
            return Some(listed);
        }
        let found = dir.join(FOUND);
        (self.variable.is_none()
            && self.files.contains(&found)
            && replace::read(&found).ok().flatten().is_some_and(|bytes| is_ours(&bytes)))
        .then_some(found)
    }

    /// The files that are a person's own.
    pub(super) fn own(&self, dir: &Path) -> Vec<PathBuf> {
        let ours = self.ours(dir);
        self.files.iter().filter(|file| ours.as_ref().is_none_or(|ours| !same(file, ours))).cloned().collect()
    }
}

/// Files as `COMPOSE_FILE` lists them: relative where they are below the folder.
pub(super) fn listing(dir: &Path, files: &[PathBuf], separator: &str) -> String {
    let files: Vec<String> = files.iter().map(|file| path_text(file.strip_prefix(dir).unwrap_or(file))).collect();
    files.join(separator)
}

/// Whether two paths name one file.
pub(super) fn same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.components().collect());
    one == other || real(one) == real(other)
}

/// Whether tagalong wrote these bytes.
pub(super) fn is_ours(bytes: &[u8]) -> bool {
    bytes.starts_with(MARK.as_bytes())
}

fn found(dir: &Path) -> Vec<PathBuf> {
    let first = |names: &[&str]| names.iter().map(|name| dir.join(name)).find(|path| path.is_file());
    let Some(main) = first(&NAMES) else { return Vec::new() };
    std::iter::once(main).chain(first(&OVERRIDES)).collect()
}

#[cfg(test)]
mod tests {
    use crate::engine::compose::dotenv::DotEnv;
    use crate::engine::compose::files::HandFiles;
    use crate::engine::compose::files::MARK;

    /// The files and ours among them, as names, in a folder with `files` and this `.env`.
    fn find(files: &[(&str, &str)], dotenv: &str) -> (String, Option<String>) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let found = HandFiles::find(dir.path(), &DotEnv::parse(dotenv.into()).unwrap()).unwrap();
        let name = |path: &std::path::PathBuf| path.strip_prefix(dir.path()).unwrap_or(path).display().to_string();
        let all: Vec<String> = found.files.iter().map(name).collect();
        (all.join(" "), found.ours(dir.path()).as_ref().map(name))
    }

    #[test]
    fn files_are_found_in_the_order_of_compose() {
        let all = ["docker-compose.yaml", "docker-compose.yml", "compose.yml", "compose.yaml"];
        for (count, name) in all.iter().enumerate() {
            let there: Vec<(&str, &str)> = all[..=count].iter().map(|name| (*name, "")).collect();
            assert_eq!(find(&there, "").0, *name);
        }
        assert_eq!(find(&[("compose.yml", ""), ("docker-compose.override.yaml", "")], "").0, "compose.yml docker-compose.override.yaml");
        assert_eq!(find(&[("compose.override.yml", "")], "").0, "");
        assert_eq!(find(&[("compose.yml", "")], "COMPOSE_FILE=a.yml:/srv/b.yml").0, "a.yml /srv/b.yml");
        assert_eq!(find(&[("compose.yml", "")], "COMPOSE_FILE=a.yml;b.yml\nCOMPOSE_PATH_SEPARATOR=;").0, "a.yml b.yml");
    }

    #[test]
    fn a_file_of_ours_is_known() {
        let main = ("compose.yaml", "");
        assert_eq!(find(&[main, ("compose.tagalong.yml", MARK)], "").1, None);
        assert_eq!(find(&[main], "COMPOSE_FILE=compose.yaml:./compose.tagalong.yml").1.as_deref(), Some("compose.tagalong.yml"));
        assert_eq!(find(&[main, ("compose.override.yml", MARK)], "").1.as_deref(), Some("compose.override.yml"));
        assert_eq!(find(&[main, ("compose.override.yml", "services: {}")], "").1, None);
    }
}
