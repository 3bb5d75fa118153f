//! Other processes: one that is told something, one that is ended, one that outlives us, and one that this becomes.

use std::fs::File;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Pid;
use rustix::process::Signal;

/// Sends a signal, named as `kill -l` does, to the process of that id.
///
/// # Errors
/// When there is no such process, it is somebody else's, or the signal is none that a program may be told by.
pub fn send_signal(pid: i32, name: &str) -> std::io::Result<()> {
    let signal = match name {
        "HUP" => Signal::HUP,
        "USR1" => Signal::USR1,
        "USR2" => Signal::USR2,
        "WINCH" => Signal::WINCH,
        _ => return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "unknown signal")),
    };
    // Zero and below mean whole groups of processes.
    let pid = Some(pid)
        .filter(|pid| *pid > 0)
        .and_then(Pid::from_raw)
        .ok_or_else(|| std::io::Error::new(std::io::ErrorKind::InvalidInput, "no process id"))?;
    Ok(rustix::process::kill_process(pid, signal)?)
}

/// Becomes `argv`, with our environment and our standard streams; it comes back only when that cannot be.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub fn replace_by(argv: &[String]) -> std::io::Error {
    use std::os::unix::process::CommandExt as _;
    let Some((program, args)) = argv.split_first() else {
        return std::io::Error::new(std::io::ErrorKind::InvalidInput, "no program was given");
    };
    std::process::Command::new(program).args(args).exec()
}

/// Starts `argv` with our environment, without input, and with `log` as its output, for a program that makes itself independent of us by
/// [`leave_session`]: nobody waits for it, and it goes on when we end. Gives its process id.
///
/// # Errors
/// When it cannot be started.
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub fn start_apart(argv: &[String], log: &File) -> std::io::Result<i32> {
    let (program, args) = argv.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
    let mut command = std::process::Command::new(program);
    command.args(args).current_dir("/").stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
    Ok(command.spawn()?.id() as i32)
}

/// Leaves the session and the terminal of whoever started this process: their end is none of ours.
///
/// # Errors
/// When this process leads a group; then it has been made independent already.
pub fn leave_session() -> std::io::Result<()> {
    Ok(rustix::process::setsid().map(drop)?)
}

/// Asks the process `pid` to end, and waits for that at most `patience`. Whether it has ended.
///
/// # Errors
/// When it is somebody else's.
pub async fn end(pid: i32, patience: Duration) -> std::io::Result<bool> {
    let Some(pid) = Some(pid).filter(|pid| *pid > 0).and_then(Pid::from_raw) else { return Ok(true) };
    let until = tokio::time::Instant::now() + patience;
    // A later process of the same number is somebody else.
    let who = identity(pid);
    match rustix::process::kill_process(pid, Signal::TERM) {
        Err(rustix::io::Errno::SRCH) => return Ok(true),
        told => told?,
    }
    while who.is_some() && identity(pid) == who {
        if tokio::time::Instant::now() >= until {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(true)
}

/// The words that the process `pid` was started with; none: it has ended.
#[must_use]
pub fn arguments(pid: i32) -> Vec<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty()).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// Whether there is a process `pid`, and it has not ended. One that has ended and that nobody has asked how is none.
#[must_use]
pub fn is_running(pid: i32) -> bool {
    Pid::from_raw(pid).and_then(identity).is_some()
}

/// `PID START`, where START tells a process from a later one of the same number; none when it has ended.
pub(crate) fn identity(pid: Pid) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name in brackets may hold anything; behind it stand the state and, 19 fields on, the start time.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let alive = !matches!(fields.next()?, "Z" | "X");
    alive.then(|| fields.nth(18).map(|start| format!("{} {start}", pid.as_raw_nonzero()))).flatten()
}
