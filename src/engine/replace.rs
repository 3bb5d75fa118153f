//! A file replaced as a whole, or not at all.

use std::fs::File;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::Gid;
use rustix::fs::Uid;

use crate::engine::error::EngineError;

/// The bytes of `path`, and none where there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, EngineError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(EngineError::file("reading", path, error)),
    }
}

/// Puts `bytes` into `path`. A reader sees the old bytes or the new ones, never a part, also after a power cut. Mode and
/// owner of a file that is there are kept; a new one gets `mode`. A symbolic link stays one: its target is replaced.
pub(super) fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), EngineError> {
    let path = &target(path)?;
    let folder = folder(path);
    let old = match std::fs::metadata(path) {
        Ok(old) => Some(old),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(EngineError::file("reading", path, error)),
    };
    let write = || -> std::io::Result<()> {
        let mut fresh = tempfile::Builder::new().prefix(".tagalong-").tempfile_in(&folder)?;
        fresh.write_all(bytes)?;
        like(fresh.as_file(), old.as_ref(), mode)?;
        fresh.as_file().sync_all()?;
        fresh.persist(path).map_err(|error| error.error)?;
        File::open(&folder)?.sync_all()
    };
    write().map_err(|source| with_advice("writing", path, source))
}

/// Removes `path`; it is no fault that it is gone already.
pub(super) fn remove(path: &Path) -> Result<(), EngineError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(with_advice("removing", path, error)),
        _ => File::open(folder(path)).and_then(|folder| folder.sync_all()).map_err(|error| EngineError::file("writing", path, error)),
    }
}

fn folder(path: &Path) -> PathBuf {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Where a symbolic link leads, also when nothing is there yet.
fn target(path: &Path) -> Result<PathBuf, EngineError> {
    let mut path = path.to_path_buf();
    for _ in 0..40 {
        match std::fs::read_link(&path) {
            Ok(link) => path = folder(&path).join(link),
            Err(_) => return Ok(path),
        }
    }
    Err(EngineError::file("writing", path, std::io::Error::from(ErrorKind::TooManyLinks)))
}

fn like(fresh: &File, old: Option<&Metadata>, mode: u32) -> std::io::Result<()> {
    let Some(old) = old else {
        return fresh.set_permissions(std::fs::Permissions::from_mode(mode));
    };
    let now = fresh.metadata()?;
    if (now.uid(), now.gid()) != (old.uid(), old.gid()) {
        rustix::fs::fchown(fresh, Some(Uid::from_raw(old.uid())), Some(Gid::from_raw(old.gid())))?;
    }
    // After the owner: a change of owner takes special bits away.
    fresh.set_permissions(std::fs::Permissions::from_mode(old.mode() & 0o7777))
}

fn with_advice(doing: &'static str, path: &Path, source: std::io::Error) -> EngineError {
    let folder = folder(path);
    let advice = match source.kind() {
        ErrorKind::PermissionDenied => format!(
            ": let the user that tagalong runs as write in {} and own the file (its owner is kept); nothing was changed",
            folder.display()
        ),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => ": make room on its file system; nothing was changed".to_owned(),
        ErrorKind::ReadOnlyFilesystem => ": mount its file system for writing; nothing was changed".to_owned(),
        ErrorKind::ResourceBusy => {
            format!(": a file that is mounted by itself cannot be replaced: mount the folder {} instead", folder.display())
        }
        _ => String::new(),
    };
    EngineError::File { doing, path: path.to_path_buf(), advice, source }
}
