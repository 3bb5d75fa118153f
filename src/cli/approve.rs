//! `tagalong approve`.

use std::fs::File;
use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::io::Write as _;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context as _;
use clap_complete::ArgValueCompleter;
use rustix::termios::LocalModes;
use rustix::termios::OptionalActions;
use rustix::termios::Termios;
use rustix::termios::tcgetattr;
use rustix::termios::tcsetattr;
use text::without_controls;

use crate::api;
use crate::cli::client::Client;
use crate::cli::complete;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::which::Which;
use crate::clock;
use crate::model::Code;

/// No code is longer, whatever stands around it.
const MOST_BYTES: u64 = 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The deployment: its id, a unique beginning or end of the id, or a service for its newest deployment
    #[arg(value_name = "ID|SERVICE", value_parser = Which::parse, add = ArgValueCompleter::new(complete::deployments))]
    which: Which,
    /// Read the code from this file, or from standard input (-), instead of asking for it
    #[arg(long, value_name = "FILE")]
    code_file: Option<PathBuf>,
}

pub(crate) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    let client = Client::new(global)?;
    let id = args.which.find(&client).await?;
    let code = if let Some(file) = &args.code_file {
        read(file)?
    } else {
        let order: api::Deployment = client.get(&format!("/api/v1/deployments/{id}")).await?;
        ask(&order).await?
    };
    // What cannot be a code is no try.
    let code = Code::parse(&code).map_err(anyhow::Error::msg)?.grouped();
    let done: api::Done = client.post(&format!("/api/v1/deployments/{id}/approval"), &api::NewApproval { code }).await?;
    output.done(&done);
    Ok(0)
}

/// The code in `file`.
fn read(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().take(MOST_BYTES).read_to_string(&mut text).context("Standard input could not be read")?;
    } else {
        let opened = File::open(file).with_context(|| format!("{} cannot be read", file.display()))?;
        opened.take(MOST_BYTES).read_to_string(&mut text).with_context(|| format!("{} cannot be read", file.display()))?;
    }
    Ok(text)
}

/// Shows what is to be approved on the terminal and asks for the code, which is not shown there.
async fn ask(order: &api::Deployment) -> anyhow::Result<String> {
    let none = "There is no terminal to ask for the code; give it in a file with --code-file FILE, or on standard input with --code-file -";
    let mut terminal = File::options().read(true).write(true).open("/dev/tty").context(none)?;
    terminal.write_all(shown(order).as_bytes())?;
    let echo = Echo::off(&terminal)?;
    let reader = terminal.try_clone()?;
    let line = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        BufReader::new(reader.take(MOST_BYTES)).read_line(&mut line).map(|_| line)
    });
    let line = tokio::select! {
        line = line => line.context("The terminal could not be read")?.context("The terminal could not be read"),
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("Nothing was approved.")),
    };
    drop(echo);
    terminal.write_all(b"\n")?;
    line
}

/// What is to be approved, and the question. Words from outside cannot steer the terminal.
fn shown(order: &api::Deployment) -> String {
    let tag = order.tag.as_ref().map_or("", |tag| tag.as_str());
    let by = order.actor.as_ref().map_or_else(|| order.caller.clone(), |actor| format!("{actor} ({})", order.caller));
    let mut lines =
        vec![format!("{} {tag} of {}, ordered by {by} at {}", order.kind.as_str(), order.service, clock::local(order.created_ms))];
    for (name, value) in [("reason", &order.reason), ("commit", &order.commit), ("waits", &order.waits_why)] {
        lines.extend(value.as_ref().map(|value| format!("  {name}: {value}")));
    }
    lines.extend(order.approval.iter().flat_map(|approval| &approval.images).map(|image| format!("  image: {image}")));
    let lines: Vec<String> = lines.iter().map(|line| without_controls(line)).collect();
    format!("{}\nCode for {}: ", lines.join("\n"), order.id)
}

/// The terminal does not show what is typed, until this is dropped.
struct Echo<'t> {
    terminal: &'t File,
    before: Termios,
}

impl<'t> Echo<'t> {
    fn off(terminal: &'t File) -> anyhow::Result<Self> {
        let before = tcgetattr(terminal).context("The terminal cannot be told to hide the code")?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal, OptionalActions::Flush, &silent).context("The terminal cannot be told to hide the code")?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Echo<'_> {
    fn drop(&mut self) {
        // A terminal that is gone shows nothing anyway.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}
