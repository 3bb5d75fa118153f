//! git's own locks in a repository. They are waited for while their owner may be alive, and removed when it is not.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use process::Cancel;

use crate::clock;
use crate::dataset::DatasetError;
use crate::dataset::beneath::Beneath;
use crate::dataset::git::Repo;

/// How long we wait for a git process that is alive.
const PATIENCE: Duration = Duration::from_mins(1);
/// How old a lock must be if no git process is found: its owner may be a library in another program.
const STALE_AFTER_MS: i64 = 5_000;
const STALE_AFTER: Duration = Duration::from_millis(STALE_AFTER_MS as u64);
/// After so long without a look, a lock of the same name is considered a new one.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(1);
/// The content of our own lock files. Only one tagalong at a time works on a dataset, so a lock file with this content has no
/// owner.
const OURS: &str = "tagalong\n";

/// The repository's `index.lock`, held until dropped.
#[derive(Debug)]
pub(super) struct IndexLock(Beneath);

/// Its name.
const INDEX_LOCK: &str = "index.lock";

impl IndexLock {
    pub(super) async fn take(repo: &Repo, cancel: &Cancel) -> Result<Self, DatasetError> {
        let path = repo.git_dir.join(INDEX_LOCK);
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let files = repo.files()?;
            match files.create(INDEX_LOCK) {
                Ok(mut file) => {
                    let lock = Self(files);
                    return file.write_all(OURS.as_bytes()).map(|()| lock).map_err(|error| DatasetError::File(path, error));
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(DatasetError::File(path, error)),
            }
            if is_stale(repo, &files, Path::new(INDEX_LOCK)) {
                remove(&files, Path::new(INDEX_LOCK));
                continue;
            }
            if cancel.is_cancelled() {
                return Err(DatasetError::Cancelled);
            }
            if tokio::time::Instant::now() >= until {
                return Err(DatasetError::Busy(path, at_work(repo).unwrap_or_else(|| "its process is not visible from here".to_owned())));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for IndexLock {
    fn drop(&mut self) {
        remove(&self.0, Path::new(INDEX_LOCK));
    }
}

impl Repo {
    /// Removes the locks of git processes that were killed, and incomplete packs of killed fetches; waits for locks of living
    /// processes.
    pub(super) async fn unlock(&self, cancel: &Cancel) -> Result<bool, DatasetError> {
        let until = tokio::time::Instant::now() + PATIENCE;
        let mut removed = false;
        let files = self.files()?;
        loop {
            let mut held = None;
            for path in lock_files(&files) {
                if is_stale(self, &files, &path) {
                    remove(&files, &path);
                    removed = true;
                } else {
                    held = Some(self.git_dir.join(path));
                }
            }
            let Some(path) = held else { break };
            if cancel.is_cancelled() {
                return Err(DatasetError::Cancelled);
            }
            if tokio::time::Instant::now() >= until {
                return Err(DatasetError::Busy(path, at_work(self).unwrap_or_else(|| "its process is not visible from here".to_owned())));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.sweep();
        Ok(removed)
    }

    /// Removes incomplete files of a killed git, if no git is running.
    pub(super) fn sweep(&self) {
        let Ok(files) = self.files() else { return };
        let objects = Path::new("objects");
        let folders = files.names(objects).unwrap_or_default().into_iter().map(|name| objects.join(name));
        let begun: Vec<PathBuf> = folders
            .flat_map(|folder| {
                let inside: Vec<PathBuf> = files.names(&folder).unwrap_or_default().iter().map(|name| folder.join(name)).collect();
                inside.into_iter().chain([folder])
            })
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("tmp_")))
            .collect();
        if begun.is_empty() || at_work(self).is_some() {
            return;
        }
        for path in begun {
            // A later sweep removes the rest.
            let _ = files.remove_all(&path);
        }
    }
}

/// Every lock in the checkout's git folder, by its path in that folder.
fn lock_files(files: &Beneath) -> Vec<PathBuf> {
    let folders = [("", 0), ("refs", 8), ("objects/info", 8), ("reftable", 8), ("logs/refs", 8)];
    folders.into_iter().flat_map(|(folder, depth)| locks_in(files, Path::new(folder), depth)).collect()
}

fn locks_in(files: &Beneath, folder: &Path, depth: usize) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in files.names(folder).unwrap_or_default().into_iter().map(|name| folder.join(name)) {
        match files.meta(&path) {
            Ok(meta) if meta.is_dir() && depth > 0 => found.extend(locks_in(files, &path, depth - 1)),
            Ok(meta) if meta.is_file() && path.extension().is_some_and(|ending| ending == "lock") => found.push(path),
            _ => {}
        }
    }
    found
}

fn is_stale(repo: &Repo, files: &Beneath, path: &Path) -> bool {
    let Ok(meta) = files.meta(path) else { return false };
    // git creates a plain file; a link or a pipe of that name is not a lock.
    if !meta.is_file() && !meta.is_dir() {
        return true;
    }
    if files.read(path).is_ok_and(|bytes| bytes == OURS.as_bytes()) {
        return true;
    }
    let Ok(made) = meta.modified() else { return false };
    let made_ms = made.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    // A time in the future says nothing about the age, because a clock was wrong. Such a lock is judged by how long we have
    // seen it.
    let age_ms = clock::now_ms() - made_ms;
    let is_old = if age_ms < 0 { seen_for(&meta) > STALE_AFTER } else { age_ms > STALE_AFTER_MS };
    is_old && at_work(repo).is_none()
}

/// When a file was last examined.
struct Seen {
    first: Instant,
    last: Instant,
}

/// How long a file has been unchanged since this process first saw it.
fn seen_for(meta: &Metadata) -> Duration {
    static SEEN: Mutex<BTreeMap<(u64, u64, i64), Seen>> = Mutex::new(BTreeMap::new());
    let now = Instant::now();
    let mut all = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|_, seen| now - seen.last < FORGOTTEN_AFTER);
    let seen = all.entry((meta.dev(), meta.ino(), meta.ctime())).or_insert(Seen { first: now, last: now });
    seen.last = now;
    now - seen.first
}

fn remove(files: &Beneath, path: &Path) {
    // If it is gone already, that is what we want.
    let _ = files.remove(path);
}

/// Somebody else's git process that works in this repository, as far as its folder, its open files or its arguments show.
fn at_work(repo: &Repo) -> Option<String> {
    let places: Vec<PathBuf> = [Some(&repo.git_dir), Some(&repo.own.git), repo.work.as_ref()]
        .into_iter()
        .flatten()
        .filter_map(|dir| dir.canonicalize().ok())
        .collect();
    let me = rustix::process::getpid().as_raw_nonzero().get();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()).filter(|pid| *pid != me) {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<String> = command.split(|b| *b == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        let name = words.first().and_then(|program| program.rsplit('/').next()).unwrap_or_default();
        if !name.starts_with("git") {
            continue;
        }
        let links = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten().map(|entry| entry.path());
        let here = links.chain([PathBuf::from(format!("/proc/{pid}/cwd"))]).filter_map(|link| std::fs::read_link(link).ok());
        if here.into_iter().any(|open| places.iter().any(|place| open.starts_with(place))) {
            return Some(format!("process {pid}, {}", words.join(" ").trim_end().chars().take(80).collect::<String>()));
        }
    }
    None
}
