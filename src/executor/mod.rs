//! Who carries orders out: this process, on this host, one at a time in each stack's folder.

use std::path::Path;

use crate::clock;

pub use crate::process::{Holder, HostLock, LockError, end_left_behind, holders};

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
    std::fs::write(&file, &id)?;
    Ok(id)
}
