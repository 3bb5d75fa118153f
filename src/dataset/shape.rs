//! Examines a checkout's git folder before git uses it: it must consist of plain files and folders. A link leads out of it, a
//! pipe blocks anybody who opens it, and a device is worse.

use std::ffi::OsString;
use std::fs::FileType;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::path::PathBuf;

use crate::dataset::DatasetError;
use crate::dataset::own;

/// The parts of a git folder that are borrowed or read, and how deep their folders are examined.
const BORROWED: &[(&str, usize)] = &[
    ("HEAD", 0),
    ("config", 0),
    ("index", 0),
    ("packed-refs", 0),
    ("shallow", 0),
    ("refs", usize::MAX),
    ("reftable", 0),
    ("logs", usize::MAX),
    ("info", 0),
    ("objects/pack", 0),
    ("objects/info/commit-graphs", 0),
    ("tagalong", usize::MAX),
    ("worktrees", usize::MAX),
    ("FETCH_HEAD", 0),
];

/// The result of the examination.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// Parts of a split index.
    pub(super) split: Vec<OsString>,
    /// Whether all folders of loose objects exist.
    pub(super) has_fans: bool,
}

/// Examines everything in `git_dir` that git will see or that we read.
///
/// # Errors
/// When something is neither a plain file nor a folder; the message names it.
pub(super) fn read_shape(git_dir: &Path) -> Result<Shape, DatasetError> {
    let mut shape = Shape::default();
    for (name, kind) in entries(git_dir)? {
        if name.as_bytes().starts_with(b"sharedindex.") {
            plain(&git_dir.join(&name), kind)?;
            shape.split.push(name);
        }
    }
    for (name, depth) in BORROWED {
        let path = git_dir.join(name);
        if let Some(kind) = kind_of(&path)? {
            plain(&path, kind)?;
            if kind.is_dir() {
                below(&path, *depth)?;
            }
        }
    }
    for name in ["objects", "objects/info", "objects/info/commit-graph"] {
        if let Some(kind) = kind_of(&git_dir.join(name))? {
            plain(&git_dir.join(name), kind)?;
        }
    }
    shape.has_fans = kind_of(&git_dir.join("objects/info/commit-graphs"))?.is_some();
    for fan in own::fans() {
        let path = git_dir.join("objects").join(fan);
        match kind_of(&path)? {
            Some(kind) => {
                plain(&path, kind)?;
                below(&path, 0)?;
            }
            None => shape.has_fans = false,
        }
    }
    Ok(shape)
}

fn below(folder: &Path, depth: usize) -> Result<(), DatasetError> {
    for (name, kind) in entries(folder)? {
        plain(&folder.join(&name), kind)?;
        if kind.is_dir() && depth > 0 {
            below(&folder.join(&name), depth - 1)?;
        }
    }
    Ok(())
}

fn plain(path: &Path, kind: FileType) -> Result<(), DatasetError> {
    if kind.is_file() || kind.is_dir() { Ok(()) } else { Err(DatasetError::NotPlain(path.to_owned(), word(kind))) }
}

/// A word for something that is not a plain file.
pub(super) fn word(kind: FileType) -> &'static str {
    match kind {
        _ if kind.is_symlink() => "a symbolic link",
        _ if kind.is_fifo() => "a named pipe",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    }
}

fn entries(folder: &Path) -> Result<Vec<(OsString, FileType)>, DatasetError> {
    let error = |error| DatasetError::File(folder.to_owned(), error);
    let listed = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(error)?,
    };
    let mut found = Vec::new();
    for entry in listed {
        let entry = entry.map_err(error)?;
        // A file that disappeared meanwhile, perhaps a lock, does not count.
        if let Ok(kind) = entry.file_type() {
            found.push((entry.file_name(), kind));
        }
    }
    Ok(found)
}

fn kind_of(path: &Path) -> Result<Option<FileType>, DatasetError> {
    match path.symlink_metadata() {
        Ok(meta) => Ok(Some(meta.file_type())),
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(DatasetError::File(PathBuf::from(path), error)),
    }
}

/// Every plain file below `dir`.
pub(super) fn files_below(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found
}
