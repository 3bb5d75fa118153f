//! Secrets that people type or keep in a file.

use std::fs::File;
use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use rustix::termios::LocalModes;
use rustix::termios::OptionalActions;
use rustix::termios::Termios;
use rustix::termios::tcgetattr;
use rustix::termios::tcsetattr;

/// No secret is longer, whatever stands around it.
const MOST_BYTES: u64 = 1024;

/// The text in `file`, or on standard input (`-`).
///
/// # Errors
/// When it cannot be read.
pub(super) fn read(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().take(MOST_BYTES).read_to_string(&mut text).context("Standard input could not be read")?;
    } else {
        let opened = File::open(file).with_context(|| format!("{} cannot be read", file.display()))?;
        opened.take(MOST_BYTES).read_to_string(&mut text).with_context(|| format!("{} cannot be read", file.display()))?;
    }
    Ok(text)
}

/// Asks on the terminal for a line, which is not shown there. `none` says what to do without a terminal, `stopped` what was not done when
/// it is interrupted.
///
/// # Errors
/// When there is no terminal, or somebody interrupts it.
pub(super) async fn ask(question: &str, none: &'static str, stopped: &'static str) -> anyhow::Result<String> {
    let mut terminal = File::options().read(true).write(true).open("/dev/tty").context(none)?;
    terminal.write_all(question.as_bytes())?;
    let echo = Echo::off(&terminal)?;
    let reader = terminal.try_clone()?;
    let line = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        BufReader::new(reader.take(MOST_BYTES)).read_line(&mut line).map(|_| line)
    });
    let line = tokio::select! {
        line = line => line.context("The terminal could not be read")?.context("The terminal could not be read"),
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!(stopped)),
    };
    drop(echo);
    terminal.write_all(b"\n")?;
    line
}

/// The terminal does not show what is typed, until this is dropped.
struct Echo<'t> {
    terminal: &'t File,
    before: Termios,
}

impl<'t> Echo<'t> {
    fn off(terminal: &'t File) -> anyhow::Result<Self> {
        let before = tcgetattr(terminal).context("The terminal cannot be told to hide what is typed")?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal, OptionalActions::Flush, &silent).context("The terminal cannot be told to hide what is typed")?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Echo<'_> {
    fn drop(&mut self) {
        // A terminal that is gone shows nothing anyway.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}
