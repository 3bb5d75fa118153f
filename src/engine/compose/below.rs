//! A folder below the stack's, open: whoever swaps a folder on the way for a link afterwards changes nothing about where it is.

use std::fs::File;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::fd::AsRawFd as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::CWD;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::mkdirat;
use rustix::fs::openat;
use rustix::io::Errno;

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// An open folder.
pub(super) struct Below(OwnedFd);

impl Below {
    /// The folder in which the file at `path` below `dir` is.
    ///
    /// # Errors
    /// Also when a folder on the way is a link, or `path` does not only go down.
    pub(super) fn open(dir: &Path, path: &Path) -> std::io::Result<Self> {
        Self::walk(dir, path, |_, _| Ok(()))
    }

    /// The same; missing folders are made.
    pub(super) fn made(dir: &Path, path: &Path) -> std::io::Result<Self> {
        Self::walk(dir, path, |folder, name| match mkdirat(folder, name, Mode::from_raw_mode(0o777)) {
            Err(error) if error != Errno::EXIST => Err(error),
            _ => Ok(()),
        })
    }

    fn walk(dir: &Path, path: &Path, before: impl Fn(&OwnedFd, &Path) -> Result<(), Errno>) -> std::io::Result<Self> {
        // The stack's folder itself is the operator's word, and may be a link.
        let mut folder = openat(CWD, dir, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        for part in path.parent().unwrap_or(Path::new("")).components() {
            let Component::Normal(name) = part else { return Err(ErrorKind::InvalidInput.into()) };
            before(&folder, Path::new(name))?;
            folder = openat(&folder, name, FOLDER, Mode::empty())?;
        }
        Ok(Self(folder))
    }

    /// A path to this very folder, while this value lives.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

/// The file at `path`, open for reading: no link is followed, and a pipe blocks nobody.
pub(super) fn plain_file(path: &Path) -> std::io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::Below;
    use super::plain_file;

    #[test]
    fn no_link_is_followed_then_or_later() {
        let place = tempfile::tempdir().unwrap();
        let [dir, outside] = ["dir", "outside"].map(|name| place.path().join(name));
        std::fs::create_dir(&outside).unwrap();
        std::fs::create_dir(&dir).unwrap();
        let folder = Below::made(&dir, Path::new("a/b/file")).unwrap();
        std::fs::rename(dir.join("a/b"), dir.join("moved")).unwrap();
        symlink(&outside, dir.join("a/b")).unwrap();
        std::fs::write(folder.path().join("file"), "x").unwrap();
        assert_eq!(std::fs::read_to_string(dir.join("moved/file")).unwrap(), "x");
        for path in ["a/b/file", "a/b/c/file", "../outside/file", "/etc/file"] {
            assert!(Below::open(&dir, Path::new(path)).is_err() && Below::made(&dir, Path::new(path)).is_err(), "{path}");
        }
        assert!(std::fs::read_dir(&outside).unwrap().next().is_none());
        symlink("moved/file", dir.join("link")).unwrap();
        assert!(plain_file(&dir.join("link")).is_err() && plain_file(&dir.join("moved/file")).is_ok());
    }
}
