//! The host's own proof that one at a time works in a folder: a lock file whose descriptor every child inherits as its
//! standard input, so that a child that outlives tagalong still holds it, and can be found by it.

use std::fs::File;
use std::fs::TryLockError;
use std::os::unix::fs::FileExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Pid;
use rustix::process::Signal;

const NAME: &str = ".tagalong.lock";
/// How often a taken lock is tried again.
const AGAIN: Duration = Duration::from_millis(20);

/// The lock of one folder, held until dropped and until every child that inherited it has ended.
#[derive(Debug)]
pub struct HostLock {
    file: Arc<File>,
}

/// A process that holds a folder's lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: i32,
    /// Its command line, shortened.
    pub command: String,
}

/// The lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The file cannot be made.
    #[error("The lock file {0} cannot be opened: {1}. tagalong must be able to write in that folder.")]
    File(PathBuf, #[source] std::io::Error),
    /// Somebody else has it.
    #[error("{0} is locked by {1}.")]
    Taken(PathBuf, String),
}

impl HostLock {
    /// Takes the lock of `dir`, waiting for it at most `patience`.
    ///
    /// # Errors
    /// When the file cannot be made, or somebody else still has the lock; the text names them.
    pub async fn take(dir: &Path, patience: Duration) -> Result<Self, LockError> {
        let path = dir.join(NAME);
        let file = open(&path)?;
        let until = tokio::time::Instant::now() + patience;
        while !tried(&file, &path)? {
            if tokio::time::Instant::now() >= until {
                return Err(LockError::Taken(dir.to_owned(), names(&holders(dir))));
            }
            tokio::time::sleep(AGAIN).await;
        }
        Ok(Self { file: Arc::new(file) })
    }

    /// Takes the lock that is the file `path`, waiting at most `patience` for a living owner. The children of an owner that
    /// has died are ended instead of being waited for: the file says who owns it, by process id and start time.
    ///
    /// # Errors
    /// When the file cannot be made, or somebody else still has the lock; the text names them.
    pub async fn take_over(path: &Path, patience: Duration) -> Result<Self, LockError> {
        let file = open(path)?;
        let until = tokio::time::Instant::now() + patience;
        let mut seen_dead = None;
        while !tried(&file, path)? {
            let owner = std::fs::read_to_string(path).unwrap_or_default();
            if is_alive(&owner) {
                seen_dead = None;
            } else if seen_dead.as_ref() == Some(&owner) {
                // Seen twice, because a new owner writes its name just after it has taken the lock.
                end(|| holders_of(path)).await;
            } else {
                seen_dead = Some(owner);
            }
            if tokio::time::Instant::now() >= until {
                return Err(LockError::Taken(path.to_owned(), names(&holders_of(path))));
            }
            tokio::time::sleep(AGAIN).await;
        }
        // Without its owner's name it is still a lock; only the death of its owner would go unseen.
        let _ = file.set_len(0).and_then(|()| file.write_all_at(identity(rustix::process::getpid()).unwrap_or_default().as_bytes(), 0));
        Ok(Self { file: Arc::new(file) })
    }

    /// The descriptor that children get as their standard input.
    #[must_use]
    pub fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }
}

fn open(path: &Path) -> Result<File, LockError> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false).open(path).map_err(|error| LockError::File(path.to_owned(), error))
}

fn tried(file: &File, path: &Path) -> Result<bool, LockError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(LockError::File(path.to_owned(), error)),
    }
}

/// `PID START`, where START tells a process from a later one of the same number; none when it has ended.
fn identity(pid: Pid) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name in brackets may hold anything; behind it stand the state and, 19 fields on, the start time.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let alive = !matches!(fields.next()?, "Z" | "X");
    alive.then(|| fields.nth(18).map(|start| format!("{} {start}", pid.as_raw_nonzero()))).flatten()
}

fn is_alive(owner: &str) -> bool {
    let pid = owner.split(' ').next().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
    pid.and_then(identity).is_some_and(|now| now == owner)
}

fn names(holders: &[Holder]) -> String {
    if holders.is_empty() {
        return "a process that cannot be seen from here".to_owned();
    }
    holders.iter().map(|holder| format!("process {} ({})", holder.pid, holder.command)).collect::<Vec<_>>().join(", ")
}

/// Every other process that has the lock file of `dir` open as its standard input, or is a tagalong that has it open.
#[must_use]
pub fn holders(dir: &Path) -> Vec<Holder> {
    holders_of(&dir.join(NAME))
}

/// The same for the lock that is the file `path`.
#[must_use]
pub fn holders_of(path: &Path) -> Vec<Holder> {
    let Ok(lock) = std::fs::metadata(path) else { return Vec::new() };
    let me = rustix::process::getpid().as_raw_nonzero().get();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| *pid != me && has_open(*pid, &lock)).map(|pid| Holder { pid, command: command_of(pid) }).collect()
}

fn has_open(pid: i32, lock: &std::fs::Metadata) -> bool {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    descriptors.filter_map(|entry| std::fs::metadata(entry.path()).ok()).any(|open| open.dev() == lock.dev() && open.ino() == lock.ino())
}

fn command_of(pid: i32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<String> = bytes.split(|b| *b == 0).filter(|w| !w.is_empty()).map(|w| String::from_utf8_lossy(w).into_owned()).collect();
    words.join(" ").chars().take(80).collect()
}

/// Ends what a killed tagalong has left behind in `dir`: every process group that still holds its lock. Returns how many
/// processes there were. A folder's lock held by another *living* tagalong is left alone.
pub async fn end_holders(dir: &Path) -> usize {
    end(|| holders(dir)).await
}

async fn end(holders: impl Fn() -> Vec<Holder>) -> usize {
    let mut seen = 0;
    for signal in [Signal::TERM, Signal::KILL, Signal::KILL] {
        let left: Vec<Holder> = holders().into_iter().filter(|holder| !is_tagalong(holder)).collect();
        if left.is_empty() {
            break;
        }
        seen = seen.max(left.len());
        for holder in &left {
            let Some(pid) = Pid::from_raw(holder.pid) else { continue };
            // A process that has gone meanwhile is what we want.
            let _ = match rustix::process::getpgid(Some(pid)) {
                Ok(group) => rustix::process::kill_process_group(group, signal),
                Err(error) => Err(error),
            };
        }
        for _ in 0..20 {
            if holders().iter().all(is_tagalong) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    seen
}

fn is_tagalong(holder: &Holder) -> bool {
    let program = std::fs::read_link(format!("/proc/{}/exe", holder.pid)).unwrap_or_default();
    let ours = std::fs::read_link("/proc/self/exe").unwrap_or_default();
    program == ours || program.file_name().is_some_and(|name| name.to_string_lossy().starts_with("tagalong"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    use super::HostLock;
    use super::end_holders;
    use super::holders;
    use crate::process;
    use crate::process::Cancel;
    use crate::process::Command;

    /// A child that outlives its parent holds the lock, is found by it, and is ended with what it started.
    #[tokio::test]
    async fn a_surviving_child_holds_the_lock_until_it_is_ended() {
        let dir = tempfile::tempdir().expect("a folder");
        let lock = HostLock::take(dir.path(), Duration::ZERO).await.expect("the lock");
        let command = Command {
            program: "sh".into(),
            // A shell gives its background children /dev/null unless told otherwise. A session of its own: it leaves the group, as a program that outlives a killed tagalong does.
            args: vec![
                "-c".into(),
                "exec 3<&0; setsid sh -c 'touch up; exec sleep 1000' <&3 & until [ -e up ]; do sleep 0.01; done".into(),
            ],
            env: BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into())]),
            dir: Some(dir.path().to_owned()),
            deadline: Duration::from_secs(10),
            mask: Arc::default(),
            lock: Some(lock.file()),
        };
        process::capture(&command, &Cancel::default()).await;
        drop(command);
        drop(lock);
        assert!(!holders(dir.path()).is_empty(), "the child holds it");
        assert!(HostLock::take(dir.path(), Duration::ZERO).await.is_err());
        assert!(end_holders(dir.path()).await >= 1);
        assert!(HostLock::take(dir.path(), Duration::from_secs(5)).await.is_ok());
    }
}
