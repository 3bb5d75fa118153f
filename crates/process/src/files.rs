//! How many files this process may have open.

use rustix::process::Resource;
use rustix::process::Rlimit;
use rustix::process::getrlimit;
use rustix::process::setrlimit;

/// More than this nobody here needs, and programs that close every descriptor one by one would take long over it.
const ENOUGH: u64 = 65_536;

/// Raises the soft limit of open files to the hard one, or to what is enough, and returns what it is then. It is never lowered.
#[must_use]
pub fn raise_open_files() -> usize {
    let now = getrlimit(Resource::Nofile);
    let wanted = now.maximum.unwrap_or(ENOUGH).min(ENOUGH);
    let soft = now.current.unwrap_or(u64::MAX);
    if soft >= wanted {
        return usize::try_from(soft).unwrap_or(usize::MAX);
    }
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: now.maximum });
    if let Err(error) = raised {
        tracing::warn!(%error, open_files = soft, "the limit of open files could not be raised");
        return soft as usize;
    }
    wanted as usize
}
