//! Other processes: one that is told something, and one that this becomes.

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
