//! The data folder: one server's alone, and nobody else's to read. What it holds are journals, tokens' keys and what `.env` files
//! held, so its modes are set whatever the umask was, and mended where the folder was there before.

use std::fs::File;
use std::fs::Metadata;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use process::HostLock;
use process::LockError;

/// How the folders begin that `tagalong restore` moves what was there into.
pub const ASIDE: &str = "before-restore-";
/// The file of a data folder that its server holds locked.
pub const LOCK_FILE: &str = "lock";

/// The data folder, made if it is missing, closed to others and locked against a second server.
///
/// # Errors
/// When it cannot be made, another tagalong uses it, something in it is a symbolic link, or it or something in it belongs to
/// another user.
pub fn lock_data_dir(dir: &Path) -> anyhow::Result<File> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).with_context(|| {
        format!(
            "The data folder {} could not be created; set server.data_dir to a folder that tagalong can create or write.",
            dir.display()
        )
    })?;
    close_data_dir(dir)?;
    let path = dir.join(LOCK_FILE);
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("{} could not be written; tagalong needs permission to write to server.data_dir.", path.display()))?;
    file.try_lock().map_err(|_| {
        anyhow::anyhow!("The data folder {} is in use by another tagalong; stop it, or give this one its own folder.", dir.display())
    })?;
    Ok(file)
}

/// The lock that anybody who listens to Docker's events holds. What an earlier process left listening is ended.
///
/// # Errors
/// When the file cannot be made, or somebody else has the lock.
pub(super) async fn events_lock(dir: &Path) -> Result<HostLock, LockError> {
    const PATIENCE: Duration = Duration::from_secs(1);
    let path = dir.join("events.lock");
    let made = File::options().write(true).create(true).truncate(false).mode(0o600).open(&path);
    made.map_err(|error| LockError::File(path.clone(), error))?;
    HostLock::take_over(&path, PATIENCE).await
}

/// Sets the modes of the data folder (0700), of every file in it and of everything that was moved aside in it (0600, folders
/// 0700). Other folders in it are left as they are: nobody comes to them through this one.
///
/// # Errors
/// When one cannot be set, something is a symbolic link, or belongs to another user than this process runs as.
pub fn close_data_dir(dir: &Path) -> anyhow::Result<()> {
    let meta = std::fs::metadata(dir).with_context(|| format!("The data folder {} cannot be read.", dir.display()))?;
    anyhow::ensure!(meta.is_dir(), "{} is not a folder; set server.data_dir to a folder.", dir.display());
    // First of all: from here on nobody else puts anything into it.
    close(dir, &meta, 0o700)?;
    close_entries(dir)
}

fn close_entries(dir: &Path) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(dir).with_context(|| format!("The data folder {} cannot be read.", dir.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("The data folder {} cannot be read.", dir.display()))?;
        let path = entry.path();
        let meta = match std::fs::symlink_metadata(&path) {
            Ok(meta) => meta,
            // A database closes and takes the files beside it along.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read.", path.display())),
        };
        anyhow::ensure!(
            !meta.is_symlink(),
            "{} is a symbolic link, but the data folder may contain only regular files; put the file itself there.",
            path.display()
        );
        if meta.is_file() {
            close(&path, &meta, 0o600)?;
        } else if meta.is_dir() && entry.file_name().to_string_lossy().starts_with(ASIDE) {
            close(&path, &meta, 0o700)?;
            close_entries(&path)?;
        }
    }
    Ok(())
}

fn close(path: &Path, meta: &Metadata, mode: u32) -> anyhow::Result<()> {
    let owner = meta.uid();
    let mine = rustix::process::geteuid().as_raw();
    anyhow::ensure!(
        owner == mine,
        "{path} belongs to the user {owner}, who could read and change what tagalong stores there; tagalong runs as the user {mine}. \
        Change the owner (`chown {mine} {path}`), or run tagalong as {owner}.",
        path = path.display()
    );
    let found = meta.mode() & 0o7777;
    if found != mode {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
            .with_context(|| format!("The mode of {} could not be set to {mode:04o}.", path.display()))?;
        if found & 0o077 != 0 {
            tracing::warn!(path = %path.display(), "other users could read the data folder: its mode was {found:04o} and was changed to \
            {mode:04o}");
        }
    }
    Ok(())
}
