//! Who carries orders out: this process, on this host, one at a time in each stack's folder.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::clock;

pub use crate::process::{Holder, HostLock, LockError, end_left_behind, holders, work_left_behind};

/// How long a running deployment is this executor's without a sign of life, ms.
pub const LEASE_MS: i64 = 60_000;

/// The id of this executor: made once and kept in the data folder.
///
/// # Errors
/// When the file can be neither read nor written.
pub fn executor_id(data_dir: &Path) -> std::io::Result<String> {
    let file = data_dir.join("executor-id");
    if let Ok(id) = std::fs::read_to_string(&file)
        && !id.trim().is_empty()
    {
        return Ok(id.trim().to_owned());
    }
    let id = clock::new_id().to_string();
    // A name of ours that others cannot read, whatever the umask is.
    let mut made = std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&file)?;
    made.write_all(id.as_bytes())?;
    Ok(id)
}
