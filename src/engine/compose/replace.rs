//! A file replaced as a whole, or not at all.

use std::ffi::OsStr;
use std::ffi::OsString;
use std::fs::File;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::Gid;
use rustix::fs::Uid;

use crate::clock;
use crate::engine::compose::below::Below;
use crate::engine::error::EngineError;
use crate::engine::right::Leave;
use crate::model::FileKind;
use crate::model::StackFile;

/// How the files begin that are written beside the one they will replace, and how many random characters follow.
const FRESH: (&str, usize) = (".tagalong-", 6);
/// Nobody writes one of them for longer.
const ABANDONED_AFTER_S: i64 = 60;

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
pub(super) fn replace(leave: &Leave, path: &Path, bytes: &[u8], mode: u32) -> Result<(), EngineError> {
    leave.still_holds()?;
    put(path, bytes, mode)
}

fn put(path: &Path, bytes: &[u8], mode: u32) -> Result<(), EngineError> {
    let path = &target(path)?;
    let folder = folder(path);
    let old = match std::fs::metadata(path) {
        Ok(old) => Some(old),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(EngineError::file("reading", path, error)),
    };
    sweep(&folder);
    let write = || -> std::io::Result<()> {
        let mut fresh = tempfile::Builder::new().prefix(FRESH.0).rand_bytes(FRESH.1).tempfile_in(&folder)?;
        fresh.write_all(bytes)?;
        like(fresh.as_file(), old.as_ref(), mode)?;
        fresh.as_file().sync_all()?;
        fresh.persist(path).map_err(|error| error.error)?;
        File::open(&folder)?.sync_all()
    };
    write().map_err(|source| with_advice("writing", path, source))
}

/// Removes what a process that was killed while it wrote left in `folder`: it may hold the secrets of an environment file.
fn sweep(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let random = name.to_str().and_then(|name| name.strip_prefix(FRESH.0)).unwrap_or_default();
        let is_fresh_name = random.len() == FRESH.1 && random.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let is_abandoned = |meta: &Metadata| meta.is_file() && clock::now_ms() / 1000 - meta.mtime() > ABANDONED_AFTER_S;
        if is_fresh_name && entry.metadata().is_ok_and(|meta| is_abandoned(&meta)) {
            // The next write tries again.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Removes `path`; it is no fault that it is gone already.
pub(super) fn remove(leave: &Leave, path: &Path) -> Result<(), EngineError> {
    leave.still_holds()?;
    take_away(path)
}

fn take_away(path: &Path) -> Result<(), EngineError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(with_advice("removing", path, error)),
        _ => File::open(folder(path)).and_then(|folder| folder.sync_all()).map_err(|error| EngineError::file("writing", path, error)),
    }
}

/// Puts `file` at `path` below `dir`, with the folders that it needs, as a whole or not at all. Here a symbolic link is replaced itself.
/// The owner of a file that is there is kept, and its mode but for the right to run it. A folder that is a link is not entered.
pub(super) fn put_below(leave: &Leave, dir: &Path, path: &str, file: &StackFile) -> Result<(), EngineError> {
    leave.still_holds()?;
    let below = Path::new(path);
    let write = || -> std::io::Result<()> {
        let holder = Below::made(dir, below)?;
        let folder = holder.path();
        let path = &folder.join(below.file_name().ok_or(ErrorKind::InvalidInput)?);
        sweep(&folder);
        let mut fresh = tempfile::Builder::new();
        fresh.prefix(FRESH.0).rand_bytes(FRESH.1);
        if file.mark.kind == FileKind::Link {
            let target = OsStr::from_bytes(&file.bytes);
            let link = fresh.make_in(&folder, |path| std::os::unix::fs::symlink(target, path))?;
            link.into_temp_path().persist(path).map_err(|error| error.error)?;
        } else {
            let old = std::fs::symlink_metadata(path).ok().filter(Metadata::is_file);
            let mut fresh = fresh.tempfile_in(&folder)?;
            fresh.write_all(&file.bytes)?;
            like(fresh.as_file(), old.as_ref(), 0o644)?;
            let mode = fresh.as_file().metadata()?.mode() & 0o7666;
            let runs = if file.mark.kind == FileKind::Program { (mode & 0o444) >> 2 } else { 0 };
            fresh.as_file().set_permissions(std::fs::Permissions::from_mode(mode | runs))?;
            fresh.as_file().sync_all()?;
            fresh.persist(path).map_err(|error| error.error)?;
        }
        File::open(&folder)?.sync_all()
    };
    write().map_err(|source| with_advice("writing", &dir.join(path), source))
}

/// Removes the file at `path` below `dir`, and the folders that are empty without it.
pub(super) fn take_out(leave: &Leave, dir: &Path, path: &str) -> Result<(), EngineError> {
    leave.still_holds()?;
    let inside = |path: &Path| Ok((Below::open(dir, path)?, path.file_name().ok_or(ErrorKind::InvalidInput)?.to_owned()));
    let removed = || -> std::io::Result<()> {
        let (holder, name) = inside(Path::new(path))?;
        std::fs::remove_file(holder.path().join(name))?;
        File::open(holder.path())?.sync_all()
    };
    match removed() {
        // Where a folder on the way is none any more, its file is gone as well.
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Err(with_advice("removing", &dir.join(path), error));
        }
        _ => {}
    }
    for folder in Path::new(path).ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()) {
        let emptied = |(holder, name): (Below, OsString)| std::fs::remove_dir(holder.path().join(name));
        // One that holds anything else stays.
        if inside(folder).and_then(emptied).is_err() {
            break;
        }
    }
    Ok(())
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
            ": the user that tagalong runs as must be able to write in {} and must own the file (its owner is kept); nothing was changed",
            folder.display()
        ),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => ": free some space on its file system; nothing was changed".to_owned(),
        ErrorKind::ReadOnlyFilesystem => ": mount its file system read-write; nothing was changed".to_owned(),
        ErrorKind::ResourceBusy => {
            format!(": a file that is mounted on its own cannot be replaced: mount the folder {} instead", folder.display())
        }
        _ => String::new(),
    };
    EngineError::File { doing, path: path.to_path_buf(), advice, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;
    use std::time::UNIX_EPOCH;

    use process::Cancel;
    use process::Command;
    use process::capture;

    use crate::clock;
    use crate::engine::compose::replace::put as replace;
    use crate::engine::compose::replace::read;
    use crate::engine::compose::replace::take_away as remove;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_killed_writer_left_is_removed_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let now = UNIX_EPOCH + Duration::from_millis(clock::now_ms() as u64);
        for name in [".tagalong-a1B2c3", ".tagalong-living", ".tagalong-notes", ".tagalong-recent", ".tagalong.lock", "web.env"] {
            let file = std::fs::File::create(dir.path().join(name)).unwrap();
            file.set_modified(if name.ends_with("recent") { now } else { now - Duration::from_mins(2) }).unwrap();
        }
        std::fs::create_dir(dir.path().join(".tagalong-folder")).unwrap();
        replace(&dir.path().join(".env"), b"new", 0o600).unwrap();
        let left = [".env", ".tagalong-folder", ".tagalong-notes", ".tagalong-recent", ".tagalong.lock", "web.env"];
        assert_eq!(names(dir.path()), left);
    }

    #[test]
    fn mode_and_owner_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".env");
        replace(&path, b"new", 0o600).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let owner = if rustix::process::geteuid().is_root() { 4242 } else { rustix::process::geteuid().as_raw() };
        std::os::unix::fs::chown(&path, Some(owner), None).unwrap();
        replace(&path, b"newer", 0o600).unwrap();
        let now = path.metadata().unwrap();
        assert_eq!((now.mode() & 0o7777, now.uid(), read(&path).unwrap()), (0o640, owner, Some(b"newer".to_vec())));
        assert_eq!(names(dir.path()), [".env"]);
    }

    #[test]
    fn a_link_stays_a_link() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("real")).unwrap();
        for (link, to) in [(".env", "second"), ("second", "real/env")] {
            std::os::unix::fs::symlink(to, dir.path().join(link)).unwrap();
        }
        for text in ["first", "again"] {
            replace(&dir.path().join(".env"), text.as_bytes(), 0o600).unwrap();
            assert_eq!(std::fs::read_to_string(dir.path().join("real/env")).unwrap(), text);
        }
        assert_eq!(std::fs::read_link(dir.path().join(".env")).unwrap(), Path::new("second"));
        std::os::unix::fs::symlink("loop", dir.path().join("loop")).unwrap();
        assert!(replace(&dir.path().join("loop"), b"", 0o600).is_err());
    }

    #[test]
    fn removing_twice_is_no_fault() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        replace(&path, b"", 0o644).unwrap();
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(read(&path).unwrap(), None);
    }

    /// `mount ARGS DIR`, undone with the value.
    struct Mount<'a>(&'a Path);

    impl<'a> Mount<'a> {
        fn new(args: &[&str], dir: &'a Path) -> Self {
            run("mount", &[args, &[dir.to_str().unwrap()]].concat()).expect("this test mounts a small file system and so runs as root");
            Self(dir)
        }
    }

    impl Drop for Mount<'_> {
        fn drop(&mut self) {
            let _ = run("umount", &[self.0.to_str().unwrap()]);
        }
    }

    fn run(program: &str, args: &[&str]) -> Result<String, String> {
        let command = Command {
            program: program.into(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: [("PATH".to_owned(), "/usr/bin:/bin:/usr/sbin:/sbin".to_owned())].into(),
            dir: None,
            deadline: Duration::from_mins(1),
            mask: Arc::default(),
            lock: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(capture(&command, &Cancel::default())).success()
    }

    #[test]
    fn a_full_or_read_only_disk_leaves_the_old_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let _mount = Mount::new(&["-t", "tmpfs", "-o", "size=64k", "none"], dir.path());
        let path = dir.path().join(".env");
        replace(&path, b"T=old\n", 0o600).unwrap();
        let error = replace(&path, &vec![b'x'; 100 << 10], 0o600).unwrap_err().to_string();
        assert!(error.contains(".env failed") && error.contains("free some space"), "{error}");
        assert_eq!((read(&path).unwrap(), names(dir.path())), (Some(b"T=old\n".to_vec()), vec![".env".to_owned()]));

        run("mount", &["-o", "remount,ro", dir.path().to_str().unwrap()]).unwrap();
        let error = replace(&path, b"T=new\n", 0o600).unwrap_err().to_string();
        assert!(error.contains("read-write; nothing was changed"), "{error}");
        assert_eq!(read(&path).unwrap(), Some(b"T=old\n".to_vec()));
    }

    #[test]
    fn a_file_that_is_mounted_by_itself_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join(".env"), dir.path().join("other"));
        std::fs::write(&path, "T=old\n").unwrap();
        std::fs::write(&other, "T=mounted\n").unwrap();
        let _mount = Mount::new(&["--bind", other.to_str().unwrap()], &path);
        let error = replace(&path, b"T=new\n", 0o600).unwrap_err().to_string();
        assert!(error.contains("mount the folder"), "{error}");
        assert_eq!((read(&path).unwrap(), names(dir.path())), (Some(b"T=mounted\n".to_vec()), vec![".env".to_owned(), "other".to_owned()]));
    }
}
