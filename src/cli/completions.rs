//! `tagalong completions`.

use anyhow::Context as _;
use clap_complete::Shell;
use clap_complete::env::Shells;

use crate::cli::output::Output;

/// The variable by which a shell's function asks this program what fits.
pub(crate) const ASKED_BY: &str = "TAGALONG_COMPLETE";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(output: &Output, args: &Args) -> anyhow::Result<u8> {
    let shells = Shells::builtins();
    let name = args.shell.to_string();
    let shell = shells.completer(&name).with_context(|| format!("There are no completions for {name}."))?;
    let mut script = Vec::new();
    shell.write_registration(ASKED_BY, "tagalong", "tagalong", "tagalong", &mut script)?;
    output.exactly(String::from_utf8(script)?.trim_end());
    Ok(0)
}
