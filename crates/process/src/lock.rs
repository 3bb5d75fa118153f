//! The host's own proof that one at a time works in a folder: a lock file whose descriptor every child inherits as its
//! standard input, so that a child that outlives tagalong still holds it, and can be found by it.

use std::fs::File;
use std::fs::Permissions;
use std::fs::TryLockError;
use std::os::unix::fs::FileExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Pid;
use rustix::process::Signal;

use crate::other::identity;

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
    /// Whether this process took the lock and handed it down.
    pub is_ours: bool,
}

/// The lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The file cannot be made.
    #[error("The lock file {0} cannot be opened: {1}. tagalong needs permission to write to that folder.")]
    File(PathBuf, #[source] std::io::Error),
    /// Somebody else has it.
    #[error("{0} is locked by {1}.")]
    Taken(PathBuf, String),
}

impl HostLock {
    /// Takes the lock of `dir` for `work`, waiting for it at most `patience`. From then on the file says who has it and for what
    /// ([`end_left_behind`] reads it).
    ///
    /// # Errors
    /// When the file cannot be made, or somebody else still has the lock; the text names them.
    pub async fn take(dir: &Path, work: &str, patience: Duration) -> Result<Self, LockError> {
        let path = dir.join(NAME);
        let mut file = open(&path)?;
        let until = tokio::time::Instant::now() + patience;
        loop {
            let is_had = tried(&file, &path)?;
            if !stands_at(&file, &path) {
                // Another file took its place ([`HostLock::take_from_stopped`]), and is the lock now.
                file = open(&path)?;
                continue;
            }
            if is_had {
                return Ok(Self::taken(file, work));
            }
            if tokio::time::Instant::now() >= until {
                return Err(LockError::Taken(dir.to_owned(), names(&holders(dir))));
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Takes the lock of `dir` for `work` from another tagalong that has it for this very work and was stopped, so that it does not let
    /// go. What it has started is ended, and another file takes the place of the one that it holds. None where nobody has it so, or
    /// where what was started cannot be ended.
    ///
    /// It must be certain that the other starts nothing more for this work, whenever it goes on.
    ///
    /// # Errors
    /// When the new file cannot be made.
    pub async fn take_from_stopped(dir: &Path, work: &str) -> Result<Option<Self>, LockError> {
        let path = dir.join(NAME);
        let owner = Owner::read(&path);
        if owner.work != work || !owner.is_stopped() || owner.is_me() {
            return Ok(None);
        }
        let is_its = |(pid, taker): &(i32, i32)| *pid != owner.pid && *pid != my_pid() && [owner.pid, 0].contains(taker);
        let started = || holding(&path).into_iter().filter(is_its).map(|(pid, _)| pid).collect::<Vec<_>>();
        end(started).await;
        if !started().is_empty() || Owner::read(&path) != owner {
            return Ok(None);
        }
        let fresh = || -> std::io::Result<File> {
            let fresh = tempfile::Builder::new().prefix(".tagalong-lock-").tempfile_in(dir)?;
            fresh.as_file().set_permissions(std::fs::metadata(&path)?.permissions())?;
            fresh.as_file().try_lock()?;
            fresh.persist(&path).map_err(|error| error.error)
        };
        fresh().map(|file| Some(Self::taken(file, work))).map_err(|error| LockError::File(path.clone(), error))
    }

    /// Takes the lock that is the file `path`, waiting at most `patience` for a living owner. What an owner that has died left
    /// behind is ended instead of being waited for. The file and the kernel must agree that the owner is dead: the file by process
    /// id and start time, the kernel by who took the lock that a process holds.
    ///
    /// # Errors
    /// When the file cannot be made, or somebody else still has the lock; the text names them.
    pub async fn take_over(path: &Path, patience: Duration) -> Result<Self, LockError> {
        let file = open(path)?;
        let until = tokio::time::Instant::now() + patience;
        let mut seen_dead = None;
        while !tried(&file, path)? {
            let owner = Owner::read(path);
            if owner.is_alive() {
                seen_dead = None;
            } else if seen_dead.as_ref() == Some(&owner) {
                // Seen twice, because a new owner writes its name just after it has taken the lock.
                end(|| orphans(path)).await;
            } else {
                seen_dead = Some(owner);
            }
            if tokio::time::Instant::now() >= until {
                return Err(LockError::Taken(path.to_owned(), names(&holders_of(path))));
            }
            tokio::time::sleep(AGAIN).await;
        }
        Ok(Self::taken(file, ""))
    }

    fn taken(file: File, work: &str) -> Self {
        let name = identity(rustix::process::getpid()).unwrap_or_default();
        // Without its owner's name it is still a lock; only the death of its owner would go unseen.
        let _ = file.set_len(0).and_then(|()| file.write_all_at(format!("{name} {work}").trim_end().as_bytes(), 0));
        Self { file: Arc::new(file) }
    }

    /// The descriptor that children get as their standard input.
    #[must_use]
    pub fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }
}

/// Anybody who can open a file can lock it, if only to read it: a lock file is its owner's alone, even one of an earlier tagalong.
fn open(path: &Path) -> Result<File, LockError> {
    let mut options = File::options();
    // It may stand where others write: a link leads to no lock.
    options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32).mode(0o600);
    let file = options.read(true).write(true).create(true).truncate(false).open(path);
    let file = file.map_err(|error| LockError::File(path.to_owned(), error))?;
    if file.metadata().is_ok_and(|meta| meta.mode() & 0o077 != 0) {
        // Another user's stays as it is: that user may be a tagalong too.
        let _ = file.set_permissions(Permissions::from_mode(0o600));
    }
    Ok(file)
}

fn tried(file: &File, path: &Path) -> Result<bool, LockError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(LockError::File(path.to_owned(), error)),
    }
}

/// Whether `file` is the one that `path` names.
fn stands_at(file: &File, path: &Path) -> bool {
    let same = |ours: std::fs::Metadata, there: std::fs::Metadata| (ours.dev(), ours.ino()) == (there.dev(), there.ino());
    file.metadata().and_then(|ours| Ok(same(ours, std::fs::metadata(path)?))).unwrap_or(false)
}

/// What a lock file says: the process that took the lock last, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owner {
    pid: i32,
    /// `PID START`.
    name: String,
    work: String,
}

impl Owner {
    /// A file that says nothing (one of an older tagalong, say) names no process.
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let mut words = text.splitn(3, ' ');
        let pid = words.next().unwrap_or_default();
        let start = words.next().unwrap_or_default();
        let work = words.next().unwrap_or_default();
        Self { pid: pid.parse().unwrap_or_default(), name: format!("{pid} {start}"), work: work.to_owned() }
    }

    fn is_alive(&self) -> bool {
        Pid::from_raw(self.pid).and_then(identity).is_some_and(|now| now == self.name)
    }

    /// By a signal or a debugger, so that it does nothing until somebody lets it go on.
    fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let is_stopped = stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['T', 't']));
        is_stopped && self.is_alive()
    }

    fn is_me(&self) -> bool {
        self.pid == my_pid() && self.is_alive()
    }
}

fn my_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

fn names(holders: &[Holder]) -> String {
    if holders.is_empty() {
        return "a process that is not visible from here".to_owned();
    }
    holders.iter().map(|holder| format!("process {} ({})", holder.pid, holder.command)).collect::<Vec<_>>().join(", ")
}

/// Every other process that holds the lock of `dir`: who took it, and every child that inherited it. A process that only reads
/// the file, or waits for the lock, is none.
#[must_use]
pub fn holders(dir: &Path) -> Vec<Holder> {
    holders_of(&dir.join(NAME))
}

/// The same for the lock that is the file `path`.
#[must_use]
pub fn holders_of(path: &Path) -> Vec<Holder> {
    holding(path)
        .into_iter()
        .filter(|(pid, _)| *pid != my_pid())
        .map(|(pid, taker)| Holder { pid, command: command_of(pid), is_ours: taker == my_pid() })
        .collect()
}

/// The processes that hold the lock `path`, each with the id of the one that took it; 0 where the kernel cannot name that one
/// any more (it has ended, and this is a container).
fn holding(path: &Path) -> Vec<(i32, i32)> {
    let Ok(lock) = std::fs::metadata(path) else { return Vec::new() };
    if is_free(path) {
        return Vec::new();
    }
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| Some((pid, taker(pid, &lock)?))).collect()
}

/// Whether nobody holds the lock, so that nobody has to be looked for among all descriptors of all processes. Who tries to take it in
/// this very moment tries again.
fn is_free(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    file.try_lock_shared().is_ok() && file.unlock().is_ok()
}

/// Who took the lock that one of the descriptors of `pid` holds. The kernel shows a lock with exactly those descriptors that
/// were inherited from the one that took it (proc(5), `fdinfo`), so that nobody is believed to hold it who does not.
fn taker(pid: i32, lock: &std::fs::Metadata) -> Option<i32> {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let is_lock = |open: &std::fs::Metadata| open.dev() == lock.dev() && open.ino() == lock.ino();
    let mut open = descriptors.filter(|entry| std::fs::metadata(entry.path()).is_ok_and(|open| is_lock(&open)));
    open.find_map(|entry| {
        let file = format!("/proc/{pid}/fdinfo/{}", entry.file_name().display());
        let info = std::fs::read_to_string(file).ok()?;
        let line = info.lines().find(|line| line.starts_with("lock:") && line.contains(" FLOCK "))?;
        // "lock:  1: FLOCK  ADVISORY  WRITE PID DEVICE:INODE 0 EOF"
        line.split_whitespace().nth(5)?.parse().ok()
    })
}

fn command_of(pid: i32) -> String {
    crate::other::arguments(pid).join(" ").chars().take(80).collect()
}

/// For what the lock of `dir` is held by a tagalong that lives: this one, or another.
#[must_use]
pub fn work_under_way(dir: &Path) -> Option<String> {
    let path = dir.join(NAME);
    let owner = Owner::read(&path);
    // Anybody else who locks the file leaves what stands in it.
    let is_takers = |(_, taker): &(i32, i32)| [0, owner.pid].contains(taker);
    (!owner.work.is_empty() && owner.is_alive() && holding(&path).iter().any(is_takers)).then_some(owner.work)
}

/// For what the lock of `dir` was taken by a tagalong that has died, where something that it started still holds it.
#[must_use]
pub fn work_left_behind(dir: &Path) -> Option<String> {
    let path = dir.join(NAME);
    let owner = Owner::read(&path);
    (!owner.work.is_empty() && !left_behind(&path, |now| *now == owner && !now.is_me()).is_empty()).then_some(owner.work)
}

/// Ends what a tagalong that has died, or an earlier run of this one, left of `work` in `dir`: every process group that still
/// holds the lock which was taken for it. Returns how many processes there were. What belongs to other work, or to another
/// tagalong that lives (over a copy of the data folder, say), is left alone.
pub async fn end_left_behind(dir: &Path, work: &str) -> usize {
    // Older versions wrote nothing into the file.
    let path = dir.join(NAME);
    end(|| left_behind(&path, |owner| owner.work == work || owner.pid == 0)).await
}

/// The processes that hold the lock `path` while the one that took it is gone, or is this very process.
fn left_behind(path: &Path, is_meant: impl Fn(&Owner) -> bool) -> Vec<i32> {
    let owner = Owner::read(path);
    let all = holding(path);
    if !is_meant(&owner) || (owner.is_alive() && !owner.is_me()) {
        return Vec::new();
    }
    let is_left = |taker: i32| {
        let is_named = taker == 0 || owner.pid == 0 || taker == owner.pid;
        is_named && (taker == my_pid() || !all.iter().any(|(pid, _)| *pid == taker))
    };
    all.iter().filter(|(pid, taker)| *pid != my_pid() && is_left(*taker)).map(|(pid, _)| *pid).collect()
}

/// The processes that hold the lock `path` though the one that took it has died, whether or not that one came to write its name
/// into the file (a full disk keeps it from that).
fn orphans(path: &Path) -> Vec<i32> {
    let owner = Owner::read(path);
    if owner.is_alive() {
        return Vec::new();
    }
    let all = holding(path);
    let is_left = |pid: i32, taker: i32| {
        let has_let_go = !all.iter().any(|(holder, _)| *holder == taker);
        pid != my_pid() && has_let_go && (taker == owner.pid || has_died_before(taker, pid))
    };
    all.iter().filter(|(pid, taker)| is_left(*pid, *taker)).map(|(pid, _)| *pid).collect()
}

/// Whether `taker` has died: a process of that number that began later than `pid`, which got the lock from it, is another one.
fn has_died_before(taker: i32, pid: i32) -> bool {
    let began = |pid: i32| Pid::from_raw(pid).and_then(identity)?.split_once(' ')?.1.parse::<u64>().ok();
    began(taker).is_none_or(|taker| began(pid).is_some_and(|pid| pid < taker))
}

async fn end(left: impl Fn() -> Vec<i32>) -> usize {
    let mut seen = 0;
    for signal in [Signal::TERM, Signal::KILL, Signal::KILL] {
        let left_now = left();
        if left_now.is_empty() {
            break;
        }
        seen = seen.max(left_now.len());
        for pid in left_now.into_iter().filter_map(Pid::from_raw) {
            // A process that has gone meanwhile is what we want.
            let _ = match rustix::process::getpgid(Some(pid)) {
                Ok(group) if group == rustix::process::getpgrp() => rustix::process::kill_process(pid, signal),
                Ok(group) => rustix::process::kill_process_group(group, signal),
                Err(error) => Err(error),
            };
        }
        for _ in 0..20 {
            if left().is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::MetadataExt as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;
    use std::time::Duration;

    use super::HostLock;
    use super::end_left_behind;
    use super::holders;
    use crate::Cancel;
    use crate::Command;
    use crate::capture;

    /// Whoever can open a lock file, if only to read it, can hold its lock.
    #[tokio::test]
    async fn nobody_else_can_open_a_lock_file_and_keep_its_owner_waiting() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join(super::NAME);
        let mode = || std::fs::metadata(&path).expect("it is there").mode() & 0o777;
        drop(HostLock::take(dir.path(), "d1", Duration::ZERO).await.expect("the lock"));
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("its mode");
        drop(HostLock::take(dir.path(), "d2", Duration::ZERO).await.expect("the lock"));
        assert_eq!(mode(), 0o600, "of an earlier tagalong");
    }

    /// A child that outlives its parent holds the lock, is found by it, and is ended with what it started.
    #[tokio::test]
    async fn a_surviving_child_holds_the_lock_until_it_is_ended() {
        let dir = tempfile::tempdir().expect("a folder");
        let lock = HostLock::take(dir.path(), "d1", Duration::ZERO).await.expect("the lock");
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
        capture(&command, &Cancel::default()).await;
        drop(command);
        drop(lock);
        assert!(!holders(dir.path()).is_empty(), "the child holds it");
        assert!(HostLock::take(dir.path(), "d1", Duration::ZERO).await.is_err());
        assert_eq!(end_left_behind(dir.path(), "d2").await, 0, "it is of other work");
        assert!(!holders(dir.path()).is_empty());
        assert!(end_left_behind(dir.path(), "d1").await >= 1);
        assert!(HostLock::take(dir.path(), "d2", Duration::from_secs(5)).await.is_ok());
    }

    /// The lock is the file that stands there, whoever still holds the one before.
    #[tokio::test]
    async fn a_lock_whose_file_was_replaced_is_the_new_file() {
        let dir = tempfile::tempdir().expect("a folder");
        let old = HostLock::take(dir.path(), "d1", Duration::ZERO).await.expect("the lock");
        let fresh = dir.path().join("fresh");
        let file = std::fs::File::create(&fresh).expect("a file");
        file.lock().expect("nobody else has it");
        std::fs::rename(&fresh, dir.path().join(super::NAME)).expect("a new name");
        assert!(HostLock::take(dir.path(), "d2", Duration::ZERO).await.is_err());
        drop(file);
        assert!(HostLock::take(dir.path(), "d2", Duration::from_secs(5)).await.is_ok(), "the old one is none any more");
        drop(old);
    }
}
