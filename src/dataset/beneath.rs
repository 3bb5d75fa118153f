//! Files in a folder that others write too. No link on the way is followed, only plain files are read, and a write creates a
//! new file that takes over the name. So a link, a pipe or a device that somebody puts there leads nowhere and blocks nobody.

use std::ffi::OsStr;
use std::ffi::OsString;
use std::fs::File;
use std::fs::Metadata;
use std::io::Read as _;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::Access;
use rustix::fs::AtFlags;
use rustix::fs::CWD;
use rustix::fs::Mode;
use rustix::fs::OFlags;

use crate::clock;

/// Nothing that is read here is larger, except an index.
pub(super) const MOST_BYTES: u64 = 256 << 20;
const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// A pipe without a writer must not block the reader.
const PLAIN: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// An open folder.
#[derive(Debug)]
pub(super) struct Beneath(OwnedFd);

impl Beneath {
    /// The folder at `path`, whose last component must not be a link.
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        Ok(Self(rustix::fs::openat(CWD, path, FOLDER, Mode::empty())?))
    }

    /// The folder that `path` leads to: for folders of the configuration, which may be links.
    pub(super) fn open_real(path: &Path) -> std::io::Result<Self> {
        Self::open(&path.canonicalize()?)
    }

    /// The folder at `path` below this one.
    pub(super) fn at(&self, path: &Path) -> std::io::Result<Self> {
        let mut folder = self.0.try_clone()?;
        for part in parts(path)? {
            folder = rustix::fs::openat(&folder, part, FOLDER, Mode::empty())?;
        }
        Ok(Self(folder))
    }

    /// The same; missing folders are created.
    pub(super) fn made(&self, path: &Path) -> std::io::Result<Self> {
        let mut folder = self.0.try_clone()?;
        for part in parts(path)? {
            match rustix::fs::mkdirat(&folder, part, Mode::from_raw_mode(0o777)) {
                Err(rustix::io::Errno::EXIST) | Ok(()) => {}
                Err(error) => return Err(error.into()),
            }
            folder = rustix::fs::openat(&folder, part, FOLDER, Mode::empty())?;
        }
        Ok(Self(folder))
    }

    /// The folder that contains `path`, and the name in that folder.
    fn holder<'a>(&self, path: &'a Path) -> std::io::Result<(Self, &'a OsStr)> {
        let name = path.file_name().ok_or(std::io::ErrorKind::InvalidInput)?;
        Ok((self.at(path.parent().unwrap_or(Path::new("")))?, name))
    }

    /// A plain file, opened for reading.
    pub(super) fn file(&self, path: impl AsRef<Path>) -> std::io::Result<File> {
        let (folder, name) = self.holder(path.as_ref())?;
        let file = File::from(rustix::fs::openat(&folder.0, name, PLAIN, Mode::empty())?);
        if file.metadata()?.is_file() { Ok(file) } else { Err(std::io::Error::other("it is not a regular file")) }
    }

    pub(super) fn read(&self, path: impl AsRef<Path>) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file(path)?.take(MOST_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn text(&self, path: impl AsRef<Path>) -> std::io::Result<String> {
        self.read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Whether anything has that name.
    pub(super) fn has(&self, path: impl AsRef<Path>) -> bool {
        self.holder(path.as_ref()).is_ok_and(|(folder, name)| rustix::fs::statat(&folder.0, name, AtFlags::SYMLINK_NOFOLLOW).is_ok())
    }

    /// The metadata of that name; a link is not followed.
    pub(super) fn meta(&self, path: impl AsRef<Path>) -> std::io::Result<Metadata> {
        let (folder, name) = self.holder(path.as_ref())?;
        folder.path().join(name).symlink_metadata()
    }

    pub(super) fn is_folder(&self, path: impl AsRef<Path>) -> bool {
        self.meta(path).is_ok_and(|meta| meta.is_dir())
    }

    /// Whether the file of that name may be read.
    pub(super) fn is_readable(&self, path: impl AsRef<Path>) -> bool {
        let may = |(folder, name): (Self, &OsStr)| rustix::fs::accessat(&folder.0, name, Access::READ_OK, AtFlags::empty()).is_ok();
        self.holder(path.as_ref()).is_ok_and(may)
    }

    /// The names in the folder at `path`.
    pub(super) fn names(&self, path: impl AsRef<Path>) -> std::io::Result<Vec<OsString>> {
        let folder = self.at(path.as_ref())?;
        std::fs::read_dir(folder.path())?.map(|entry| entry.map(|entry| entry.file_name())).collect()
    }

    /// Creates the folder `path`, whose parent must exist.
    pub(super) fn make_folder(&self, path: impl AsRef<Path>) -> std::io::Result<()> {
        let (folder, name) = self.holder(path.as_ref())?;
        Ok(rustix::fs::mkdirat(&folder.0, name, Mode::from_raw_mode(0o777))?)
    }

    /// Moves `from` to `to` below another folder; a link is moved as a link.
    pub(super) fn move_to(&self, from: &Path, other: &Self, to: &Path) -> std::io::Result<()> {
        let ((old, from), (new, to)) = (self.holder(from)?, other.holder(to)?);
        Ok(rustix::fs::renameat(&old.0, from, &new.0, to)?)
    }

    /// Creates a file that must not exist yet, as git does for its locks.
    pub(super) fn create(&self, path: impl AsRef<Path>) -> std::io::Result<File> {
        let (folder, name) = self.holder(path.as_ref())?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(&folder.0, name, flags, Mode::from_raw_mode(0o666))?))
    }

    /// Writes `bytes` as a new file, in one step.
    pub(super) fn write(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        let (folder, name) = self.holder(path.as_ref())?;
        folder.write_in_place(name, |file| file.write_all(bytes.as_ref()))
    }

    /// Copies the plain file `from` to `to` below another folder, and keeps its time.
    pub(super) fn copy_to(&self, from: &Path, other: &Self, to: &Path) -> std::io::Result<()> {
        let mut old = self.file(from)?;
        let (folder, name) = other.holder(to)?;
        folder.write_in_place(name, |new| {
            std::io::copy(&mut old, new)?;
            new.set_modified(old.metadata()?.modified()?)
        })
    }

    /// Creates a hard link `to` to `from` below another folder; a link is not followed.
    pub(super) fn link_to(&self, from: &Path, other: &Self, to: &Path) -> std::io::Result<()> {
        let ((old, from), (new, to)) = (self.holder(from)?, other.holder(to)?);
        Ok(rustix::fs::linkat(&old.0, from, &new.0, to, AtFlags::empty())?)
    }

    /// Moves our file `from` to `path`: from another file system as a copy with its time, which is on disk when this returns.
    pub(super) fn bring(&self, from: &Path, path: impl AsRef<Path>) -> std::io::Result<()> {
        let (folder, name) = self.holder(path.as_ref())?;
        match rustix::fs::renameat(CWD, from, &folder.0, name) {
            Err(rustix::io::Errno::XDEV) => {}
            moved => return Ok(moved?),
        }
        folder.write_in_place(name, |to| {
            let mut old = File::open(from)?;
            std::io::copy(&mut old, to)?;
            to.set_permissions(old.metadata()?.permissions())?;
            to.set_modified(old.metadata()?.modified()?)?;
            to.sync_all()
        })?;
        std::fs::remove_file(from)
    }

    fn write_in_place(&self, name: &OsStr, fill: impl FnOnce(&mut File) -> std::io::Result<()>) -> std::io::Result<()> {
        let new = format!(".tagalong-{}", clock::new_id());
        let done = self.create(&new).and_then(|mut file| fill(&mut file)).and_then(|()| self.rename(Path::new(&new), Path::new(name)));
        if done.is_err() {
            // A person will find it when tidying up; nothing reads it.
            let _ = self.remove(&new);
        }
        done
    }

    /// Appends to a plain file that has no second name (which could be outside); a missing file is created.
    pub(super) fn append(&self, path: impl AsRef<Path>, bytes: &[u8]) -> std::io::Result<()> {
        let path = path.as_ref();
        let folder = self.made(path.parent().unwrap_or(Path::new("")))?;
        let name = path.file_name().unwrap_or_default();
        let flags = PLAIN | OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE;
        let mut file = File::from(rustix::fs::openat(&folder.0, name, flags, Mode::from_raw_mode(0o666))?);
        let meta = file.metadata()?;
        if !meta.is_file() || meta.nlink() != 1 {
            return Err(std::io::Error::other("it is not a regular file with a single hard link"));
        }
        file.write_all(bytes)
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        self.move_to(from, self, to)
    }

    /// Removes a file, or a link itself.
    pub(super) fn remove(&self, path: impl AsRef<Path>) -> std::io::Result<()> {
        let (folder, name) = self.holder(path.as_ref())?;
        Ok(rustix::fs::unlinkat(&folder.0, name, AtFlags::empty())?)
    }

    /// Removes that name and everything in it; a link is not followed. It is no error if there is nothing.
    pub(super) fn remove_all(&self, path: impl AsRef<Path>) -> std::io::Result<()> {
        let (folder, name) = match self.holder(path.as_ref()) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        match rustix::fs::unlinkat(&folder.0, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => return Ok(()),
            Err(rustix::io::Errno::ISDIR | rustix::io::Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
        // This goes through the open folder: the library follows no link below it.
        match std::fs::remove_dir_all(folder.path().join(name)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// The target of the link of that name.
    pub(super) fn link_target(&self, path: impl AsRef<Path>) -> std::io::Result<Vec<u8>> {
        let (folder, name) = self.holder(path.as_ref())?;
        Ok(rustix::fs::readlinkat(&folder.0, name, Vec::new())?.into_bytes())
    }

    /// Removes the folder at `path` and its subfolders if they are empty.
    pub(super) fn remove_empty(&self, path: &Path) {
        for name in self.names(path).unwrap_or_default().iter().filter(|name| self.is_folder(path.join(name))) {
            self.remove_empty(&path.join(name));
        }
        // A folder that is not empty stays.
        let _ = self.holder(path).map(|(folder, name)| rustix::fs::unlinkat(&folder.0, name, AtFlags::REMOVEDIR));
    }

    /// The folder itself, for confining git to it.
    pub(super) fn into_folder(self) -> OwnedFd {
        self.0
    }

    /// A path that leads to this very folder, even if its name changes.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

/// The components of a path that only goes down.
fn parts(path: &Path) -> std::io::Result<Vec<&OsStr>> {
    let part = |component| match component {
        Component::Normal(part) => Ok(part),
        _ => Err(std::io::Error::from(std::io::ErrorKind::InvalidInput)),
    };
    path.components().map(part).collect()
}

/// Whether git would ever check out something at `path`, which comes from an index or a tree that somebody may have written by
/// hand: git's own rule (`verify_path`). Any other path leads out of the work tree or into a git folder.
pub(super) fn stays_below(path: &[u8]) -> bool {
    let part = |part: &[u8]| !matches!(part, b"" | b"." | b"..") && !part.eq_ignore_ascii_case(b".git") && !part.contains(&0);
    path.split(|b| *b == b'/').all(part)
}

/// Creates the folder `path`, whose parent must exist. Anything of that name that is not a folder is refused.
pub(super) fn plain_folder(path: &Path) -> std::io::Result<()> {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    Beneath::open(path).map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::Beneath;

    #[test]
    fn links_pipes_and_second_names_lead_nowhere() {
        let place = tempfile::tempdir().expect("a folder");
        let (inside, outside) = (place.path().join("in"), place.path().join("out"));
        for folder in [&inside, &outside] {
            std::fs::create_dir(folder).expect("a folder");
        }
        std::fs::write(outside.join("precious"), "p").expect("a file");
        symlink(&outside, inside.join("folder")).expect("a link");
        symlink(outside.join("precious"), inside.join("file")).expect("a link");
        std::fs::hard_link(outside.join("precious"), inside.join("twin")).expect("a link");
        rustix::fs::mknodat(rustix::fs::CWD, inside.join("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a pipe");
        let here = Beneath::open(&inside).expect("a folder");
        for path in ["file", "pipe", "folder/precious", "../out/precious"] {
            assert!(here.read(path).is_err(), "{path}");
        }
        assert!(here.write("folder/new", "x").is_err() && here.append("twin", b"x").is_err() && here.append("file", b"x").is_err());
        here.write("twin", "x").expect("a new file");
        here.write("file", "x").expect("a new file");
        here.remove_all("folder").expect("the link goes");
        assert!(here.at(Path::new("folder")).is_err());
        assert_eq!(std::fs::read_to_string(outside.join("precious")).expect("it is there"), "p");
        assert_eq!((here.text("twin").expect("a file"), here.text("file").expect("a file")), ("x".to_owned(), "x".to_owned()));
    }

    #[test]
    fn what_git_would_not_check_out_is_no_path() {
        for path in ["a", "a/b.git", ".gitignore", "..a/b..", "a/.github"] {
            assert!(super::stays_below(path.as_bytes()), "{path}");
        }
        for path in ["", "/a", "a/", "a//b", "../a", "a/../b", "./a", ".git", "a/.GIT/config", "a/.."] {
            assert!(!super::stays_below(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn a_folder_goes_with_everything_in_it() {
        let place = tempfile::tempdir().expect("a folder");
        let here = Beneath::open(place.path()).expect("a folder");
        here.made(Path::new("a/b")).expect("folders").write("c", "d").expect("a file");
        here.append("a/log/x", b"1").and_then(|()| here.append("a/log/x", b"2")).expect("a file");
        assert_eq!(here.text("a/log/x").expect("a file"), "12");
        here.remove_all("a").expect("it goes");
        here.remove_all("a").expect("it is gone");
        assert!(!here.has("a"));
    }
}
