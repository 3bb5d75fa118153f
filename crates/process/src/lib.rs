//! The only place that runs programs.
//!
//! A [`Command`] is a value; [`run`] carries it out: argv only and never a shell, an environment of our own making, its own
//! process group, a deadline, and the end of the whole group when it is over, however it ended. Its standard input is
//! either empty or the host lock's file, so that a child that outlives tagalong still holds the lock.

mod channel;
mod confined;
mod files;
mod group;
mod lines;
mod lock;
mod looks;
mod other;
mod passing;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use command_fds::CommandFdExt as _;
use command_fds::FdMapping;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::sync::watch;

use rustix::process::Pid;
use rustix::process::Signal;

use group::Group;
use lines::Reader;
use lines::split_lines;

pub use channel::{Channel, FarEnd, channel};
pub use confined::{Confinement, can_confine};
pub use files::raise_open_files;
pub use lock::{Holder, HostLock, LockError, end_left_behind, holders, holders_of, work_left_behind, work_under_way};
pub use looks::Looks;
pub use other::{arguments, end, is_running, leave_session, replace_by, send_signal, start_apart};
pub use passing::{Passing, remove_passing};

pub use text::Mask;

/// How long a group may take to end by itself after SIGTERM.
const GRACE: Duration = Duration::from_secs(3);
/// How long output may still come after the program itself has ended.
const DRAIN: Duration = Duration::from_millis(500);

/// A program to run, as a value.
#[derive(Debug, Clone)]
pub struct Command {
    /// The program, by path or looked up in `PATH` of `env`.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its whole environment: nothing is inherited.
    pub env: BTreeMap<String, String>,
    /// The folder it runs in.
    pub dir: Option<PathBuf>,
    /// After this it is ended.
    pub deadline: Duration,
    /// What must not be seen of its output.
    pub mask: Arc<Mask>,
    /// The lock's file, which becomes its standard input.
    pub lock: Option<Arc<File>>,
}

impl Command {
    /// The command as a person would type it, for messages; not meant to be run.
    #[must_use]
    pub fn command_line(&self) -> String {
        let words = std::iter::once(self.program.as_str()).chain(self.args.iter().map(String::as_str));
        self.mask.hide(&words.collect::<Vec<_>>().join(" "))
    }

    /// The program's file: looked up in the `PATH` it will get, so that our own `PATH` plays no part.
    #[must_use]
    pub fn program_path(&self) -> PathBuf {
        if self.program.contains('/') {
            return PathBuf::from(&self.program);
        }
        let path = self.env.get("PATH").map_or("", String::as_str);
        let found = path.split(':').map(|dir| PathBuf::from(dir).join(&self.program)).find(|file| file.is_file());
        found.unwrap_or_else(|| PathBuf::from(&self.program))
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this status.
    Exit(i32),
    /// By a signal from somewhere else.
    Signal(i32),
    /// By us, at its deadline.
    Deadline(Duration),
    /// By us, because the order was cancelled.
    Cancelled,
    /// It could not be started.
    NotStarted(String),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exited with code {code}"),
            Self::Signal(signal) => write!(f, "was killed by signal {signal}"),
            Self::Deadline(limit) => {
                write!(f, "did not finish within {} s and was killed together with everything that it had started", limit.as_secs())
            }
            Self::Cancelled => f.write_str("was stopped because the order was cancelled"),
            Self::NotStarted(why) => write!(f, "could not be started: {why}"),
        }
    }
}

/// Which of its outputs a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// What [`capture`] brings back.
#[derive(Debug, Clone)]
pub struct Captured {
    /// How it ended.
    pub ended: Ended,
    /// Its whole standard output, not masked: it is data for us, not text for people.
    pub out: String,
    /// The last lines of its standard error, masked.
    pub err: String,
}

impl Captured {
    /// The output of a program that ended well.
    ///
    /// # Errors
    /// The last lines it wrote to standard error, or how it ended.
    pub fn success(self) -> Result<String, String> {
        match self.ended {
            Ended::Exit(0) => Ok(self.out),
            Ended::Exit(_) if !self.err.trim().is_empty() => Err(self.err.trim().to_owned()),
            ended => Err(format!("it {ended}")),
        }
    }
}

/// A signal to stop, shared by everything that works on one order.
#[derive(Debug, Clone)]
pub struct Cancel {
    sender: Arc<watch::Sender<bool>>,
}

impl Default for Cancel {
    fn default() -> Self {
        Self { sender: Arc::new(watch::Sender::new(false)) }
    }
}

impl Cancel {
    /// Stops everything that holds this signal. Once given it stays.
    pub fn cancel(&self) {
        self.sender.send_replace(true);
    }

    /// Whether it was given.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        *self.sender.borrow()
    }

    /// Ends when it is given.
    pub async fn cancelled(&self) {
        let mut receiver = self.sender.subscribe();
        if receiver.wait_for(|given| *given).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Runs `command` to its end and gives each line of its output to `each` as it comes. When this returns, nothing of its
/// process group runs any more; dropping it ends the group as well.
pub async fn run(command: &Command, cancel: &Cancel, each: impl FnMut(Stream, String)) -> Ended {
    run_for(Reader::People, command, Vec::new(), cancel, each).await
}

/// As [`run`], for a program that is spoken to over a [`fn@channel`]. The end of the channel tells it to end; when it is to be
/// stopped nevertheless, it is killed at once.
pub async fn run_with(command: &Command, far: FarEnd, cancel: &Cancel, each: impl FnMut(Stream, String)) -> Ended {
    run_for(Reader::People, command, far.into_mappings(), cancel, each).await
}

/// As [`run`], for a program that may tell us things for as long as it lives: no line is left out, and none is masked.
pub async fn follow(command: &Command, cancel: &Cancel, each: impl FnMut(Stream, String)) -> Ended {
    run_for(Reader::Programs, command, Vec::new(), cancel, each).await
}

async fn run_for(reader: Reader, command: &Command, open: Vec<FdMapping>, cancel: &Cancel, mut each: impl FnMut(Stream, String)) -> Ended {
    let (sender, mut lines) = mpsc::channel::<(Stream, String)>(256);
    let work = supervise(command, open, None, cancel, |stream, pipe| {
        let sender = sender.clone();
        let mask = Arc::clone(&command.mask);
        tokio::spawn(async move { split_lines(reader, stream, pipe, &mask, &sender).await });
    });
    let mut work = Box::pin(work);
    let ended = loop {
        tokio::select! {
            biased;
            Some((stream, line)) = lines.recv() => each(stream, line),
            ended = &mut work => break ended,
        }
    };
    drop(work);
    drop(sender);
    // The group has ended, so both pipes are closed and this ends too; a program that left the group may hold them.
    let rest = async {
        while let Some((stream, line)) = lines.recv().await {
            each(stream, line);
        }
    };
    let _ = tokio::time::timeout(DRAIN, rest).await;
    ended
}

/// Runs `command` and keeps its output: for programs that answer a question.
pub async fn capture(command: &Command, cancel: &Cancel) -> Captured {
    capture_for(command, Vec::new(), cancel).await
}

/// As [`capture`], for a program that reads `input` from its standard input.
pub async fn capture_from(command: &Command, input: File, cancel: &Cancel) -> Captured {
    capture_for(command, vec![FdMapping { parent_fd: input.into(), child_fd: 0 }], cancel).await
}

async fn capture_for(command: &Command, open: Vec<FdMapping>, cancel: &Cancel) -> Captured {
    const MOST_BYTES: usize = 32 << 20;
    const KEPT_ERR_LINES: usize = 12;
    let mut out = String::new();
    let mut err = Vec::<String>::new();
    let ended = run_for(Reader::Programs, command, open, cancel, |stream, line| match stream {
        Stream::Out if out.len() + line.len() < MOST_BYTES => {
            out.push_str(&line);
            out.push('\n');
        }
        Stream::Out => {}
        Stream::Err => {
            if err.len() == KEPT_ERR_LINES {
                err.remove(0);
            }
            err.push(command.mask.hide(&line));
        }
    })
    .await;
    Captured { ended, out, err: err.join("; ") }
}

/// Runs `command` and keeps every byte of its standard output, for output that is no text. The masked last part of its
/// standard error comes with it. Given a confinement, it may touch nothing else; where the kernel cannot keep that it is not
/// started ([`can_confine`]).
pub async fn capture_bytes(command: &Command, within: Option<&Confinement>, most_bytes: u64, cancel: &Cancel) -> (Ended, Vec<u8>, String) {
    let mut readers = Vec::new();
    let mut read = [Vec::new(), Vec::new()];
    let ended = supervise(command, Vec::new(), within, cancel, |_, pipe| {
        readers.push(tokio::spawn(async move {
            let mut bytes = Vec::new();
            // What was read until an error is what there is.
            let _ = pipe.take(most_bytes).read_to_end(&mut bytes).await;
            bytes
        }));
    })
    .await;
    for (reader, bytes) in readers.into_iter().zip(&mut read) {
        // A program that left the group may hold the pipe open for ever.
        *bytes = tokio::time::timeout(DRAIN, reader).await.ok().and_then(Result::ok).unwrap_or_default();
    }
    let [out, err] = read;
    (ended, out, command.mask.hide(String::from_utf8_lossy(&err).trim()))
}

async fn supervise(
    command: &Command,
    open: Vec<FdMapping>,
    within: Option<&Confinement>,
    cancel: &Cancel,
    mut read: impl FnMut(Stream, Box<dyn AsyncRead + Send + Unpin>),
) -> Ended {
    let grace = if open.is_empty() { GRACE } else { Duration::ZERO };
    let mut child = match start(command, open, within) {
        Ok(child) => child,
        Err(error) => return Ended::NotStarted(format!("{}: {error}", command.program)),
    };
    let Some(pid) = child.id().and_then(|id| Pid::from_raw(id as i32)) else {
        return Ended::NotStarted(format!("{}: the process has no id", command.program));
    };
    let group = Group(pid);
    if let Some(pipe) = child.stdout.take() {
        read(Stream::Out, Box::new(pipe));
    }
    if let Some(pipe) = child.stderr.take() {
        read(Stream::Err, Box::new(pipe));
    }
    let stopped = tokio::select! {
        status = child.wait() => {
            group.end().await;
            return how(status);
        }
        () = tokio::time::sleep(command.deadline) => Ended::Deadline(command.deadline),
        () = cancel.cancelled() => Ended::Cancelled,
    };
    if !grace.is_zero() {
        group.signal(Signal::TERM);
        let _ = tokio::time::timeout(grace, child.wait()).await;
    }
    group.signal(Signal::KILL);
    let _ = child.wait().await;
    group.end().await;
    stopped
}

#[allow(clippy::disallowed_methods, reason = "this is the one place")]
fn start(command: &Command, open: Vec<FdMapping>, within: Option<&Confinement>) -> std::io::Result<tokio::process::Child> {
    let stdin = match &command.lock {
        Some(file) => Stdio::from(file.try_clone()?),
        None => Stdio::null(),
    };
    let program = command.program_path();
    let mut start = tokio::process::Command::new(&program);
    start.args(&command.args).env_clear().envs(&command.env);
    start.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    if let Some(dir) = &command.dir {
        start.current_dir(dir);
    }
    start.fd_mappings(open).map_err(std::io::Error::other)?;
    match within {
        Some(within) => within.spawn(&program, start),
        None => start.spawn(),
    }
}

fn how(status: std::io::Result<std::process::ExitStatus>) -> Ended {
    use std::os::unix::process::ExitStatusExt as _;
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => Ended::Exit(code),
            (None, signal) => Ended::Signal(signal.unwrap_or_default()),
        },
        Err(error) => Ended::NotStarted(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;
    use std::time::Instant;

    use super::Cancel;
    use super::Command;
    use super::Ended;
    use super::Mask;
    use super::Stream;
    use super::capture;
    use super::run;

    fn sh(script: &str, deadline: Duration) -> Command {
        Command {
            program: "sh".into(),
            args: vec!["-c".into(), script.into()],
            env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            dir: None,
            deadline,
            mask: Arc::default(),
            lock: None,
        }
    }

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn output_and_status_come_back() {
        let got = capture(&sh("echo a; echo b >&2; exit 3", LONG), &Cancel::default()).await;
        assert_eq!((got.ended, got.out.as_str(), got.err.as_str()), (Ended::Exit(3), "a\n", "b"));
    }

    #[tokio::test]
    async fn nothing_is_inherited() {
        let got = capture(&sh("env", LONG), &Cancel::default()).await;
        assert!(!got.out.contains("HOME="), "{}", got.out);
    }

    #[tokio::test]
    async fn a_missing_program_is_said_by_name() {
        let mut command = sh("", LONG);
        command.program = "no-such-program".into();
        let got = capture(&command, &Cancel::default()).await;
        assert!(matches!(&got.ended, Ended::NotStarted(why) if why.contains("no-such-program")), "{:?}", got.ended);
    }

    #[tokio::test]
    async fn the_deadline_ends_grandchildren_too() {
        let start = Instant::now();
        let got = capture(&sh("sleep 1000 & echo $!; wait", Duration::from_millis(300)), &Cancel::default()).await;
        assert!(matches!(got.ended, Ended::Deadline(_)));
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", got.out.trim())).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
        assert!(start.elapsed() < LONG);
    }

    #[tokio::test]
    async fn a_background_child_does_not_keep_the_caller() {
        let start = Instant::now();
        let got = capture(&sh("sleep 1000 & echo done", LONG), &Cancel::default()).await;
        assert_eq!((got.ended, got.out.as_str()), (Ended::Exit(0), "done\n"));
        assert!(start.elapsed() < LONG);
    }

    #[tokio::test]
    async fn a_program_that_ignores_sigterm_is_ended() {
        let cancel = Cancel::default();
        let mut lines = Vec::new();
        let ended = run(&sh("trap '' TERM; echo up; while :; do sleep 0.05; done", LONG), &cancel, |_, line| {
            lines.push(line);
            cancel.cancel();
        })
        .await;
        assert_eq!((ended, lines), (Ended::Cancelled, vec!["up".to_owned()]));
    }

    #[tokio::test]
    async fn a_secret_in_two_chunks_is_masked() {
        let mut command = sh("printf 'a s3cre'; sleep 0.2; printf 't-word b\\rnext\\r\\n'", LONG);
        command.mask = Arc::new(Mask::new(["s3cret-word"]));
        let mut lines = Vec::new();
        run(&command, &Cancel::default(), |stream, line| lines.push((stream, line))).await;
        assert_eq!(lines, [(Stream::Out, "a ••• b".to_owned()), (Stream::Out, "next".to_owned())]);
    }
}
