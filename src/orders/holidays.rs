//! The holidays of a freeze, read for each question, so that what a person changes counts from then on.

use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use calendar::Event;
use calendar::Zone;

/// How long a disk may take for the file.
const DEADLINE: Duration = Duration::from_secs(5);

/// The events of an iCalendar file; what names no zone is in `zone`.
///
/// # Errors
/// Why there are none, as one sentence or more: the file cannot be read in time, or something in it is not understood.
pub async fn holidays(file: PathBuf, zone: Zone) -> Result<Vec<Event>, String> {
    let shown = file.display().to_string();
    let read = tokio::task::spawn_blocking(move || {
        let text = read(&file)?;
        calendar::read(&text, &zone).map_err(|problems| format!("{} is not understood: {}", file.display(), problems.join(" ")))
    });
    match tokio::time::timeout(DEADLINE, read).await {
        Ok(Ok(events)) => events,
        Ok(Err(error)) => Err(format!("{shown} could not be read: {error}.")),
        Err(_) => Err(format!("{shown} could not be read within {} s.", DEADLINE.as_secs())),
    }
}

fn read(file: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("{} does not exist; put the file there, or correct holidays_file.", file.display()),
        _ => format!("{} cannot be read: {error}.", file.display()),
    };
    // A pipe that nobody writes to would never open.
    let flags = rustix::fs::OFlags::NONBLOCK.bits();
    let opened = std::fs::OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(file).map_err(unreadable)?;
    if !opened.metadata().map_err(unreadable)?.is_file() {
        return Err(format!("{} is not a file.", file.display()));
    }
    let mut text = String::new();
    opened.take(calendar::MOST_BYTES as u64 + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() > calendar::MOST_BYTES {
        return Err(format!("{} is larger than {} KiB.", file.display(), calendar::MOST_BYTES >> 10));
    }
    Ok(text)
}
