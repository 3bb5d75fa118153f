//! The server of this host: who starts it, and how it is asked whether it is well.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use process::Cancel;
use process::Command;
use tokio::net::UnixStream;
use tokio::time::Instant;

use crate::agent;
use crate::app::LOCK_FILE;
use crate::cli::global::Global;
use crate::cli::serve;
use crate::cli::serve::end_server;
use crate::config::Config;

/// What systemd calls the server.
pub(super) const UNIT: &str = "tagalong.service";
/// Where an administrator's units are, and those of packages.
pub(super) const UNIT_FILE: &str = "/etc/systemd/system/tagalong.service";
const PACKAGED_UNIT: &str = "/lib/systemd/system/tagalong.service";
/// How long a server may take until it answers.
const START: Duration = Duration::from_mins(1);
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(50);
/// The log of a server that no unit started, in its data folder, and how long it may become until a start begins it anew.
const LOG: &str = "agent.log";
const MOST_LOG_BYTES: u64 = 8 << 20;
/// Where the programs of a host are.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Who starts the server of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeper {
    /// systemd, by a unit.
    Systemd,
    /// Whoever needs it; it goes on without them.
    Nobody,
}

/// Whether systemd runs this host.
pub(super) fn has_systemd() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

impl Keeper {
    /// Who it is on this host.
    pub(super) fn here() -> Self {
        let has_unit = Path::new(UNIT_FILE).exists() || Path::new(PACKAGED_UNIT).exists();
        if has_systemd() && has_unit { Self::Systemd } else { Self::Nobody }
    }

    /// Starts the server unless it runs. It answers when this returns; with `leave_after` it ends when nobody has needed it for so long.
    ///
    /// # Errors
    /// When it does not start; the last lines of its log say why.
    pub(super) async fn start(self, global: &Global, config: &Config, program: &Path, leave_after: Option<Duration>) -> anyhow::Result<()> {
        let dir = &config.server.data_dir;
        if pid(dir).await.is_some() {
            return Ok(());
        }
        match self {
            Self::Systemd => systemctl(&["start", UNIT]).await?,
            Self::Nobody => return start_apart(global, dir, program, leave_after).await,
        }
        answers(dir, || true).await.with_context(|| self.last_words(dir))
    }

    /// Ends the server, and whatever would start it again. What it carries out goes on with the next start.
    ///
    /// # Errors
    /// When it does not end.
    pub(super) async fn stop(self, dir: &Path) -> anyhow::Result<()> {
        if self == Self::Systemd {
            return systemctl(&["stop", UNIT]).await;
        }
        if let Some(pid) = pid(dir).await {
            end_server(pid).await?;
        }
        Ok(())
    }

    /// Starts it anew, by the program that lies in place of the one that it runs as.
    ///
    /// # Errors
    /// When it does not end or does not start.
    pub(super) async fn restart(self, global: &Global, config: &Config, program: &Path) -> anyhow::Result<()> {
        let dir = &config.server.data_dir;
        if self == Self::Systemd {
            systemctl(&["daemon-reload"]).await?;
            // A binary that has crashed again and again must not keep the next one from being started.
            let _ = systemctl(&["reset-failed", UNIT]).await;
            systemctl(&["restart", UNIT]).await.with_context(|| self.last_words(dir))?;
            return answers(dir, || true).await.with_context(|| self.last_words(dir));
        }
        self.stop(dir).await?;
        start_apart(global, dir, program, leaving(config)).await
    }

    /// The last lines that the server wrote.
    pub(super) fn last_words(self, dir: &Path) -> String {
        match self {
            Self::Systemd => "The server did not start; `journalctl --unit tagalong` shows why".to_owned(),
            Self::Nobody => last_lines(dir),
        }
    }
}

/// How long a server that no unit started stays without being needed: one that dials its control plane does not end by itself.
pub(super) fn leaving(config: &Config) -> Option<Duration> {
    const LEAVE: Duration = Duration::from_mins(1);
    config.agent.is_none().then_some(LEAVE)
}

/// The process that serves with this data folder; none: nobody does.
pub(super) async fn pid(dir: &Path) -> Option<i32> {
    UnixStream::connect(agent::socket(dir)).await.ok()?.peer_cred().ok()?.pid()
}

/// Waits until the server answers, as long as it `may`.
async fn answers(dir: &Path, may: impl Fn() -> bool) -> anyhow::Result<()> {
    let until = Instant::now() + START;
    while pid(dir).await.is_none() {
        anyhow::ensure!(may(), "The server ended at once");
        anyhow::ensure!(Instant::now() < until, "The server did not answer within {} s", START.as_secs());
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

async fn start_apart(global: &Global, dir: &Path, program: &Path, leave_after: Option<Duration>) -> anyhow::Result<()> {
    let mine = rustix::process::geteuid().as_raw();
    if let Some(owner) = std::fs::metadata(dir).ok().map(|meta| meta.uid()).filter(|owner| *owner != mine) {
        anyhow::bail!(
            "The data folder {} belongs to the user {owner}, and this is the user {mine}: start the server as that user.",
            dir.display()
        );
    }
    let log = log_file(dir)?;
    let mut argv = vec![program.display().to_string()];
    argv.extend(global.arguments());
    argv.extend(["agent".to_owned(), "--apart".to_owned()]);
    argv.extend(leave_after.into_iter().flat_map(|after| [serve::LEAVE_AFTER.to_owned(), after.as_secs().to_string()]));
    let started = process::start_apart(&argv, &log).with_context(|| format!("{} could not be started", program.display()))?;
    // Where something else starts the server as well, either will do.
    let is_coming = || process::is_running(started) || !process::holders_of(&dir.join(LOCK_FILE)).is_empty();
    answers(dir, is_coming).await.with_context(|| last_lines(dir))
}

/// The log, which the server's own user alone can read.
fn log_file(dir: &Path) -> anyhow::Result<File> {
    let fault = || format!("The log {} could not be written", dir.join(LOG).display());
    std::fs::DirBuilder::new().mode(0o700).recursive(true).create(dir).with_context(fault)?;
    let path = dir.join(LOG);
    if std::fs::metadata(&path).is_ok_and(|meta| meta.len() > MOST_LOG_BYTES) {
        std::fs::remove_file(&path).with_context(fault)?;
    }
    File::options().append(true).create(true).mode(0o600).open(&path).with_context(fault)
}

fn last_lines(dir: &Path) -> String {
    let text = std::fs::read_to_string(dir.join(LOG)).unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines.len().saturating_sub(2);
    format!("The server did not start. Its last words: {}", lines[last..].join(" "))
}

pub(super) async fn systemctl(args: &[&str]) -> anyhow::Result<()> {
    ask("systemctl", args).await.map(drop)
}

/// What a program of this host answers.
///
/// # Errors
/// What it says when it does not end well.
pub(super) async fn ask(program: &str, args: &[&str]) -> anyhow::Result<String> {
    ask_of(PathBuf::from(program), args, Duration::from_mins(2)).await
}

pub(super) async fn ask_of(program: PathBuf, args: &[&str], deadline: Duration) -> anyhow::Result<String> {
    let command = Command {
        program: program.display().to_string(),
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        env: BTreeMap::from([
            ("PATH".to_owned(), PATH.to_owned()),
            ("HOME".to_owned(), "/root".to_owned()),
            ("LC_ALL".to_owned(), "C".to_owned()),
        ]),
        dir: None,
        deadline,
        mask: Arc::default(),
        lock: None,
    };
    let asked = process::capture(&command, &Cancel::default()).await;
    asked.success().map_err(|why| anyhow::anyhow!("`{}` failed: {}", command.command_line(), why.trim_start_matches("error: ")))
}
