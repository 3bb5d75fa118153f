//! Folders for what is needed only for a moment: the login of a pull, the profile of a browser. A process that is killed removes
//! nothing, so each of them is locked by anybody who has it: one whose lock is free was left behind, and is removed by the next who
//! comes to the same place.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

/// How the names begin. Nothing else is ever removed.
const PREFIX: &str = "tagalong-passing-";
/// How they begin before the lock is held.
const FRESH: &str = "tagalong-fresh-";
/// A process that is being killed may still finish making a file.
const TRIES: u32 = 200;
/// How soon removing is tried again.
const AGAIN: Duration = Duration::from_millis(4);

/// A folder that nobody else may enter, gone with this value.
#[derive(Debug)]
pub struct Passing {
    path: PathBuf,
    /// No child inherits it: what a child leaves is not needed any more either.
    _lock: File,
}

impl Passing {
    /// One in the folder `place`. What killed processes left there is gone afterwards.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn within(place: &Path) -> io::Result<Self> {
        remove_left_behind(place);
        let private = std::fs::Permissions::from_mode(0o700);
        let fresh = tempfile::Builder::new().prefix(FRESH).permissions(private).tempdir_in(place)?;
        let lock = File::open(fresh.path())?;
        lock.try_lock()?;
        // Under this name others look for it, and it is locked by now.
        let path = place.join(fresh.path().file_name().unwrap_or_default().to_string_lossy().replacen(FRESH, PREFIX, 1));
        std::fs::rename(fresh.keep(), &path)?;
        Ok(Self { path, _lock: lock })
    }

    /// One in the system's folder for temporary files: for what is no secret, or has no other place.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn anywhere() -> io::Result<Self> {
        Self::within(&std::env::temp_dir())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        for _ in 0..TRIES {
            match std::fs::remove_dir_all(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => std::thread::sleep(AGAIN),
                _ => return,
            }
        }
    }
}

/// Removes what processes that were killed left in `place` and in the system's folder for temporary files.
pub fn remove_passing(place: &Path) {
    remove_left_behind(place);
    remove_left_behind(&std::env::temp_dir());
}

/// Others may write in the system's folder: only what is our own user's is looked at.
fn remove_left_behind(place: &Path) {
    let mine = rustix::process::geteuid().as_raw();
    for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && std::fs::symlink_metadata(entry.path()).is_ok_and(|meta| meta.is_dir() && meta.uid() == mine);
        if is_ours
            && let Ok(folder) = File::open(entry.path())
            && folder.try_lock().is_ok()
        {
            // Somebody else may remove it at the same time; what stays is tried again by anybody who comes next.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::Passing;
    use super::remove_left_behind;

    #[test]
    fn what_is_in_use_stays_and_what_was_left_behind_goes() {
        let place = tempfile::tempdir().expect("a folder");
        let place = place.path();
        let used = Passing::within(place).expect("a folder");
        assert_eq!(std::fs::metadata(used.path()).expect("it is there").permissions().mode() & 0o777, 0o700);
        let (left, other) = (place.join("tagalong-passing-left"), place.join("somebody-elses"));
        for folder in [&left, &other] {
            std::fs::create_dir(folder).expect("a folder");
            std::fs::write(folder.join("config.json"), "x").expect("a file");
        }
        std::os::unix::fs::symlink(&other, place.join("tagalong-passing-link")).expect("a link");
        remove_left_behind(place);
        assert!(used.path().is_dir() && other.join("config.json").exists());
        assert!(!left.exists(), "nobody holds it");
        let path = used.path().to_owned();
        std::fs::write(path.join("a"), "x").expect("a file");
        drop(used);
        assert!(!path.exists(), "it goes with the value");
    }
}
