//! What of this host stands in the way: files and their owners, Docker's socket, the disk.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::Gid;
use rustix::fs::Uid;

use crate::cli::doctor::account::own_name;
use crate::config::Docker;
use crate::engine::Server;

/// The database and its journals grow by little, but not by nothing.
const LEAST_STATE_MIB: u64 = 64;

/// Before the first start the folder need not be there; systemd makes it as `StateDirectory`, `tagalong serve` elsewhere.
pub(super) fn data_folder(dir: &Path) -> Result<String, String> {
    if !dir.exists() {
        return Ok(format!("{} does not exist yet; the server creates it when it starts for the first time", dir.display()));
    }
    can_write(dir)?;
    match free_mib(dir) {
        Some(free) if free < LEAST_STATE_MIB => {
            Err(format!("only {free} MiB are free in {}; orders are refused while its disk is full, so free some space.", dir.display()))
        }
        _ => Ok(dir.display().to_string()),
    }
}

/// What this user may still write in `dir`, MiB; none: nobody says so.
fn free_mib(dir: &Path) -> Option<u64> {
    let free = rustix::fs::statvfs(dir).ok()?;
    Some((free.f_bavail * free.f_frsize) >> 20)
}

/// A file can be made in `dir`; it is gone again afterwards.
pub(super) fn can_write(dir: &Path) -> Result<(), String> {
    tempfile::NamedTempFile::new_in(dir).map(|_| ()).map_err(|error| {
        let user = own_name();
        let dir = dir.display();
        format!("the user {user} cannot write {dir} ({error}): `chown {user}: {dir}`, or run `tagalong doctor --user USER` if another user will run tagalong.")
    })
}

/// A file that is a mount point of its own cannot be replaced by a rename, one that cannot be read cannot be kept, and the file that
/// takes its place gets the same owner and group, which only root gives to others.
pub(super) fn can_be_replaced(file: &Path) -> Result<String, String> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let path = file.display().to_string();
    if mounts.lines().any(|line| line.split(' ').nth(4) == Some(path.as_str())) {
        return Err(format!("{path} is mounted as a single file, so it cannot be replaced in one step; mount its folder instead."));
    }
    let user = own_name();
    let old = std::fs::File::open(file).and_then(|file| file.metadata());
    let old = old.map_err(|error| format!("the user {user} cannot read {path} ({error}): `chown {user}: {path}`."))?;
    keep_owner(file, &old).map_err(|error| {
        format!("the user {user} cannot replace {path} and keep its owner and group ({error}): `chown {user}: {path}`.")
    })?;
    Ok(path)
}

/// A file beside `file` can get the owner and the group of `old`; it is gone again afterwards.
fn keep_owner(file: &Path, old: &std::fs::Metadata) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    // A folder that cannot be written has a line of its own.
    let Ok(fresh) = tempfile::NamedTempFile::new_in(folder) else { return Ok(()) };
    rustix::fs::fchown(fresh.as_file(), Some(Uid::from_raw(old.uid())), Some(Gid::from_raw(old.gid())))?;
    Ok(())
}

/// Whether Docker's socket is there and lets this user in; where Docker is elsewhere, only the engine's answer counts.
pub(super) fn docker_socket(docker: &Docker) -> Result<String, String> {
    let socket = match docker.host.as_deref() {
        None => PathBuf::from("/var/run/docker.sock"),
        Some(host) => match host.strip_prefix("unix://") {
            Some(path) => PathBuf::from(path),
            None => return Ok(host.to_owned()),
        },
    };
    let shown = socket.display();
    let Ok(meta) = std::fs::metadata(&socket) else {
        return Err(format!("there is no socket {shown}: start Docker with `systemctl start docker`, install it, or set docker.host."));
    };
    let access = rustix::fs::access(&socket, rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK);
    if access.is_ok() {
        return Ok(shown.to_string());
    }
    let user = own_name();
    let group = group_name(meta.gid());
    Err(format!("the user {user} may not use {shown}, which belongs to the group {group}: `usermod --append --groups {group} {user}`."))
}

fn group_name(number: u32) -> String {
    let text = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let number = number.to_string();
    let named = text.lines().find(|line| line.split(':').nth(2) == Some(number.as_str())).and_then(|line| line.split(':').next());
    named.map_or_else(|| number.clone(), str::to_owned)
}

/// Room for images where Docker keeps them.
pub(super) fn free_space(server: &Server) -> Result<String, String> {
    let root = &server.root_dir;
    let Some(free_mib) = free_mib(Path::new(root)) else {
        return Ok(format!("the free space of {root} cannot be read from here"));
    };
    if free_mib < 1024 {
        return Err(format!("only {free_mib} MiB are free in {root}; make room with `docker image prune`."));
    }
    Ok(format!("{free_mib} MiB free in {root}"))
}
