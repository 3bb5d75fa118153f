//! `tagalong agent upgrade` on the host itself: another binary takes the place of the one that is there, and gives it back where it does
//! not hold.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use process::Passing;
use serde::Deserialize;
use serde::Serialize;
use tokio::time::Instant;

use crate::api;
use crate::cli::agent::binary::Binary;
use crate::cli::agent::place;
use crate::cli::agent::remote::NEW_PROGRAM;
use crate::cli::agent::remote::PROGRAM;
use crate::cli::agent::service;
use crate::cli::agent::service::Keeper;
use crate::cli::client::Client;
use crate::cli::global::Global;
use crate::config::Config;
use crate::store::SQLITE_FILE;
use crate::store::Store;

/// The binary that gave way, until the new one has shown that it holds.
const BEFORE: &str = "/usr/local/bin/.tagalong.before";
/// How long a new one has to run without ending.
const STEADY: Duration = Duration::from_secs(5);
/// How long the line to the control plane may take: longer than a dial's first pauses.
const LINE: Duration = Duration::from_secs(40);
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(100);
/// How long the new one may take for an answer.
const ANSWER: Duration = Duration::from_mins(5);

/// What became of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(super) enum Swapped {
    /// The new one runs.
    Upgraded {
        /// The version before.
        before: String,
        /// The version now.
        now: String,
        /// How the line to the control plane is.
        line: Line,
    },
    /// It was there already.
    Same {
        /// Its version.
        now: String,
    },
    /// The one before runs again.
    Kept {
        /// Its version.
        now: String,
        /// Why the new one does not, as one sentence.
        why: String,
    },
}

/// How the line to the control plane is after an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// It is open.
    Open,
    /// It is down, and that is not the new binary's fault.
    Down,
    /// This host does not dial, or its server does not run.
    None,
}

/// Puts `binary` in place, whose checksum is `sha256` where that is known. Nothing is changed unless the new one accepts the configuration
/// and can read the store.
///
/// # Errors
/// When it is no binary for this host, or does not accept what is here: nothing was changed then.
pub(super) async fn swap(global: &Global, binary: &Path, sha256: Option<&str>) -> anyhow::Result<Swapped> {
    let new = Binary::read(Some(binary))?;
    let machine = rustix::system::uname().machine().to_string_lossy().into_owned();
    new.fits("This host", &machine)?;
    if let Some(wanted) = sha256 {
        anyhow::ensure!(new.sha256 == wanted, "The binary {} is not the one that was sent; nothing was changed.", binary.display());
    }
    anyhow::ensure!(
        place::installed() == Path::new(PROGRAM),
        "tagalong was installed here by a package; upgrade that (`apt-get install ./tagalong_….deb`)."
    );
    anyhow::ensure!(Path::new(PROGRAM).exists(), "There is no {PROGRAM} that could be replaced; install it with `tagalong agent install`.");
    let before = version(Path::new(PROGRAM)).await?;
    if Binary::read(Some(Path::new(PROGRAM)))?.sha256 == new.sha256 {
        return Ok(Swapped::Same { now: before });
    }
    beside(&new)?;
    let swapped = proven_and_swapped(global, before).await;
    // One that is in its place is not there any more.
    let _ = std::fs::remove_file(NEW_PROGRAM);
    swapped
}

async fn proven_and_swapped(global: &Global, before: String) -> anyhow::Result<Swapped> {
    let now = version(Path::new(NEW_PROGRAM)).await.context("The new binary does not run here; nothing was changed")?;
    let config = Config::load(&global.config)?;
    proven(global, &config).await.context("Nothing was changed")?;
    Swap { global, config: &config, keeper: Keeper::here(), before, now }.carry_out().await
}

/// The new binary, beside the one that is there.
fn beside(new: &Binary) -> anyhow::Result<()> {
    if new.path == Path::new(NEW_PROGRAM) {
        return Ok(());
    }
    let fault = || format!("{NEW_PROGRAM} could not be written");
    std::fs::copy(&new.path, NEW_PROGRAM).with_context(fault)?;
    std::fs::set_permissions(NEW_PROGRAM, std::os::unix::fs::PermissionsExt::from_mode(0o755)).with_context(fault)?;
    std::fs::File::open(NEW_PROGRAM).and_then(|file| file.sync_all()).with_context(fault)?;
    let copied = Binary::read(Some(Path::new(NEW_PROGRAM)))?;
    anyhow::ensure!(copied.sha256 == new.sha256, "{NEW_PROGRAM} is not what was copied; is the disk full?");
    Ok(())
}

async fn version(program: &Path) -> anyhow::Result<String> {
    let said = service::ask_of(program.to_owned(), &["--version"], ANSWER).await?;
    let version = said.trim().strip_prefix("tagalong ").with_context(|| format!("{} is not tagalong", program.display()))?;
    Ok(version.to_owned())
}

/// The new binary accepts the configuration, and serves from a copy of the store.
async fn proven(global: &Global, config: &Config) -> anyhow::Result<()> {
    let file = global.config.display().to_string();
    let new = PathBuf::from(NEW_PROGRAM);
    service::ask_of(new.clone(), &["--config", &file, "check", "--config-only"], ANSWER).await?;
    if config.store.postgres.is_some() {
        return service::ask_of(new, &["--config", &file, "prove"], ANSWER).await.map(drop);
    }
    if !config.server.data_dir.join(SQLITE_FILE).exists() {
        return Ok(());
    }
    let folder = Passing::anywhere().context("A temporary folder could not be created")?;
    let copy = folder.path().join("copy.db");
    let store = Store::open(&config.server.data_dir, None).await?;
    store.copy_to(&copy).await?;
    store.close().await;
    service::ask_of(new, &["--config", &file, "prove", "--copy", &copy.display().to_string()], ANSWER).await.map(drop)
}

struct Swap<'a> {
    global: &'a Global,
    config: &'a Config,
    keeper: Keeper,
    before: String,
    now: String,
}

impl Swap<'_> {
    async fn carry_out(self) -> anyhow::Result<Swapped> {
        let is_running = service::pid(&self.config.server.data_dir).await.is_some();
        let was_open = is_running && self.line_opens(Duration::ZERO).await;
        forward()?;
        if !is_running {
            let _ = std::fs::remove_file(BEFORE);
            return Ok(Swapped::Upgraded { before: self.before, now: self.now, line: Line::None });
        }
        if let Err(error) = self.started().await {
            back()?;
            self.started().await.context("The version before does not start either")?;
            let why = format!("version {} did not start here, so {} runs again: {error:#}", self.now, self.before);
            return Ok(Swapped::Kept { now: self.before, why });
        }
        let line = match (self.config.agent.is_some(), was_open) {
            (false, _) => Line::None,
            (true, false) if self.line_opens(Duration::ZERO).await => Line::Open,
            // It was down before.
            (true, false) => Line::Down,
            (true, true) if self.line_opens(LINE).await => Line::Open,
            (true, true) => return self.judge_line().await,
        };
        std::fs::remove_file(BEFORE).with_context(|| format!("{BEFORE} could not be removed"))?;
        Ok(Swapped::Upgraded { before: self.before, now: self.now, line })
    }

    /// The line was open and does not open any more: the version before is tried on it before the new one is called bad.
    async fn judge_line(self) -> anyhow::Result<Swapped> {
        back()?;
        self.started().await.context("The version before does not start any more")?;
        if self.line_opens(LINE).await {
            let why = format!(
                "version {} did not reach the control plane within {} s, and {} does on the same line, so that runs again",
                self.now,
                LINE.as_secs(),
                self.before
            );
            return Ok(Swapped::Kept { now: self.before, why });
        }
        forward()?;
        self.started().await?;
        let _ = std::fs::remove_file(BEFORE);
        Ok(Swapped::Upgraded { before: self.before, now: self.now, line: Line::Down })
    }

    /// What lies in place runs, and goes on running.
    async fn started(&self) -> anyhow::Result<()> {
        let dir = &self.config.server.data_dir;
        self.keeper.restart(self.global, self.config, Path::new(PROGRAM)).await?;
        let first = service::pid(dir).await;
        let until = Instant::now() + STEADY;
        while Instant::now() < until {
            tokio::time::sleep(LOOK).await;
            anyhow::ensure!(
                first.is_some() && service::pid(dir).await == first,
                "It ended after it had started. {}",
                self.keeper.last_words(dir)
            );
        }
        Ok(())
    }

    /// Whether the control plane is connected, now or within this time.
    async fn line_opens(&self, within: Duration) -> bool {
        let until = Instant::now() + within;
        loop {
            if let Ok(client) = Client::new(&Global { url: None, ..self.global.clone() })
                && let Ok(all) = client.get::<api::Agents>("/api/v1/agents").await
                && all.uplink.is_some_and(|uplink| uplink.online_ms.is_some())
            {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// The new binary takes the place of the one before, which stays beside it.
fn forward() -> anyhow::Result<()> {
    let fault = || format!("{NEW_PROGRAM} could not be renamed to {PROGRAM}");
    let _ = std::fs::remove_file(BEFORE);
    std::fs::hard_link(PROGRAM, BEFORE).with_context(|| format!("{PROGRAM} could not be kept as {BEFORE}"))?;
    std::fs::rename(NEW_PROGRAM, PROGRAM).with_context(fault)?;
    kept_folder().with_context(fault)
}

/// The binary before is in its place again, and the new one beside it.
fn back() -> anyhow::Result<()> {
    let fault = || format!("{BEFORE} could not be renamed to {PROGRAM}");
    let _ = std::fs::remove_file(NEW_PROGRAM);
    std::fs::hard_link(PROGRAM, NEW_PROGRAM).with_context(fault)?;
    std::fs::rename(BEFORE, PROGRAM).with_context(fault)?;
    kept_folder().with_context(fault)
}

/// What was renamed survives a power cut.
fn kept_folder() -> std::io::Result<()> {
    std::fs::File::open(Path::new(PROGRAM).parent().unwrap_or(Path::new("/")))?.sync_all()
}
