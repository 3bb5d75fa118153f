//! `tagalong agent host`: what `tagalong agent install`, `upgrade` and `uninstall` have the tagalong on a host do, by ssh.

use std::io::Read as _;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::cli::agent::place;
use crate::cli::agent::place::configuration;
use crate::cli::agent::plan::Changed;
use crate::cli::agent::plan::Standing;
use crate::cli::agent::plan::Starting;
use crate::cli::agent::remote::PROGRAM;
use crate::cli::agent::service;
use crate::cli::agent::service::Keeper;
use crate::cli::agent::service::UNIT;
use crate::cli::agent::service::UNIT_FILE;
use crate::cli::agent::service::leaving;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::config::Config;
use crate::line::Identity;

/// No plan is longer.
const MOST_PLAN_BYTES: u64 = 1 << 20;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Act {
    /// Say how this host stands
    Look,
    /// Put the binary, the unit and the configuration in place
    Place,
    /// Enrol with the code on standard input, as the server's user
    Enrol,
    /// Start the server, and again if that is asked for
    Start,
    /// Run the doctor as the user whom the data folder belongs to
    Doctor,
    /// Stop the server and remove its unit and the binary
    Remove,
}

pub(super) async fn run(global: &Global, output: &Output, act: &Act) -> anyhow::Result<u8> {
    match act {
        Act::Look => output.json_line(&look(global).await?),
        Act::Place => output.json_line(&Changed { changed: place::place(global, &read()?).await? }),
        Act::Enrol => return place::as_owner(global, &["agent", "enrol", "--code-file", "-"]),
        Act::Doctor => return place::as_owner(global, &["doctor"]),
        Act::Start => output.json_line(&Changed { changed: start(global, &read()?).await? }),
        Act::Remove => output.json_line(&Changed { changed: remove(global).await? }),
    }
    Ok(0)
}

fn read<T: serde::de::DeserializeOwned>() -> anyhow::Result<T> {
    let mut text = String::new();
    std::io::stdin().take(MOST_PLAN_BYTES).read_to_string(&mut text).context("Standard input could not be read")?;
    serde_json::from_str(&text).context("Standard input does not say what is wanted; this command is for `tagalong agent install`")
}

async fn look(global: &Global) -> anyhow::Result<Standing> {
    let config = configuration(global)?;
    let dir = config.as_ref().map_or(PathBuf::from(place::DATA_DIR), |config| config.server.data_dir.clone());
    let enrolled = Identity::read(&dir)?.filter(|mine| mine.control.is_some()).and_then(|mine| mine.name);
    let configured = config.and_then(|config| config.agent.map(|agent| agent.name));
    Ok(Standing { enrolled, configured, is_running: service::pid(&dir).await.is_some() })
}

/// The server runs when this returns, with what the configuration says now.
async fn start(global: &Global, how: &Starting) -> anyhow::Result<Vec<String>> {
    let config = Config::load(&global.config)?;
    let keeper = Keeper::here();
    let program = place::installed();
    let mut changed = Vec::new();
    if keeper == Keeper::Systemd && service::ask("systemctl", &["is-enabled", UNIT]).await.is_err() {
        service::systemctl(&["enable", "--quiet", UNIT]).await?;
        changed.push("the unit is enabled".to_owned());
    }
    let was_running = service::pid(&config.server.data_dir).await.is_some();
    if was_running && how.again {
        keeper.restart(global, &config, &program).await?;
        changed.push("the server was restarted".to_owned());
    } else if !was_running && config.agent.is_some() {
        keeper.start(global, &config, &program, leaving(&config)).await?;
        changed.push("the server was started".to_owned());
        if keeper == Keeper::Nobody {
            let line = format!("{} --config {} agent", program.display(), global.config.display());
            changed.push(format!("no systemd runs there, so have `{line}` started at boot"));
        }
    }
    Ok(changed)
}

/// The server is gone, and its stacks run on.
async fn remove(global: &Global) -> anyhow::Result<Vec<String>> {
    anyhow::ensure!(
        place::installed() == Path::new(PROGRAM) || !Path::new(place::PACKAGED).exists(),
        "tagalong was installed there by a package; remove that (`apt-get remove tagalong`)."
    );
    let mut changed = Vec::new();
    let keeper = Keeper::here();
    // One that is broken by now still has to end.
    let dir = configuration(global).ok().flatten().map_or(PathBuf::from(place::DATA_DIR), |config| config.server.data_dir.clone());
    if service::pid(&dir).await.is_some() {
        keeper.stop(&dir).await?;
        changed.push("the server was stopped".to_owned());
    }
    if Path::new(UNIT_FILE).exists() {
        if keeper == Keeper::Systemd {
            service::systemctl(&["disable", "--quiet", UNIT]).await?;
        }
        std::fs::remove_file(UNIT_FILE).with_context(|| format!("{UNIT_FILE} could not be removed"))?;
        if keeper == Keeper::Systemd {
            service::systemctl(&["daemon-reload"]).await?;
        }
        changed.push("the unit was removed".to_owned());
    }
    if Path::new(PROGRAM).exists() {
        std::fs::remove_file(PROGRAM).with_context(|| format!("{PROGRAM} could not be removed"))?;
        changed.push("the binary was removed".to_owned());
    }
    Ok(changed)
}
