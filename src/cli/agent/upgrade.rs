//! `tagalong agent upgrade`: of a host over ssh, or of the host that it is typed on.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::cli::agent::binary::Binary;
use crate::cli::agent::install::said_hello;
use crate::cli::agent::install::seen;
use crate::cli::agent::remote::NEW_PROGRAM;
use crate::cli::agent::remote::PROGRAM;
use crate::cli::agent::remote::Remote;
use crate::cli::agent::swap;
use crate::cli::agent::swap::Line;
use crate::cli::agent::swap::Swapped;
use crate::cli::agent::target::Target;
use crate::cli::agent::target::Way;
use crate::cli::agent::target::show_taken;
use crate::cli::client::Client;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::output::Tone;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The host: NAME of a [host.NAME] in the configuration, or USER@HOST; none: this host
    #[arg(value_name = "NAME|USER@HOST", required_unless_present = "binary")]
    host: Option<String>,
    #[command(flatten)]
    way: Way,
    /// The new binary [default for another host: this one]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// The checksum that the binary must have
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
}

pub(super) async fn run(global: &Global, output: &Output, args: Args) -> anyhow::Result<u8> {
    let Args { host, way, binary, sha256 } = args;
    let Some(host) = host else {
        let binary = binary.context("Name the new binary with --binary FILE.")?;
        let swapped = swap::swap(global, &binary, sha256.as_deref()).await?;
        if output.is_json() {
            output.json_line(&swapped);
            return Ok(u8::from(matches!(swapped, Swapped::Kept { .. })));
        }
        return Ok(show(output, "This host", &swapped, None));
    };
    let (mut remote, is_configured) = Target { host, way }.remote(global, None)?;
    let binary = Binary::read(binary.as_deref())?;
    if let Some(wanted) = sha256 {
        anyhow::ensure!(
            binary.sha256 == wanted,
            "The binary {} has the checksum {}, which is not the one in --sha256; nothing was changed.",
            binary.path.display(),
            binary.sha256
        );
    }
    let facts = remote.facts().await?;
    if !is_configured {
        show_taken(output, &remote)?;
    }
    anyhow::ensure!(
        facts.installed.is_some(),
        "{} has no {PROGRAM} that could be upgraded: {}.",
        remote.address(),
        if facts.is_packaged { "upgrade its package there" } else { "install it with `tagalong agent install`" }
    );
    if !is_configured {
        remote.take_enrolled_name().await?;
    }
    facts.suffice(remote.name.as_str(), &binary)?;
    if facts.installed.as_ref() == Some(&binary.sha256) {
        output.say(&format!("{} {} has this very binary; nothing was changed", output.paint(Tone::Good, "✓"), remote.name));
        return Ok(0);
    }
    let client = Client::new(global)?;
    let before = seen(&client, &remote.name).await?;
    remote.copy(&binary).await?;
    let swapped = swapped(&remote, &binary).await?;
    let hello = match &swapped {
        Swapped::Upgraded { line: Line::Down, .. } | Swapped::Same { .. } | Swapped::Kept { .. } => None,
        // One that is dialled only when it is needed said hello to nobody before either.
        Swapped::Upgraded { .. } if before.is_none() => None,
        Swapped::Upgraded { .. } => Some(said_hello(&client, &remote, before).await?),
    };
    if output.is_json() {
        output.json(&serde_json::json!({ "name": remote.name, "hello": hello, "upgrade": swapped }));
        return Ok(u8::from(matches!(swapped, Swapped::Kept { .. })));
    }
    Ok(show(output, remote.name.as_str(), &swapped, hello.as_deref()))
}

/// The tagalong that is there puts the new one in its place, and takes the place again if that does not hold.
async fn swapped(remote: &Remote, binary: &Binary) -> anyhow::Result<Swapped> {
    let words = ["--json", "agent", "upgrade", "--binary", NEW_PROGRAM, "--sha256", &binary.sha256];
    let said = remote.answered(PROGRAM, &words).await?;
    serde_json::from_str(said.trim()).with_context(|| format!("tagalong on {} cannot upgrade itself; upgrade it there", remote.address()))
}

fn show(output: &Output, host: &str, swapped: &Swapped, hello: Option<&str>) -> u8 {
    match swapped {
        Swapped::Upgraded { before, now, line } => {
            let line = match (line, hello) {
                (_, Some(version)) => format!("; {version} has connected"),
                (Line::Open, None) => "; it is connected to the control plane".to_owned(),
                (Line::Down, None) => "; it is not connected to the control plane, and neither was the previous version".to_owned(),
                (Line::None, None) => String::new(),
            };
            output.say(&format!("{} {host} was upgraded from {before} to {now}{line}", output.paint(Tone::Good, "✓")));
            0
        }
        Swapped::Same { now } => {
            output.say(&format!("{} {host} has this very binary ({now}); nothing was changed", output.paint(Tone::Good, "✓")));
            0
        }
        Swapped::Kept { why, .. } => {
            output.say(&format!("{} {host} was not upgraded: {why}", output.paint(Tone::Bad, "✗")));
            1
        }
    }
}
