//! A version that was asked for, and the files that answered.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// The programs that drive an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// As it says itself, `2.40.3`.
    pub version: String,
    /// A warning that this version is not tested; none: it is tested.
    pub note: Option<String>,
}

/// A version that was asked for, and the files that answered.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) files: Vec<FileTraits>,
    pub(super) version: Version,
}

/// What tells one file from another that takes its place: where it is, device, inode, size, and when it was written and changed.
/// No numbers: it is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileTraits(PathBuf, Option<[i128; 5]>);

impl FileTraits {
    /// Whether the file is there.
    pub(super) fn is_there(&self) -> bool {
        self.1.is_some()
    }
}

/// The traits of the file at `path` now.
pub(super) fn traits(path: PathBuf) -> FileTraits {
    let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    let numbers = std::fs::metadata(&path).ok().map(|file| {
        let written = nanoseconds(file.mtime(), file.mtime_nsec());
        let changed = nanoseconds(file.ctime(), file.ctime_nsec());
        [file.dev().into(), file.ino().into(), file.size().into(), written, changed]
    });
    FileTraits(path, numbers)
}
