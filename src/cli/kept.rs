//! The file of a secret, replaced whole.

use std::fs::File;
use std::fs::Permissions;
use std::io::ErrorKind;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context as _;

/// A file that nobody else changes by this command meanwhile.
pub(crate) struct Kept {
    path: PathBuf,
    _locked: File,
}

impl Kept {
    /// The file behind `path`, where a symbolic link leads to it.
    ///
    /// # Errors
    /// When it is not there, or another command is changing it.
    pub(crate) fn lock(path: &Path) -> anyhow::Result<Self> {
        let path = path.canonicalize().with_context(|| format!("{} cannot be read", path.display()))?;
        let locked = File::open(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        let busy = || format!("Another command is changing {}; wait until it has ended.", path.display());
        anyhow::ensure!(locked.try_lock().is_ok(), busy());
        // Another one may have put its own in the place of what was opened.
        anyhow::ensure!(locked.metadata()?.ino() == std::fs::metadata(&path)?.ino(), busy());
        Ok(Self { path, _locked: locked })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// From now on it holds `text`. A reader sees what was there or this, never a part, also after a power cut; mode and owner stay.
    ///
    /// # Errors
    /// When it cannot be written; it is as it was then.
    pub(crate) fn replace(&self, text: &str) -> anyhow::Result<()> {
        let folder = self.path.parent().context("The file is in no folder.")?;
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        // One name, so that what a killed command left there is not left for long: it holds a secret.
        let beside = folder.join(format!(".{name}.tagalong"));
        let write = || -> std::io::Result<()> {
            match std::fs::remove_file(&beside) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let old = std::fs::metadata(&self.path)?;
            let mut fresh = File::options().write(true).create_new(true).mode(0o600).open(&beside)?;
            let now = fresh.metadata()?;
            if (now.uid(), now.gid()) != (old.uid(), old.gid()) {
                std::os::unix::fs::fchown(&fresh, Some(old.uid()), Some(old.gid()))?;
            }
            fresh.set_permissions(Permissions::from_mode(old.mode() & 0o7777))?;
            fresh.write_all(text.as_bytes())?;
            fresh.sync_all()?;
            std::fs::rename(&beside, &self.path)?;
            File::open(folder)?.sync_all()
        };
        write().inspect_err(|_| drop(std::fs::remove_file(&beside))).with_context(|| {
            let user = "run the command as root, or as a user that may write in the folder and owns the file";
            format!("{} cannot be replaced ({user})", self.path.display())
        })
    }
}
