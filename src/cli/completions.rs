//! `tagalong completions`.

use clap_complete::Shell;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

#[allow(clippy::unnecessary_wraps, reason = "every subcommand has the same form")]
pub(crate) fn run(args: &Args, mut command: clap::Command) -> anyhow::Result<u8> {
    clap_complete::generate(args.shell, &mut command, "tagalong", &mut std::io::stdout());
    Ok(0)
}
