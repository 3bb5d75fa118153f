//! The files that init writes: whole or not at all, and never over somebody's own.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::cli::key::write_secret;

/// A file as it is to be.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) path: PathBuf,
    pub(super) text: String,
    /// Of a new file.
    pub(super) mode: u32,
    /// Whether another content may be replaced.
    pub(super) may_replace: bool,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// It was not there.
    New,
    /// It had another content.
    Changed,
    /// It has this content already.
    Same,
    /// It has another content, which stays.
    Kept,
}

impl Wanted {
    /// What writing it makes of it.
    ///
    /// # Errors
    /// When what is there cannot be read.
    pub(super) fn state(&self) -> anyhow::Result<State> {
        match std::fs::read(&self.path) {
            Ok(bytes) if bytes == self.text.as_bytes() => Ok(State::Same),
            Ok(_) if self.may_replace => Ok(State::Changed),
            Ok(_) => Ok(State::Kept),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(State::New),
            Err(error) => Err(error).with_context(|| format!("{} cannot be read", self.path.display())),
        }
    }

    /// Afterwards it is there with this content, unless it is kept; mode and owner of what it replaces stay. What root makes belongs
    /// to the owner of the nearest folder that was there.
    ///
    /// # Errors
    /// When it cannot be written; what was there is there still.
    pub(super) fn write(&self) -> anyhow::Result<State> {
        let state = self.state()?;
        if matches!(state, State::New | State::Changed) {
            self.put(state).with_context(|| format!("{} cannot be written; run init as the owner of its folder", self.path.display()))?;
        }
        Ok(state)
    }

    fn put(&self, state: State) -> std::io::Result<()> {
        // A link leads to the file that is meant.
        let path = if state == State::Changed { self.path.canonicalize()? } else { self.path.clone() };
        let folder = path.parent().unwrap_or(&path);
        let owner = make_folder(folder)?;
        let mut file = tempfile::Builder::new().prefix(".tagalong-").tempfile_in(folder)?;
        file.write_all(self.text.as_bytes())?;
        let was = std::fs::metadata(&path).ok();
        let (uid, gid) = was.as_ref().map_or(owner, |was| (was.uid(), was.gid()));
        let mode = was.as_ref().map_or(self.mode, |was| was.mode() & 0o7777);
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::fchown(file.as_file(), Some(uid), Some(gid))?;
        }
        file.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        match state {
            State::New => file.persist_noclobber(&path)?,
            State::Changed | State::Same | State::Kept => file.persist(&path)?,
        };
        std::fs::File::open(folder)?.sync_all()
    }
}

/// Makes `folder` with all above it, and gives the owner of the nearest one that was there.
fn make_folder(folder: &Path) -> std::io::Result<(u32, u32)> {
    if let Ok(there) = std::fs::metadata(folder) {
        return Ok((there.uid(), there.gid()));
    }
    let (uid, gid) = make_folder(folder.parent().unwrap_or(Path::new("/")))?;
    std::fs::create_dir(folder)?;
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(folder, Some(uid), Some(gid))?;
    }
    Ok((uid, gid))
}

/// A new secret for the server, which goes away again unless it is kept.
#[derive(Debug)]
pub(super) struct NewSecret {
    path: PathBuf,
    is_kept: bool,
}

impl NewSecret {
    /// Writes `secret` to the new file `path`, mode 0600; as root for the owner and the group of its folder.
    ///
    /// # Errors
    /// When it cannot be written, or the file is there.
    pub(super) fn write(path: &Path, secret: &str) -> anyhow::Result<Self> {
        write_secret(path, secret)?;
        Ok(Self { path: path.to_owned(), is_kept: false })
    }

    pub(super) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for NewSecret {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_kept_unless_it_may_be_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/deploy.yml");
        let wanted = |text: &str, may_replace| Wanted { path: path.clone(), text: text.into(), mode: 0o644, may_replace };
        assert_eq!(wanted("one", false).write().unwrap(), State::New);
        assert_eq!(wanted("one", false).write().unwrap(), State::Same);
        assert_eq!(wanted("two", false).write().unwrap(), State::Kept);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(wanted("two", true).write().unwrap(), State::Changed);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_secret_that_is_not_kept_goes_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ci.secret");
        drop(NewSecret::write(&path, "x").unwrap());
        assert!(!path.exists());
        NewSecret::write(&path, "x").unwrap().keep();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert!(NewSecret::write(&path, "y").is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "x\n");
    }
}
